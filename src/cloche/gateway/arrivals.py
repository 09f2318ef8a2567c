"""Calls that have come, and wait for the event loop: how long is too long.

A gateway is full when calls come faster than its loop can answer them. What has waited for too long by then is turned
away before it is even read, so that it costs next to nothing, and nothing is written of it but a count. Thus no turn of
the loop is long, and whoever asks whether the gateway is alive is answered, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cloche.errors import Overloaded
from cloche.gateway.choose import Choice
from cloche.values import Criticality

SHARES: Final[dict[Criticality, float]] = {"critical": 0.4, "default": 0.2, "sheddable": 0.1}
"""For how much of its deadline a call may wait for the loop.

Turns of the loop are as long then, and a call takes about four: it waits to be read, waits to begin, waits for its
record to be kept, and is answered.
"""

LONGEST_S: Final = 1.0
"""Of deadlines that are longer, the part that counts."""

FEW: Final = 2
"""Where no more calls than these wait behind one, it is taken anyhow."""

MANY: Final = 8
"""The same where it is not known what the loop was at work on."""

_SOON_S: Final = 0.01
"""What waits no longer than this is not looked into: asking for the time that a thread has worked costs more."""

_AT_WORK: Final = 0.125
"""The loop was at work if its thread had this share of a processor: others may want that, too."""

_RETRY_SPREAD_S: Final = 3


class Arrivals:
    """The calls that have been read from their connections, and have not begun.

    A pause of the whole machine is not the time that the loop has spent on those before them, and turns nobody away.

    Args:
        now_s: a clock that never jumps, in seconds.
        worked_s: returns for how many seconds this thread has worked.
    """

    def __init__(
        self, now_s: Callable[[], float] = time.perf_counter, worked_s: Callable[[], float] = time.thread_time
    ) -> None:
        self._now_s = now_s
        self._worked_s = worked_s
        self._waiting = 0
        self._since = (0.0, 0.0)

    def come(self) -> None:
        """Count a call."""
        if not self._waiting:
            self._since = self._now_s(), self._worked_s()
        self._waiting += 1

    def begin(self) -> float:
        """Return for how many seconds the loop has been at calls since some began to wait; 0 where hardly any do."""
        self._waiting -= 1
        if self._waiting <= FEW:
            return 0.0
        passed_s = self._now_s() - self._since[0]
        if passed_s <= _SOON_S:
            return 0.0
        worked_s = self._worked_s() - self._since[1]
        return passed_s if worked_s > _AT_WORK * passed_s else worked_s


def admit(choice: Choice) -> Choice:
    """Return a call that the loop has come to in time; what has a fallback always comes in, since that is quick.

    Raises:
        Overloaded: it has waited too long.
    """
    request, model = choice.request, choice.model
    if not request.waited_s:
        return choice
    deadline_s = min(request.deadline_ms or model.deadline_ms, model.deadline_ms) / 1000
    share = SHARES[choice.criticality]
    if request.waited_s <= share * min(deadline_s, LONGEST_S) or model.fallback:
        return choice
    error = Overloaded(model=model.name, version=choice.loaded.manifest.version)
    error.retry_after_s = 1 + int(request.waited_s * 1e6) % _RETRY_SPREAD_S
    raise error
