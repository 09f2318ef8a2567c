"""What a gateway counts while it answers: plain numbers in cells, read only when somebody asks for them.

They are named as Prometheus shows them. A gateway that takes the place of one that died counts on where that one was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from cloche.registry.standing import DropReason
from cloche.siblings.cells import Cell, Cells

LATENCY_BOUNDS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_SUM = len(LATENCY_BOUNDS_S) + 1
"""The cell behind the buckets."""

Labels = tuple[tuple[str, str], ...]
"""Attribute and value."""

_Values = TypeVar("_Values", bound=tuple[str, ...])


class Counts(Mapping[_Values, int], Generic[_Values]):
    """One counter, by the values of its labels. What was never counted is 0."""

    def __init__(self, cells: Cells, name: str) -> None:
        self._cells = cells
        self._name = name
        self._found = {cast("_Values", found[1:]): cell for found, cell in cells if found[0] == name}

    def add(self, values: _Values) -> None:
        """Count one."""
        self.cell(values)[0] += 1

    def cell(self, values: _Values) -> Cell:
        """Return where they are counted."""
        cell = self._found.get(values)
        if cell is None:
            cell = self._found[values] = self._cells.take((self._name, *values))
        return cell

    def __getitem__(self, values: _Values) -> int:
        cell = self._found.get(values)
        return 0 if cell is None else int(cell[0])

    def __contains__(self, values: object) -> bool:
        return values in self._found

    def __iter__(self) -> Iterator[_Values]:
        return iter(list(self._found))

    def __len__(self) -> int:
        return len(self._found)


class Latency:
    """A histogram of durations."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Cell) -> None:
        self._cells = cells

    @property
    def buckets(self) -> list[int]:
        """How many calls took up to each bound and longer than the one before, and how many took longer than all."""
        return [int(count) for count in self._cells[:_SUM]]


class Tally:
    """Calls by model, version and outcome; and those refused before they came to a version, by code."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = cells = cells or Cells()
        self._answered: dict[tuple[str, str, str], tuple[Cell, Cell]] = {}
        self.calls = Counts[tuple[str, str, str]](cells, "cloche_calls")
        self.fallbacks = Counts[tuple[str, str, str]](cells, "cloche_fallbacks")
        self.latency: dict[tuple[str, str], Latency] = {}
        self.labeled = Counts[tuple[str, str, str, str]](cells, "cloche_attribute_calls")
        """By model, attribute, value and outcome."""
        self.refused = Counts[tuple[str, str]](cells, "cloche_refused_calls")
        self.repeated = Counts[tuple[str]](cells, "cloche_repeated_calls")
        """By model: calls that got the answer of an earlier one with their idempotency key."""
        self.shadows = ShadowTally(cells)

    def answered(self, model: str, version: str, outcome: str, answered_by: str | None, seconds: float) -> None:
        """Count a call that a version was asked."""
        cells = self._answered.get((model, version, outcome)) or self._cells_of(model, version, outcome)
        count, latency = cells
        count[0] += 1
        latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        latency[_SUM] += seconds
        if answered_by is not None:
            self.fallbacks.add((model, version, answered_by))

    def _cells_of(self, model: str, version: str, outcome: str) -> tuple[Cell, Cell]:
        """Return the cells of an outcome, which is the first of its kind: its count, and the latency of the version."""
        latency = self._cells.take(("cloche_call_seconds", model, version), _SUM + 1)
        self.latency[model, version] = Latency(latency)
        found = self._answered[model, version, outcome] = self.calls.cell((model, version, outcome)), latency
        return found

    def label(self, model: str, labels: Labels, outcome: str) -> None:
        """Count a call by the attributes that its model declares."""
        for attribute, value in labels:
            self.labeled.add((model, attribute, value, outcome))

    def refuse(self, model: str, code: str) -> None:
        """Count a caller's mistake; `model` is empty where it named none that is live."""
        self.refused.add((model, code))


class ShadowTally:
    """What became of the calls that shadows were to be asked, by model and version. No live call is among them."""

    def __init__(self, cells: Cells) -> None:
        self.asked = Counts[tuple[str, str]](cells, "cloche_shadow_calls")
        self.outcomes = Counts[tuple[str, str, str]](cells, "cloche_shadow_outcomes")
        """Of those that were asked: `ok`, `refused`, or the code of an error."""
        self.dropped = Counts[tuple[str, str, DropReason]](cells, "cloche_shadow_dropped")
        """Of those that were not: why."""
        self.lost_records = Counts[tuple[()]](cells, "cloche_shadow_lost_records")
        """Records that the log did not take."""
