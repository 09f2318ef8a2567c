"""What is promised of speed, and whether a run keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.own import BARE_ECHO, FASTAPI, FASTAPI_ONNX, OPTIMIZED, OPTIMIZED_ASGI, PICKLED
from benchmarks.peers import DEFAULTS, PEERS
from benchmarks.sheet import Sheet, Spread
from benchmarks.task import RANKING


@dataclass(frozen=True)
class Promise:
    """A ratio, and the least that it is to be."""

    task: str
    what: str
    least: float
    found: Spread

    @property
    def holds(self) -> bool:
        return self.found.middle >= self.least


def best_peer(sheet: Sheet, task: str, figure: str, least: bool = False) -> str | None:
    """Return the peer, as its documentation starts it, with the highest (or lowest) median of a figure."""
    return _first(sheet, task, figure, DEFAULTS, least)


def promises(sheet: Sheet) -> Iterator[Promise]:
    """Yield those that can be told from what was measured."""
    yield from _over(sheet, "logistic regression", BARE_ECHO, 0.8, 0.5)
    for task in sheet.tasks:
        if task == RANKING:
            continue
        best = best_peer(sheet, task, "rate_32")
        if best is not None:
            yield from _over(sheet, task, best, 25, 15)
            yield from _ratio(sheet, task, PICKLED, best, 10)
        yield from _over(sheet, task, FASTAPI, 20, 12)
        yield from _over(sheet, task, FASTAPI_ONNX, 4, 2.5)
        for figure, said in (("p50_us_1", "p50 at 1 connection"), ("p99_us_32", "p99 at 32 connections")):
            quickest = _first(sheet, task, figure, [peer.name for peer in PEERS], least=True)
            found = sheet.ratio(task, quickest, OPTIMIZED, figure) if quickest else None
            if found is not None:
                yield Promise(task, f"{said}: {quickest} / {OPTIMIZED}", 1, found)


def _over(sheet: Sheet, task: str, other: str, lane: float, asgi: float) -> Iterator[Promise]:
    yield from _ratio(sheet, task, OPTIMIZED, other, lane)
    yield from _ratio(sheet, task, OPTIMIZED_ASGI, other, asgi)


def _ratio(sheet: Sheet, task: str, ours: str, other: str, least: float) -> Iterator[Promise]:
    found = sheet.ratio(task, ours, other, "rate_32")
    if found is not None:
        yield Promise(task, f"calls/s at 32 connections: {ours} / {other}", least, found)


def _first(sheet: Sheet, task: str, figure: str, names: Sequence[str], least: bool) -> str | None:
    measured = set(sheet.servers(task))
    medians = {
        name: spread.middle for name in names if name in measured and (spread := sheet.spread(task, name, figure))
    }
    if not medians:
        return None
    return min(medians, key=lambda name: medians[name]) if least else max(medians, key=lambda name: medians[name])
