"""What the gateway asks of a version, wherever it runs."""

from __future__ import annotations

from typing import Literal, Protocol

from cloche.values import Ask, Prediction

State = Literal["starting", "ready", "failed", "closed"]


class Runtime(Protocol):
    """Answers rows of one version: inline, or from a worker process."""

    @property
    def state(self) -> State:
        """Whether it can answer now."""
        ...

    async def wait_ready(self) -> None:
        """Return once it can answer.

        Raises:
            DoesNotLoad: it never will, with the author's traceback.
        """
        ...

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock).

        Raises:
            ServingError: it could not.
        """
        ...

    async def close(self) -> None:
        """Let go of the version. Calls in flight are answered first."""
        ...
