"""How quickly a version answers: how long a row takes, and how many calls may wait for it."""

from __future__ import annotations

import math
from typing import Final

SMOOTHING: Final = 0.2
"""Weight of the newest batch in a running mean."""

FIRST: Final = 5
"""So many batches are the first ones."""

PAYS: Final = 0.8
"""What a row may take in company, of what it takes among half as many, for that to be worth a longer batch."""

TRIED_AGAIN: Final = 256
"""After so many batches it is tried again what has not paid: perhaps something else was slow then."""

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


class _Mean:
    """The running mean of the seconds that a row takes; 0 before the first is answered.

    First batches often take longer than any later one, so of those it is the quickest that counts.
    """

    __slots__ = ("row_s", "seen")

    def __init__(self) -> None:
        self.row_s = 0.0
        self.seen = 0

    def note(self, row_s: float) -> None:
        if self.seen >= FIRST:
            self.row_s += SMOOTHING * (row_s - self.row_s)
        else:
            self.row_s = min(self.row_s, row_s) if self.seen else row_s
        self.seen += 1


class Pace:
    """How long batches take, by how many rows they have: a row in company may take a fraction of a row alone.

    Sizes are classes, each twice as large as the one before: 1; 2 and 3; 4 to 7; …
    """

    def __init__(self) -> None:
        self._all = _Mean()
        self._classes: dict[int, _Mean] = {}
        self._batches = 0

    @property
    def row_s(self) -> float:
        """The running mean of the seconds that a row takes, in batches as they are; 0 before the first is answered."""
        return self._all.row_s

    def note(self, rows: int, seconds: float) -> None:
        """Learn how long a batch took."""
        row_s = seconds / rows
        self._all.note(row_s)
        self._classes.setdefault(rows.bit_length(), _Mean()).note(row_s)
        self._batches += 1
        if self._batches % TRIED_AGAIN == 0:
            self._forget_what_does_not_pay()

    def takes_s(self, rows: int) -> float:
        """Return the seconds that so many rows are expected to take together; 0 before any were answered."""
        size = rows.bit_length()
        near = min(self._classes, key=lambda known: abs(known - size), default=None)
        return 0.0 if near is None else rows * self._classes[near].row_s

    @property
    def paying(self) -> int:
        """How many rows are worth putting together, however long that takes: as long as a row gets quicker by it.

        The class behind the last that has paid is tried, too. 1 before any were answered.
        """
        size = min(self._classes, default=0)
        while self._pays(size + 1):
            size += 1
        following = self._classes.get(size + 1)
        is_tried = following is None or following.seen < FIRST
        return int(2 ** (size + is_tried)) - 1 if size else 1

    def _pays(self, size: int) -> bool:
        found, half = self._classes.get(size), self._classes.get(size - 1)
        return found is not None and half is not None and found.row_s <= PAYS * half.row_s

    def _forget_what_does_not_pay(self) -> None:
        self._classes.pop(self.paying.bit_length() + 1, None)
