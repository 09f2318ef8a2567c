"""What a version answers to rows in a worker of its own, and where two versions answer otherwise."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

import msgspec

from cloche.authoring.outcomes import Alike
from cloche.errors import CallError, SchemaMismatch, ServingError
from cloche.registry.bundle import Manifest
from cloche.runtimes.started import VersionProcess
from cloche.schema import compile_schema
from cloche.schema.dialect import escape, unescape
from cloche.values import NO_INFERENCE, CallContext

LEVELS: Final = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}

_MOST_PLACES = 20
_ABSENT = object()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one row; of a ranking, of one call."""

    output: Any = None
    refusal: str | None = None
    """The code of the model's refusal."""
    failure: str | None = None
    """The code of an error, with the place where a row does not fit the schema."""

    @property
    def is_answered(self) -> bool:
        """Whether there is an output."""
        return self.refusal is None and self.failure is None


class PlaceDifference(msgspec.Struct, frozen=True):
    """A place where two answers are not the same."""

    pointer: str
    """JSON pointer into the output; empty where it is all of it, or one of the two has none."""
    before: Any
    after: Any


class RowDifference(msgspec.Struct, frozen=True):
    """A row that two versions answer otherwise."""

    row: int
    places: list[PlaceDifference]


class ScoreDistributions(msgspec.Struct, frozen=True):
    """The scores of two versions for the same rows, each as a sample of its own."""

    rows: tuple[int, int]
    mean: tuple[float, float]
    quantiles: dict[str, tuple[float, float]]
    distance: float
    """Kolmogorov-Smirnov: the largest difference between the shares of scores up to any value; 0 to 1."""


def answers_of(
    worker: VersionProcess, manifest: Manifest, rows: Sequence[dict[str, Any]], wait_s: float
) -> list[Answer]:
    """Ask a version rows that may not be its own, each held to its schema first.

    Args:
        worker: of the version, loaded.
        manifest: of the version.
        rows: in JSON form; of a ranking, calls.
        wait_s: how long an answer may take.
    """
    accept = compile_schema(
        manifest.input_schema,
        unknown_fields=manifest.unknown_fields,
        each=manifest.each,
        names=(manifest.name, manifest.version),
    )
    return [_answer(worker, manifest, accept.read, row, wait_s) for row in rows]


def _answer(worker: VersionProcess, manifest: Manifest, read: Any, row: dict[str, Any], wait_s: float) -> Answer:
    context = CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)
    try:
        payload = msgspec.json.encode(read(msgspec.json.encode({"input": row})).rows)
        found = worker.predict(payload, 1, False, context, wait_s)
    except SchemaMismatch as error:
        return Answer(failure=f"{error.code} at {error.faults[0]['pointer'] or '/input'}")
    except (CallError, ServingError) as error:
        return Answer(failure=error.code)
    if found.refusals and manifest.each is None:
        return Answer(refusal=msgspec.json.decode(found.refusals[0])["code"])
    return Answer(output=msgspec.json.decode(found.outputs)[0])


def differing(before: Sequence[Answer], after: Sequence[Answer], alike: Alike) -> list[RowDifference]:
    """Return the rows that are not answered the same, with the first places of each."""
    found = []
    for row, (one, other) in enumerate(zip(before, after, strict=True)):
        if places := _places(one, other, alike):
            found.append(RowDifference(row, places[:_MOST_PLACES]))
    return found


def _places(one: Answer, other: Answer, alike: Alike) -> list[PlaceDifference]:
    if one.is_answered and other.is_answered:
        return list(differences(one.output, other.output, alike, ""))
    said = [answer.output if answer.is_answered else answer.refusal or answer.failure for answer in (one, other)]
    return [] if one == other else [PlaceDifference("", *said)]


def differences(one: Any, other: Any, alike: Alike, pointer: str = "") -> Iterator[PlaceDifference]:
    """Yield the places where two JSON values are not the same; what is missing in one of them is shown as null."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from differences(one.get(name, _ABSENT), other.get(name, _ABSENT), alike, f"{pointer}/{escape(name)}")
    elif isinstance(one, list) and isinstance(other, list):
        for place, (left, right) in enumerate(zip_longest(one, other, fillvalue=_ABSENT)):
            yield from differences(left, right, alike, f"{pointer}/{place}")
    elif not alike(one, other):
        yield PlaceDifference(pointer, *(None if value is _ABSENT else value for value in (one, other)))


def scores_of(manifest: Manifest, answers: Sequence[Answer]) -> list[float]:
    """Return the scores among some answers: of a ranking those of all items, else what the manifest points at."""
    outputs = [answer.output for answer in answers if answer.is_answered]
    if manifest.each is not None:
        return [item["score"] for output in outputs for item in output]
    if manifest.score is None:
        return []
    found = (_at(output, manifest.score) for output in outputs)
    return [score for score in found if isinstance(score, int | float) and not isinstance(score, bool)]


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        if isinstance(value, list) and token.isdecimal() and int(token) < len(value):
            value = value[int(token)]
        else:
            value = value.get(unescape(token)) if isinstance(value, dict) else None
    return value


def distributions(before: Sequence[float], after: Sequence[float]) -> ScoreDistributions | None:
    """Return how two samples of scores compare, or None where one of them is empty."""
    if not before or not after:
        return None
    one, other = sorted(before), sorted(after)
    return ScoreDistributions(
        rows=(len(one), len(other)),
        mean=(sum(one) / len(one), sum(other) / len(other)),
        quantiles={name: (quantile(one, level), quantile(other, level)) for name, level in LEVELS.items()},
        distance=distance(one, other),
    )


def quantile(values: Sequence[float], level: float) -> float:
    """Return the value of sorted ones that a share `level` of them does not exceed."""
    return values[min(int(level * len(values)), len(values) - 1)]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the Kolmogorov-Smirnov distance of two sorted samples."""
    shares = ((bisect_right(sample, value) / len(sample) for sample in (one, other)) for value in (*one, *other))
    return max(abs(left - right) for left, right in shares)
