"""Whether two forms of a model answer the same: labels equal, numbers within a tolerance, failures in the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Literal

import msgspec

from cloche.authoring.optimizing.asking import Row, Unanswered
from cloche.registry.bundle import Each, Manifest
from cloche.schema.dialect import escape

Source = Literal["golden", "recorded", "drawn"]
"""Where a call comes from: the version's own cases and examples, the log, or chance."""


class Question(msgspec.Struct, frozen=True):
    """A row that both forms are asked; of a ranking, a call."""

    source: Source
    call: Row


class Disagreement(msgspec.Struct, frozen=True):
    """A place where two answers are not the same."""

    source: Source
    call: Row
    pointer: str
    """JSON pointer into the output; empty where it is all of it, or one of the two has none."""
    original: Any
    """None where there is no answer."""
    converted: Any


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking both."""

    calls: int
    differing: int
    """Calls with a difference beyond the tolerance."""
    labels: int
    """Of those, the ones whose labels differ, or that only one of the two answers."""
    failed: int
    """Calls that neither answers."""
    worst: float
    """The largest difference of two numbers, as the tolerance counts it."""
    mean: float
    """The mean over the calls of the largest difference in each."""
    usual: float
    first: Disagreement | None
    """The call that differs most."""


class Scale(msgspec.Struct, frozen=True):
    """How far apart two numbers are.

    A difference is counted in shares: of the larger number, or of `usual` where both are smaller. Probabilities are
    held to 1. All other numbers are held to the median of what the original answers, since 1e-5 of a price in euros is
    nothing, and 1e-5 of a rate may be all of it.
    """

    usual: float = 1.0

    def apart(self, one: Any, other: Any) -> float:
        """Return how far two JSON scalars are apart: 0 where they are the same, infinity where they are no numbers."""
        if _is_number(one) and _is_number(other) and (isinstance(one, float) or isinstance(other, float)):
            return float(abs(one - other) / max(self.usual, abs(one), abs(other)))
        return 0.0 if type(one) is type(other) and one == other else math.inf


def scale_of(manifest: Manifest, answers: Sequence[Any]) -> Scale:
    """Return how the differences of a model's numbers are counted."""
    if manifest.answers == "label":
        return Scale()
    sizes = [abs(number) for answer in answers if not isinstance(answer, Unanswered) for number in _numbers(answer)]
    found = median(sizes) if sizes else 1.0
    return Scale(found or max(sizes, default=1.0) or 1.0)


def compare(
    manifest: Manifest, questions: Sequence[Question], pairs: Sequence[tuple[Any, Any]], limit: float
) -> Compared:
    """Compare the answers of the original with those of another form.

    Args:
        manifest: of the version.
        questions: what was asked.
        pairs: the two answers to each.
        limit: the tolerance.
    """
    scale = scale_of(manifest, [one for one, _ in pairs])
    apart, first, furthest = [], None, limit
    differing = labels = failed = 0
    for question, (one, other) in zip(questions, pairs, strict=True):
        place = _furthest(manifest, scale, one, other)
        failed += isinstance(one, Unanswered) and place.apart == 0.0
        differing += place.apart > limit
        labels += math.isinf(place.apart)
        apart.append(place.apart)
        if place.apart > furthest:
            said = [None if isinstance(value, Unanswered) else value for value in (place.one, place.other)]
            first, furthest = Disagreement(question.source, question.call, place.pointer, *said), place.apart
    numbers = [each for each in apart if math.isfinite(each)]
    return Compared(
        calls=len(pairs),
        differing=differing,
        labels=labels,
        failed=failed,
        worst=max(numbers, default=0.0),
        mean=sum(numbers) / len(numbers) if numbers else 0.0,
        usual=scale.usual,
        first=first,
    )


class _Place(msgspec.Struct, frozen=True):
    pointer: str
    one: Any
    other: Any
    apart: float


def _furthest(manifest: Manifest, scale: Scale, one: Any, other: Any) -> _Place:
    """Return the place where two answers are furthest apart."""
    if isinstance(one, Unanswered) or isinstance(other, Unanswered):
        return _Place("", one, other, 0.0 if one == other else math.inf)
    if manifest.each is not None:
        one, other = _aligned(manifest.each, scale, one, other)
    places = _places(one, other, scale, exact="/label" if manifest.answers == "label" else None)
    return max(places, key=lambda place: place.apart, default=_Place("", one, other, 0.0))


def _places(one: Any, other: Any, scale: Scale, exact: str | None, pointer: str = "") -> Iterator[_Place]:
    parts: list[tuple[object, Any, Any]]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        parts = [(name, one[name], other[name]) for name in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = list(zip(range(len(one)), one, other, strict=True))
    elif pointer == exact:
        yield _Place(pointer, one, other, 0.0 if type(one) is type(other) and one == other else math.inf)
        return
    else:
        yield _Place(pointer, one, other, scale.apart(one, other))
        return
    for name, left, right in parts:
        yield from _places(left, right, scale, exact, f"{pointer}/{escape(str(name))}")


def _aligned(each: Each, scale: Scale, one: list[Row], other: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return two rankings in the order of the first, where the second differs in nothing but the order of equals.

    Equal are those items whose scores are the same to seven digits: single precision does not tell them apart.
    """
    known = {msgspec.json.encode(item[each.item_id]): item for item in one}
    if len(known) != len(one) or len(one) != len(other):
        return one, other
    found = {msgspec.json.encode(item[each.item_id]): item for item in other}
    if found.keys() != known.keys() or not _is_ordered([known[name]["score"] for name in found], each.order, scale):
        return one, other
    return one, [found[name] for name in known]


_EQUALS = 1e-6


def _is_ordered(scores: Sequence[float], order: str, scale: Scale) -> bool:
    pairs = pairwise(scores)
    return all(
        scale.apart(first, second) <= _EQUALS or (first < second if order == "asc" else first > second)
        for first, second in pairs
    )


def _numbers(answer: Any) -> Iterator[float]:
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    if isinstance(answer, list):
        for part in answer:
            yield from _numbers(part)
    elif _is_number(answer):
        yield answer


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
