"""The worker pool: the workers of all versions that gateways want."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from cloche.runtimes.crew import Crew, Subscriber
from cloche.runtimes.replica import WorkerSpec
from cloche.runtimes.roster import CrewState

UNWANTED_S = 60.0
"""How long workers go on for a gateway that died: its successor asks for them within seconds, or never."""

LOOK_S = 1.0
"""How often memory is weighed, and how things stand is told."""


class WorkerPool:
    """Workers by the digest of their version, each with the gateways that want it.

    Args:
        tell: is told how the workers of each version are doing, whenever that has changed.
    """

    def __init__(self, tell: Callable[[Sequence[CrewState]], None] = lambda _: None) -> None:
        self._crews: dict[str, Crew] = {}
        self._numbers = itertools.count(1)
        self._retiring: set[asyncio.Task[None]] = set()
        self._tell = tell
        self._told: list[CrewState] = []
        self._next_look: asyncio.TimerHandle | None = None

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        """Start the version's workers unless they run; connect the subscriber to them now and after each restart."""
        crew = self._crews.get(spec.digest)
        if crew is None:
            crew = self._crews[spec.digest] = Crew(spec, lambda: next(self._numbers))
        crew.subscribe(subscriber, spec.replicas)
        if self._next_look is None:
            self._look()

    def resize(self, digest: str, replicas: int, subscriber: Subscriber | None = None) -> None:
        """Have another number of workers of a version: the most that a subscriber wants.

        Args:
            digest: of the version.
            replicas: how many.
            subscriber: who wants as many now; all of them, where it is not said.
        """
        if crew := self._crews.get(digest):
            crew.resize(replicas, subscriber)

    def release(self, digest: str, subscriber: Subscriber) -> None:
        """Stop the version's workers once nobody wants them."""
        crew = self._crews.get(digest)
        if crew is not None and crew.release(subscriber):
            self._retire(digest)

    def forget(self, subscriber: Subscriber) -> None:
        """Drop a subscriber that died. Its workers go on for a while, for the one that will take its place."""
        for crew in self._crews.values():
            crew.forget(subscriber)
        asyncio.get_running_loop().call_later(UNWANTED_S, self._stop_unwanted)

    def _stop_unwanted(self) -> None:
        for digest, crew in list(self._crews.items()):
            if not crew.is_wanted:
                self._retire(digest)

    def _retire(self, digest: str) -> None:
        retirement = asyncio.get_running_loop().create_task(self._crews.pop(digest).stop(5.0))
        self._retiring.add(retirement)
        retirement.add_done_callback(self._retiring.discard)

    def hung(self, digest: str, replica: int, after_s: float) -> None:
        """Replace a worker that has been busy with one batch for `after_s`, after it wrote its stack to its log."""
        if crew := self._crews.get(digest):
            crew.hung(replica, after_s)

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes of each version that has any."""
        return {digest: pids for digest, crew in self._crews.items() if (pids := crew.pids)}

    def _look(self) -> None:
        """Weigh all workers, and tell how they are doing; then again, for as long as there are any."""
        for crew in self._crews.values():
            crew.weigh()
        self._next_look = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._crews else None
        states = [crew.state for crew in self._crews.values()]
        if states != self._told:
            self._told = states
            self._tell(states)

    async def stop(self, grace_s: float = 5.0) -> None:
        """End all workers; each finishes the call that it has."""
        if self._next_look is not None:
            self._next_look.cancel()
        crews = list(self._crews.values())
        self._crews.clear()
        await asyncio.gather(*(crew.stop(grace_s) for crew in crews), *self._retiring)
