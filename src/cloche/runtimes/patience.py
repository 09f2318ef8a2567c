"""How long a worker may be busy with one batch before it counts as hung."""

from __future__ import annotations

LEAST_S = 5.0
TIMES_P99 = 20

_SHARE = 0.01
_FORGETTING = 0.999
"""What each batch leaves of the weight of those before it: the last thousand or so are what is usual."""
_BUCKETS = 40
_CHANGES_NOTHING = 7
"""The bucket of up to 128 ms: twenty times that is less than the least."""
_HEAVIEST = 1e100
_QUICK_BEFORE = 100.0
"""So many quick batches count as having come before the first, which often takes longer than any other."""


class Patience:
    """Knows how long batches usually take, to within a factor of two.

    Args:
        stated_s: how long one may take, where somebody has said so; else it is 5 s, or 20 times what 99 of 100 stay
            below, whichever is longer.
    """

    def __init__(self, stated_s: float | None = None) -> None:
        self.seconds = LEAST_S if stated_s is None else stated_s
        """How long a batch may take."""
        self._is_stated = stated_s is not None
        self._weights = [_QUICK_BEFORE] + [0.0] * (_BUCKETS - 1)
        """How many batches took less than 1, 2, 4, 8… ms."""
        self._weight = 1.0

    def saw(self, seconds: float) -> None:
        """Learn how long a batch took."""
        if self._is_stated:
            return
        bucket = min(int(seconds * 1000).bit_length(), _BUCKETS - 1)
        self._weight /= _FORGETTING  # newer ones weigh more, so that older ones need not be touched
        self._weights[bucket] += self._weight
        if self._weight > _HEAVIEST:
            self._weights = [weight / self._weight for weight in self._weights]
            self._weight = 1.0
        if bucket > _CHANGES_NOTHING or self.seconds > LEAST_S:
            self.seconds = max(LEAST_S, TIMES_P99 * self._p99_s())

    def _p99_s(self) -> float:
        beyond, most = 0.0, _SHARE * sum(self._weights)
        for bucket in reversed(range(_BUCKETS)):
            beyond += self._weights[bucket]
            if beyond > most:
                break
        return (1 << bucket) / 1000
