"""Well-formed calls that could not be answered. They are recorded."""

from __future__ import annotations

from typing import Any

from cloche.errors.error import ClocheError


class ServingError(ClocheError):
    """The call was well formed and could not be answered."""

    retry_after_s: int | None = None
    inference: str | None = None
    """Id of the record that was kept of it."""

    @property
    def private(self) -> dict[str, Any]:
        """What only the model's author may see: traceback, printed output, the row. Never part of an answer."""
        return dict(self.details.get("private") or {})


class ModelFailed(ServingError):
    """The model raised an exception. Its author finds it with: cloche log show {id}"""


class InvalidOutput(ServingError):
    """The model's answer is not valid: {reason}. Its author finds it with: cloche log show {id}"""


class ModelLoading(ServingError):
    """{model} is live and still being loaded here. GET /ready says what it waits for."""

    retry_after_s = 2


class VersionLoading(ServingError):
    """{model} {version} is not running. It is started for calls that want it, which takes a moment: ask again."""

    retry_after_s = 2


class VersionUnavailable(ServingError):
    """{model} {version} is not active, and can't be started here now. The server's log says why."""

    retry_after_s = 15


class WorkerCrashed(ServingError):
    """The worker of {model} {version} died while it had this call. A new one is being started."""

    retry_after_s = 1


class PoisonInput(ServingError):
    """Workers of {model} {version} died with this very input, twice, so it is refused for an hour. Change the input."""


class WorkerUnavailable(ServingError):
    """No worker of {model} {version} is ready. One is being started."""

    retry_after_s = 1


class Overloaded(ServingError):
    """{model} {version} has more work than it can do before this call's deadline."""

    retry_after_s = 1


class Abandoned(ServingError):
    """Nobody waited for the answer any more: the caller went away, or the server stopped."""


class Stopping(ServingError):
    """This server is stopping, and has waited for this call for as long as it may. Ask again."""

    retry_after_s = 1


class DeadlineExceeded(ServingError):
    """No answer within the deadline of {deadline_ms} ms."""


class AnswerPending(ServingError):
    """The first call with this Idempotency-Key is still being answered. Ask again with the same key."""

    retry_after_s = 1


class IdempotencyUnavailable(ServingError):
    """Idempotency keys can't be looked up or kept now, so no call with one is answered. Ask again with the same key."""

    retry_after_s = 1


class LogUnavailable(ServingError):
    """The inference log can't be written, so no answer is given: {reason}."""

    retry_after_s = 1
