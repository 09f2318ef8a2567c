"""Metrics of one gateway, noted where its siblings read them, and those of all put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from cloche.siblings import Sibling
from cloche.siblings.cells import Cell, Cells, Name, Sheet

_GAUGE: Final = "gauge"
_COUNTER: Final = "counter"
_NOT_SAID: Final = math.nan

_OF_GAUGES: Final[dict[str, Callable[[list[float]], float]]] = {
    "cloche_shadow_waiting": sum,
    "cloche_log_healthy": min,
    "cloche_registry_healthy": min,
    "cloche_registry_release": min,
    "cloche_models_loaded": min,
}
"""What a gauge is for several gateways. One that is not named here is the most of theirs."""


class Notes:
    """Samples of this gateway's metrics in its cells. Counters go on from where those before it in its place were."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._noted: dict[Name, Cell] = {}
        self._before: dict[Name, float] = {}
        for name, cell in cells:
            if name[0] == _GAUGE:
                cell[0] = _NOT_SAID

    def note(self, families: Iterable[Metric]) -> None:
        """Bring the cells up to date; a gauge that is said no longer is none."""
        said: set[Name] = set()
        for family in families:
            for sample in family.samples:
                name = _name(family, sample)
                said.add(name)
                cell = self._cell(name)
                cell[0] = sample.value + self._before.get(name, 0.0)
        for name in self._noted.keys() - said:
            if name[0] == _GAUGE:
                self._noted[name][0] = _NOT_SAID

    def _cell(self, name: Name) -> Cell:
        cell = self._noted.get(name)
        if cell is None:
            cell = self._noted[name] = self._cells.take(name)
            if name[0] == _COUNTER:
                self._before[name] = cell[0]
        return cell


def together(families: Iterable[Metric], counted: list[tuple[Sibling, Sheet]]) -> Iterator[Metric]:
    """Yield metrics like those of one gateway, with what all have noted; of gauges, those that are there."""
    for family in families:
        whole = Metric(family.name, family.documentation, family.type)
        sheets = [sheet for sibling, sheet in counted if family.type == _COUNTER or sibling.there]
        combine = sum if family.type == _COUNTER else _OF_GAUGES.get(family.name, max)
        for name in dict.fromkeys(name for sheet in sheets for name in sheet if name[:2] == (family.type, family.name)):
            values = [value for sheet in sheets for value in sheet.get(name, ()) if not math.isnan(value)]
            if values:
                whole.add_sample(name[2], dict(zip(name[3::2], name[4::2], strict=True)), combine(values))
        yield whole


def _name(family: Metric, sample: Sample) -> Name:
    return (family.type, family.name, sample.name, *(part for label in sample.labels.items() for part in label))
