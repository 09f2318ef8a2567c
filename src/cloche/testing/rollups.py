"""What every driver promises that keeps rollups beside a log."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

from pathlib import Path
from typing import Any

from cloche.testing.log import make_record
from cloche.upkeep.ports import Grain, Rollup, RollupReader, RollupSink, Span
from cloche.values import Tombstone

MINUTE_US = 60_000_000
START_US = 1_767_225_600_000_000
"""A whole day."""


class RollupContract:
    """What a `RollupSink` and the `RollupReader` of a store promise. Derive a test class, and say how to open it."""

    def open_sink(self, folder: Path) -> Any:
        """Open the log: a `Sink`, an `Erasing` and a `RollupSink`."""
        raise NotImplementedError

    def open_reader(self, folder: Path) -> Any:
        """Open it for reading: a `LogReader` and a `RollupReader`."""
        raise NotImplementedError

    async def test_a_log_without_records_has_no_rollups_and_none_are_due(self, tmp_path: Path) -> None:
        assert isinstance(self.open_reader(tmp_path), RollupReader)
        assert await self._due(tmp_path) == []
        sink = self.open_sink(tmp_path)
        await sink.close()
        assert isinstance(sink, RollupSink)
        assert await self._due(tmp_path) == []
        assert await self.open_reader(tmp_path).rollups("minute", 0, 2 * START_US) == []

    async def test_what_is_written_makes_its_minutes_due(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        times_us = (START_US, START_US + MINUTE_US - 1, START_US + 3 * MINUTE_US)
        records = [make_record(time_us=time_us) for time_us in times_us]
        await sink.write(records)
        assert await self._due(tmp_path) == [("minute", 3), ("minute", 0)]
        await self._take_all(sink, tmp_path)
        await sink.write(records)
        assert await self._due(tmp_path) == []
        await sink.close()

    async def test_what_is_erased_makes_its_minutes_due(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        records = [make_record(time_us=START_US + number * MINUTE_US) for number in range(3)]
        await sink.write(records)
        await self._take_all(sink, tmp_path)
        await sink.erase(records[1:2], Tombstone(START_US, "somebody", "they asked for it"))
        assert await self._due(tmp_path) == [("minute", 1)]
        await sink.close()

    async def test_rollups_take_the_place_of_others(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.roll_up([], [_rollup("toy", 1, b"old"), _rollup("other", 1, b"other"), _rollup("toy", 0)], [])
        assert await sink.roll_up([], [_rollup("toy", 1, b"new"), _rollup("toy", 0, b"an hour", "hour")], [])
        await sink.close()
        reader = self.open_reader(tmp_path)
        found = await reader.rollups("minute", START_US, START_US + 2 * MINUTE_US, "toy")
        assert list(found) == [_rollup("toy", 0), _rollup("toy", 1, b"new")]
        assert len(await reader.rollups("minute", START_US, START_US + 2 * MINUTE_US)) == 3
        later = await reader.rollups("minute", START_US + 1, START_US + 2 * MINUTE_US, "toy")
        assert list(later) == [_rollup("toy", 1, b"new")]
        assert await reader.rollups("minute", START_US, START_US + MINUTE_US, "nobody") == []
        assert [rollup.data for rollup in await reader.rollups("hour", START_US, START_US + 1)] == [b"an hour"]

    async def test_notes_are_taken_away_and_made_with_the_rollups(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.write([make_record(time_us=START_US)])
        (due,) = await self.open_reader(tmp_path).due(10)
        spans = [Span("day", START_US), Span("past", START_US), Span("hour", START_US), Span("minute", START_US)]
        assert await sink.roll_up(due.notes, [_rollup("toy", 0)], spans)
        assert await self._due(tmp_path) == [("minute", 0), ("hour", 0), ("day", 0), ("past", 0)]
        assert len(await self.open_reader(tmp_path).due(2)) == 2
        await sink.close()

    async def test_what_was_counted_meanwhile_is_not_counted_again(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.write([make_record(time_us=START_US)])
        (first,) = await self.open_reader(tmp_path).due(10)
        await sink.write([make_record(time_us=START_US + 1)])
        (both,) = await self.open_reader(tmp_path).due(10)
        assert set(first.notes) < set(both.notes)
        assert await sink.roll_up(first.notes, [_rollup("toy", 0, b"one call")], [])
        assert not await sink.roll_up(both.notes, [_rollup("toy", 0, b"late")], [Span("hour", START_US)])
        assert await self._due(tmp_path) == [("minute", 0)]
        found = await self.open_reader(tmp_path).rollups("minute", START_US, START_US + 1)
        assert [rollup.data for rollup in found] == [b"one call"]
        await sink.close()

    async def _due(self, folder: Path) -> list[tuple[str, int]]:
        due = await self.open_reader(folder).due(100)
        return [(each.span.grain, (each.span.start_us - START_US) // MINUTE_US) for each in due]

    async def _take_all(self, sink: RollupSink, folder: Path) -> None:
        notes = [note for each in await self.open_reader(folder).due(100) for note in each.notes]
        assert await sink.roll_up(notes, [], [])


def _rollup(model: str, minute: int, data: bytes = b"some", grain: Grain = "minute") -> Rollup:
    return Rollup(model, grain, START_US + minute * MINUTE_US, data)
