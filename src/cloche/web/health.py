"""Whether a gateway is ready, and what it waits for by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from cloche.gateway.progress import Progress
from cloche.log.direct import SinkJournal
from cloche.log.spool import Spool
from cloche.registry.standing import Waiting
from cloche.runtimes.roster import CrewState
from cloche.siblings import Sibling, Siblings


class HealthState(msgspec.Struct, frozen=True):
    """The body of `/ready`."""

    ready: bool
    waiting_for: list[str]
    """What is missing, in words."""
    notices: list[str]
    """What is not as it should be, and does not keep calls from being answered."""


class Line(Protocol):
    """Who starts workers."""

    @property
    def orphaned(self) -> bool:
        """Whether it is gone, so that nothing that dies now comes back."""
        ...


class Health:
    """Looks at everything a gateway needs, and at its siblings: a server is ready where one of its gateways is."""

    def __init__(
        self,
        progress: Progress,
        journal: Spool | SinkJournal,
        workers: Line,
        siblings: Siblings,
        crews: Callable[[], Sequence[CrewState]] = tuple,
    ) -> None:
        self._progress = progress
        self._journal = journal
        self._workers = workers
        self._siblings = siblings
        self._crews = crews
        self.stopping = False

    def state(self) -> HealthState:
        """Return how things are with the server. What this gateway waits for is a notice where another is ready."""
        own, siblings = self.own, self._siblings
        notices = own.notices + [_said_of(other, siblings.count) for other in siblings.others if not other.ready]
        notices += [f"{crew.model} {crew.version}: {crew.trouble}" for crew in self._crews() if crew.trouble]
        if own.ready or self.stopping or not siblings.others_ready:
            return HealthState(own.ready, own.waiting_for, notices)
        return HealthState(True, [], [f"this gateway waits for {each}" for each in own.waiting_for] + notices)

    @property
    def own(self) -> HealthState:
        """How things are with this gateway alone. Where it is not ready, and another is, that takes the calls."""
        waiting: list[str] = []
        notices: list[str] = []
        if self.stopping:
            waiting.append("nothing: this gateway is stopping")
        if not self._progress.started:
            waiting.append(f"the registry: {self._progress.trouble or 'being read'}")
        elif self._progress.nothing_live:
            waiting.append("a first model: publish one")
        elif self._progress.trouble:
            notices.append(f"new releases are not seen: {self._progress.trouble}")
        if self._progress.from_copy:
            notices.append(f"what is live is what this host saw last, release {self._progress.seen}")
        for model in self._progress.waiting:
            (notices if model.answering or model.woken else waiting).append(_said(model))
        if self._progress.asleep:
            notices.append(f"models that are asleep until they are called: {self._progress.asleep}")
        for name, version, state in self._progress.not_ready():
            notices.append(f"{name} {version}: its worker is {state}")
        log = self._journal.state
        if not log.healthy:
            waiting.append(f"the inference log: {log.reason}")
        if log.mode == "async":
            notices.append(f"log mode async: {log.lost} records lost so far")
        if log.dropped:
            notices.append(f"{log.dropped} records dropped on a full disk")
        if self._workers.orphaned:
            notices.append("the supervisor is gone: nothing that dies now comes back. Run: cloche serve")
        return HealthState(not waiting, waiting, notices)


def _said_of(other: Sibling, count: int) -> str:
    """Return what is said of a sibling that is not ready."""
    return f"gateway {other.number} of {count} {'is not ready' if other.there else 'starts'}"


def _said(model: Waiting) -> str:
    """Return what a model waits for."""
    meanwhile = f"; release {model.answering} answers" if model.answering else ""
    return f"{model.model} release {model.release}: {model.state}{meanwhile}"
