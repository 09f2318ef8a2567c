"""How quickly a version answers: how long a row takes, and how many calls may wait for it."""

from __future__ import annotations

import math
from typing import Final

SMOOTHING: Final = 0.2
"""Weight of the newest batch in a running mean."""

FIRST: Final = 5
"""So many batches are the first ones."""

LEAST_CALLS: Final = 4096
MOST_CALLS: Final = 16_384
"""Between these moves how many calls may wait. Who has a long deadline, and fewer of them, is judged by time alone."""

TOLERANCE: Final = 1.5
"""How much longer than usually calls may wait before fewer of them may."""

_LONG: Final = 1 / 600
"""Weight of the newest batch in what is usual."""


class Cap:
    """How many calls may wait: fewer once they wait longer than usually, more while they do not.

    It is Netflix's Gradient2. Time alone decides whether a call comes too late; this is for what that can't know, a
    model that has just become slow, and bounds the memory that waiting calls take.
    """

    def __init__(self) -> None:
        self.calls = 8192.0
        self._usual_s = 0.0

    def note(self, latency_s: float, calls: int) -> None:
        """Learn what it took from a call's arrival to its answer, and how many calls there were then."""
        latency_s = max(latency_s, 1e-6)
        self._usual_s += _LONG * (latency_s - self._usual_s) if self._usual_s else latency_s
        if self._usual_s > 2 * latency_s:
            self._usual_s *= 0.95  # so that it comes down again soon after an overload
        if calls < self.calls / 2:
            return  # it does not bind, so nothing is learned about it
        gradient = min(1.0, max(0.5, TOLERANCE * self._usual_s / latency_s))
        wanted = self.calls * gradient + math.sqrt(self.calls)
        self.calls = min(MOST_CALLS, max(LEAST_CALLS, self.calls + SMOOTHING * (wanted - self.calls)))


class Pace:
    """The running mean of the seconds that a row takes; 0 before the first is answered.

    First batches often take longer than any later one, so of those it is the quickest that counts.
    """

    def __init__(self) -> None:
        self.row_s = 0.0
        self._first = FIRST

    def note(self, rows: int, seconds: float) -> None:
        """Learn how long a batch took."""
        row_s = seconds / rows
        if not self._first:
            self.row_s += SMOOTHING * (row_s - self.row_s)
            return
        self._first -= 1
        self.row_s = min(self.row_s, row_s) if self.row_s else row_s
