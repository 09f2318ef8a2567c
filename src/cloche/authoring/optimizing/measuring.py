"""How long both forms of a model take for calls of few rows and of many, and which of them is to answer which."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Final

from cloche.authoring.optimizing.asking import Answers, Asker, Row, Tell
from cloche.registry.optimized import Form, Spread, Timed
from cloche.values import Ask

SIZES: Final = (1, 8, 64, 1024)
"""Rows of a call, where nobody knows how many callers send."""

_FEWEST_SEEN: Final = 100
_ROUNDS: Final = 41
_ROUND_S: Final = 0.001
_FEWEST_ROUNDS: Final = 5
_SIZE_S: Final = 2.0
_DISTINCT: Final = 64
_WORTH: Final = 0.9
"""The original answers where it takes less than this share of the other's time: for less, a worker is not kept."""


def sizes_of(seen: Sequence[int], most: int | None) -> list[int]:
    """Return at how many rows to measure: those that callers send where enough is known of them, else the usual ones.

    Args:
        seen: the rows of calls in the log.
        most: how many a call may have, where that is said.
    """
    if len(seen) < _FEWEST_SEEN:
        return sorted({min(size, most or size) for size in SIZES})
    ordered = sorted(seen)
    return sorted({1, *(ordered[round(share * (len(ordered) - 1))] for share in (0.5, 0.95, 1.0))})


def measure(
    asker: Asker, forms: tuple[Answers, Answers], calls: Sequence[Row], sizes: Sequence[int], tell: Tell
) -> list[Timed]:
    """Measure both forms, turn by turn, with distinct rows.

    Args:
        asker: makes calls of rows.
        forms: the original, and the other one.
        calls: rows that both answer; of a ranking, calls.
        sizes: of how many rows, or items.
        tell: is told what is being done.
    """
    table = []
    for size in sizes:
        tell(f"measuring calls of {size:,} row{'' if size == 1 else 's'}")
        asks = [asker.sized(calls, size, start * size) for start in range(max(2, _DISTINCT // size))]
        original, converted = _spreads(forms, asks)
        table.append(Timed(size, original, converted, _faster(original, converted)))
    return table


def speed(table: Sequence[Timed]) -> float:
    """Return the geometric mean of what calls take in the second form, in microseconds."""
    return math.exp(sum(math.log(line.converted.low_us) for line in table) / len(table))


def _faster(original: Spread, converted: Spread) -> Form:
    """Decide by the quarter of the rounds that took least: what else the machine does only ever adds to them."""
    return "original" if original.low_us < _WORTH * converted.low_us else "converted"


def _spreads(forms: tuple[Answers, Answers], asks: Sequence[Ask]) -> tuple[Spread, Spread]:
    repeats = [_repeats(form, asks) for form in forms]
    taken: tuple[list[float], list[float]] = ([], [])
    ends = time.perf_counter() + _SIZE_S
    for done in range(_ROUNDS):
        for form, count, found in zip(forms, repeats, taken, strict=True):
            found.append(_round_s(form, asks, count) / count * 1e6)
        if time.perf_counter() > ends and done >= _FEWEST_ROUNDS:
            break
    return _spread(taken[0]), _spread(taken[1])


def _repeats(form: Answers, asks: Sequence[Ask]) -> int:
    """Return how many calls make a round that is long enough to be measured."""
    _round_s(form, asks, 1)
    return max(1, min(200, round(_ROUND_S / max(_round_s(form, asks, 2) / 2, 1e-6))))


def _round_s(form: Answers, asks: Sequence[Ask], count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        form.answer(asks[number % len(asks)])
    return time.perf_counter() - began


def _spread(taken: Sequence[float]) -> Spread:
    low, _, high = quantiles(taken, n=4)
    return Spread(round(median(taken), 1), round(low, 1), round(high, 1))
