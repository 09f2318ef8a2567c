"""What a version and the forms that it was converted into answer to the same calls, and how long they take."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, Literal

import msgspec

from cloche.authoring.optimizing.agreement import Compared, Question, Source, compare
from cloche.authoring.optimizing.asking import TOGETHER, Answers, Asker, Row, Tell, Unanswered
from cloche.authoring.optimizing.drawing import drawn_calls, without
from cloche.authoring.optimizing.measuring import measure
from cloche.registry.bundle import Manifest
from cloche.registry.optimized import Agreement, Loss, Timed
from cloche.schema.dialect import types_of

TOLERANCE: Final = 1e-5
ROWS: Final = 10_000
MOST_LEAF_BITS: Final = 16
"""Of more, numbers in single precision would hardly be fewer."""

_TRIED_WITHOUT: Final = 3
_ATTEMPTS: Final = 4
_MEASURED: Final = 4_096
_FAILING: Final = 100


class Wanted(msgspec.Struct, frozen=True):
    """What is looked for."""

    rows: int = ROWS
    """How many rows are drawn; of a ranking, how many items."""
    tolerance: float = TOLERANCE
    trees: int | None = None
    """Look at forms of the first so many trees, too."""
    leaf_bits: int | None = None
    """Look at forms whose leaves say one of two to the power of so many numbers, too."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A form that the model was converted into, and what came of it."""

    form: str
    file: str
    """Its file in the folder of what was converted."""
    size: int
    """Bytes."""
    verdict: Literal["faster", "not faster", "differs", "shrunk"]
    compared: Compared
    table: list[Timed]
    """Empty where it differs: how fast wrong answers are is of no interest."""
    shrunk: str | None = None
    """How, in words; None: it was not."""
    notes: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """A form that answers inline."""

    form: str
    file: str
    size: int
    answers: Answers
    shrunk: str | None
    notes: tuple[str, ...]


class Search:
    """One version, what it was asked, and what it answered.

    Args:
        manifest: of the version, without a second form.
        original: the version, as it is served.
        wanted: what is looked for.
        tell: is told what is being done.
    """

    def __init__(self, manifest: Manifest, original: Answers, wanted: Wanted, tell: Tell) -> None:
        self._manifest = manifest
        self._original = original
        self._wanted = wanted
        self._tell = tell
        # whatever it becomes, its rows go in as those of a graph do
        self._asker = Asker(msgspec.structs.replace(manifest, flavor="onnx", on_unseen="pass"))
        self._questions: list[Question] = []
        self._answers: list[Any] = []

    def ask_original(self, own: Sequence[Row], recorded: Sequence[Row]) -> None:
        """Ask the original all that the others are going to be asked: these calls, and more that are drawn."""
        self._take("golden", filter(None, map(self._asker.read, own)))
        self._take("recorded", filter(None, map(self._asker.read, recorded)))
        if examples := self._calls:
            self._tell("looking at what it can't do without")
            self._take("drawn", self._drawn(examples, self._needed(examples)))
        self._tell(f"asking the original {len(self._calls):,} calls")
        self._answers = self._asker.answers(self._original, self._calls, tell=self._tell)

    def tried(self, candidate: Candidate, sizes: Sequence[int]) -> Tried:
        """Ask another form the same, compare, and measure it where it agrees or was shrunk.

        Args:
            candidate: the form.
            sizes: of how many rows, or items of a ranking, the calls are that are measured.
        """
        self._tell(f"comparing {candidate.form}")
        asked = [self._asker.answers(candidate.answers, self._calls, size, self._tell) for size in (TOGETHER, 1)]
        compared = max(map(self._compared, asked), key=lambda found: (found.differing, found.worst))
        table: list[Timed] = []
        if not compared.differing or candidate.shrunk is not None:
            both = (self._original, candidate.answers)
            table = measure(self._asker, both, self._answered(asked[0]), sizes, self._tell)
        return Tried(
            form=candidate.form,
            file=candidate.file,
            size=candidate.size,
            verdict=_verdict(candidate, compared, table),
            compared=compared,
            table=table,
            shrunk=candidate.shrunk,
            notes=candidate.notes,
        )

    @property
    def tolerance(self) -> float:
        """How far apart two numbers may be."""
        return self._wanted.tolerance

    @property
    def asked(self) -> dict[str, int]:
        """How many calls of each source were asked."""
        sources: tuple[Source, ...] = ("golden", "recorded", "drawn")
        return {name: sum(question.source == name for question in self._questions) for name in sources}

    def agreement(self, compared: Compared) -> Agreement:
        """Return what a manifest says of a comparison."""
        asked = self.asked
        return Agreement(
            golden=asked["golden"],
            recorded=asked["recorded"],
            drawn=asked["drawn"],
            tolerance=self.tolerance,
            worst=compared.worst,
            usual=compared.usual,
            failed=compared.failed,
        )

    @property
    def _calls(self) -> list[Row]:
        return [question.call for question in self._questions]

    def _compared(self, said: Sequence[Any]) -> Compared:
        pairs = list(zip(self._answers, said, strict=True))
        return compare(self._manifest, self._questions, pairs, self._wanted.tolerance)

    def _take(self, source: Source, calls: Any) -> None:
        self._questions += [Question(source, call) for call in calls]

    def _drawn(self, examples: Sequence[Row], needs: Sequence[str]) -> list[Row]:
        """Return calls that fit the schema, with as many rows or items as are wanted; fewer where few fit."""
        chance = random.Random(f"{self._manifest.name} {self._manifest.version}")  # noqa: S311  the same rows every time
        drawn = drawn_calls(self._manifest, examples, chance)
        fitting = filter(None, map(self._asker.read, islice(drawn, _ATTEMPTS * self._wanted.rows)))
        found, rows = [], 0
        for call in _mostly_answered(fitting, needs):
            found.append(call)
            rows += max(1, self._asker.size_of([call]))
            if rows >= self._wanted.rows:
                break
        return found

    def _needed(self, examples: Sequence[Row]) -> list[str]:
        """Return the fields that may be null by the schema, and without which the original fails every time."""
        if self._manifest.each is not None or self._manifest.frame is None:
            return []
        tried = examples[:_TRIED_WITHOUT]
        answered = self._asker.answers(self._original, tried)
        sound = [call for call, said in zip(tried, answered, strict=True) if not isinstance(said, Unanswered)]
        fields = self._manifest.input_schema.get("properties", {})
        names = [column.name for column in self._manifest.frame.columns]
        return [
            name for name in names if sound and "null" in types_of(fields.get(name, {})) and self._fails(sound, name)
        ]

    def _fails(self, calls: Sequence[Row], name: str) -> bool:
        said = self._asker.answers(self._original, [without(call, name) for call in calls])
        return all(answer == Unanswered(refused=False) for answer in said)

    def _answered(self, said: Sequence[Any]) -> list[Row]:
        """Return calls that both have answered."""
        both = zip(self._calls, self._answers, said, strict=True)
        found = [call for call, *answers in both if not any(isinstance(each, Unanswered) for each in answers)]
        return found[-_MEASURED:]


def _mostly_answered(calls: Iterator[Row], needs: Sequence[str]) -> Iterator[Row]:
    """Leave out most of the calls without what the original needs: it fails on them one by one, which takes long."""
    failing = 0
    for call in calls:
        failing += (fails := any(call.get(name) is None for name in needs))
        if not fails or failing <= _FAILING:
            yield call


def loss_of(shrunk: str, compared: Compared) -> Loss:
    """Return what a shrunk form answers otherwise."""
    return Loss(shrunk, compared.calls, compared.labels, compared.mean, compared.worst)


def _verdict(
    candidate: Candidate, compared: Compared, table: Sequence[Timed]
) -> Literal["faster", "not faster", "differs", "shrunk"]:
    if candidate.shrunk is not None:
        return "shrunk"
    if compared.differing:
        return "differs"
    return "faster" if any(line.faster == "converted" for line in table) else "not faster"
