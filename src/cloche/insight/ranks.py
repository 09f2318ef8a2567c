"""How much two rankings of the same items agree.

Kendall's tau-b: the share of pairs of items that both put in the same order, less the share that they put in opposite
ones; 1 is the same order, -1 the reverse, 0 no relation. Of the usual rank correlations it says what a list is about,
which of two items comes first, without weighing how far they are apart; and it knows ties, which scores of trees are
full of (Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945). Pairs in opposite order are counted
while the items are sorted (Knight, Journal of the American Statistical Association 61, 1966).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def tau_b(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two scores of the same items; None where one of them tells no two items apart."""
    pairs = _pairs(len(one))
    tied_one, tied_other = _tied(one), _tied(other)
    if pairs in (tied_one, tied_other):
        return None
    agreeing = pairs - tied_one - tied_other + _tied(zip(one, other, strict=True)) - 2 * _opposite(one, other)
    return float(agreeing / ((pairs - tied_one) * (pairs - tied_other)) ** 0.5)


def overlap(one: Sequence[Hashable], other: Sequence[Hashable], first: int) -> float:
    """Return the share of the first items of one list that are among as many first items of the other."""
    return len({*one[:first]} & {*other[:first]}) / first


def _opposite(one: Sequence[float], other: Sequence[float]) -> int:
    """Return how many pairs are in opposite order: in the order of the one, those that the other has larger before."""
    seen: list[float] = []
    found = 0
    for _, value in sorted(zip(one, other, strict=True)):
        found += len(seen) - bisect_right(seen, value)
        insort(seen, value)
    return found


def _tied(values: Iterable[Hashable]) -> int:
    return sum(map(_pairs, Counter(values).values()))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
