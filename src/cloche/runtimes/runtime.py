"""What the gateway asks of a version, wherever it runs."""

from __future__ import annotations

from typing import Literal, Protocol

from cloche.values import Ask, Prediction

State = Literal["starting", "ready", "failed", "closed", "asleep"]


class Runtime(Protocol):
    """Answers rows of one version: inline, or from a worker process."""

    @property
    def state(self) -> State:
        """Whether it can answer now."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it is at work, so that one more call would wait."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that wait until it has time for them."""
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
