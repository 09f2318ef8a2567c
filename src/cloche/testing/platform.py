"""Cloche in this process: a gateway with its workers and a registry in memory, without ports. For tests and notebooks.

with Platform() as platform:
    platform.publish(clf, name="claim", version="1.0.0", examples=X.head(20))
    assert platform.predict("claim", {"age": 41, "vehicle": "car"})["output"]["label"] == "low"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

import msgspec

from cloche.authoring.publish import Published
from cloche.errors import ClocheError, SchemaMismatch, ServingError
from cloche.log.reading import to_json
from cloche.notebook.publishing import publish
from cloche.registry.apply import Applied, Terms, apply
from cloche.registry.catalog import Registry
from cloche.registry.goal import given_goal
from cloche.registry.release import Reason, Release
from cloche.registry.routing import make_default
from cloche.settings import Settings
from cloche.testing.running import Running
from cloche.values import Request

_USUAL: Final = Settings()
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class CallOptions(TypedDict, total=False):
    """What a call may say besides its rows."""

    version: str
    subject: str
    deadline_ms: int
    as_of: str
    parameters: dict[str, Any]
    caller: str
    """The name of the token that the call would carry."""
    headers: Mapping[str, str]
    """Those that a model may declare as attributes."""


class Platform:
    """A gateway, its workers, a registry and a log: all that answers, and nothing that outlives it.

    Everything is what a server runs, so a model meets what it meets there: a worker process of its own, rows checked
    by its schema, deadlines, fallbacks, releases. The registry and the log are in memory. Use it in a `with`
    statement, or `close` it, so that its workers end; they also end with this process.

    Args:
        settings: those that a server would have been given.
        registry: where versions and releases are, in the place of an empty registry in memory.
    """

    def __init__(self, settings: Settings = _USUAL, registry: Registry | None = None) -> None:
        self._limits = settings.limits
        self._running = Running(settings, registry)
        self.registry = self._running.registry

    def publish(self, model: Any, **options: Any) -> Published:
        """Publish a version here. The arguments are those of `cloche.publish`, and so are the errors.

        Raises:
            DoesNotLoad: it was published, and can't be brought up.
        """
        published = publish(model, **{"quiet": True, **options, "home": self.registry})
        self._running.wait(self._bring_up(published))
        return published

    async def _bring_up(self, published: Published) -> None:
        answering, made = self._running.answering, published.manifest
        await answering.follow()
        if not published.live:
            await answering.warm(made.name, made.version, published.digest)

    def make_default(self, name: str, version: str) -> Release:
        """Make a version the default of its model, as `cloche models default` does.

        Raises:
            RegistryError: it can't be.
            DoesNotLoad: it can't be brought up; what was the default goes on answering.
        """
        changed = make_default(self.registry, name, version, _reason("models default"), limits=self._limits)
        release = self._running.wait(changed)
        self._running.wait(self._running.answering.follow())
        return release

    def apply(self, wanted: Path | str | Mapping[str, Any]) -> Applied:
        """Make live what a file wants, as `cloche apply` does.

        Args:
            wanted: the path of a `models.toml`; or its text; or the same as a dict: `{"models": {...}}`.

        Raises:
            RegistryError: it can't be applied; nothing was.
            DoesNotLoad: a version of it can't be brought up; what was live goes on answering.
        """
        applied = self._running.wait(apply(self.registry, given_goal(wanted), _reason("apply"), Terms(self._limits)))
        self._running.wait(self._running.answering.follow())
        return applied

    def predict(
        self, model: str, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], **asked: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """Ask a model, and return the whole answer, as HTTP callers get it.

        Args:
            model: its name.
            rows: a row, which is answered by `output`; or a list of rows, answered by `outputs`.
            asked: `version`, `subject`, `deadline_ms`, `as_of`, `parameters`, `caller`, `headers`.

        Raises:
            CallError: the call is not one that the model takes; each fault is a note of the exception.
            ServingError: it could not be answered; the model's traceback is a note of the exception.
        """
        request = request_of(model, rows, asked)
        try:
            return self._running.wait(self._answer(request))
        except ClocheError as error:
            for note in _notes(error):
                error.add_note(note)
            raise

    async def _answer(self, request: Request) -> dict[str, Any]:
        await self._running.answering.follow()
        return await self._running.answering.answer(request)

    @property
    def log(self) -> list[dict[str, Any]]:
        """All inferences so far, oldest first, as `cloche log export` writes them. A shadow's comes a moment later."""
        return [to_json(record) for record in self._running.answering.journal.records]

    def close(self) -> None:
        """End the workers and everything else. Closing again does nothing."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def request_of(model: str, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], asked: CallOptions) -> Request:
    """Return a call as every door makes it.

    Raises:
        TypeError: it says something that no call can.
    """
    if unknown := asked.keys() - CallOptions.__annotations__.keys():
        raise TypeError(f"a call has no {', '.join(sorted(unknown))}; it has {', '.join(CallOptions.__annotations__)}")
    body: dict[str, Any] = {"input" if isinstance(rows, Mapping) else "inputs": rows}
    body |= {name: value for name, value in asked.items() if name in ("as_of", "parameters")}
    return Request(
        model=model,
        body=msgspec.json.encode(body, enc_hook=_plain),
        version=asked.get("version"),
        subject=asked.get("subject"),
        deadline_ms=asked.get("deadline_ms"),
        caller=asked.get("caller", "anonymous"),
        attributes={name.lower(): value for name, value in asked.get("headers", _NO_HEADERS).items()},
    )


def _plain(value: Any) -> Any:
    """Return what JSON has for a number of numpy, as rows of a DataFrame hold them."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a row holds a {type(value).__name__}, for which JSON has nothing")


def _notes(error: ClocheError) -> list[str]:
    """Return what the author of a test wants to see beside an error."""
    if isinstance(error, SchemaMismatch):
        return [f"{fault['pointer']}: {fault['message']}" for fault in error.faults]
    if not isinstance(error, ServingError):
        return []
    private = error.private
    printed = [f"It printed:\n{private['printed'].rstrip()}"] if private.get("printed") else []
    return [str(said).rstrip() for said in [private.get("traceback") or private.get("reason")] if said] + printed


def _reason(command: str) -> Reason:
    return Reason("a test", "", command)
