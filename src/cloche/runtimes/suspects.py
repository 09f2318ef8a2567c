"""Calls whose worker died: who was to blame?

A call that was alone with its worker is blamed. Those that were together are suspects: each is asked again, alone, and
so is every later call with the same input until one is answered. An input that two workers died with, at least one of
them alone, and with no answer in between, is refused for an hour.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from typing import Final

import msgspec

from cloche.runtimes.connection import Call
from cloche.values import Ask

DEATHS: Final = 2
REFUSED_S: Final = 3600.0
MOST_INPUTS: Final = 4096
"""That are remembered; the oldest are forgotten first."""


class _Input(msgspec.Struct, frozen=True):
    """An input that a worker may have died of."""

    deaths: int
    """Of workers that had it."""
    blamed: bool
    """Whether one of them had it alone."""
    until: float
    """When it is forgotten, in seconds of the loop's clock."""


class Suspects:
    """The calls of a version that are to be asked alone, and the inputs that its workers died with."""

    def __init__(self) -> None:
        self.waiting: deque[Call] = deque()
        self.asked: Call | None = None
        """The one that a worker has. There is one at a time, so that the guilty one costs one worker."""
        self._inputs: OrderedDict[bytes, _Input] = OrderedDict()

    @property
    def are_known(self) -> bool:
        """Whether there are any."""
        return bool(self._inputs)

    def holds(self, ask: Ask, now: float) -> bool:
        """Tell whether an input is to be asked alone."""
        return bool(self._inputs) and self._known(ask, now) is not None

    def refuses(self, ask: Ask, now: float) -> bool:
        """Tell whether an input is not to be asked at all."""
        found = self._known(ask, now) if self._inputs else None
        return found is not None and found.blamed and found.deaths >= DEATHS

    def add(self, call: Call) -> None:
        """Have a call asked alone."""
        self.waiting.append(call)
        call.waits = True

    def suspect(self, batch: list[Call], now: float) -> None:
        """Take calls whose worker died: one that was alone is blamed, several are to be asked again."""
        alone = len(batch) == 1
        for call in batch:
            key = _digest_of(call.ask)
            was = self._inputs.pop(key, None) or _Input(0, False, now)
            self._inputs[key] = _Input(was.deaths + 1, was.blamed or alone, now + REFUSED_S)
            if not (alone or call.answer.done()):
                self.add(call)
            if call is self.asked:
                self.asked = None
        while len(self._inputs) > MOST_INPUTS:
            self._inputs.popitem(last=False)

    def next(self) -> Call | None:
        """Return the call that is to be asked now, where there is one and none is being asked."""
        while self.asked is None and self.waiting:
            call = self.waiting.popleft()
            call.waits = False
            if not call.answer.done():
                self.asked = call
                return call
        return None

    def clear(self, call: Call) -> None:
        """Learn that a call which was alone was answered."""
        if self._inputs:
            self._inputs.pop(_digest_of(call.ask), None)
        if call is self.asked:
            self.asked = None

    def _known(self, ask: Ask, now: float) -> _Input | None:
        key = _digest_of(ask)
        found = self._inputs.get(key)
        if found is not None and found.until < now:
            del self._inputs[key]
            return None
        return found


def _digest_of(ask: Ask) -> bytes:
    """Return the digest of all that a model sees of a call, but for its id and its moment."""
    digest = hashlib.blake2b(ask.payload, digest_size=16)
    if ask.context.parameters is not None:
        digest.update(msgspec.json.encode(ask.context.parameters))
    return digest.digest()
