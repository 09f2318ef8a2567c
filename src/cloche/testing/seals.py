"""What every driver of the log must do that keeps seals."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest

from cloche.errors import SinkUnavailable
from cloche.log.chain import SealedSink, envelope_digest, sealed
from cloche.log.verify import verify
from cloche.ports import Filter, Mark, Position, Seal, Sealing, SealReader
from cloche.testing.log import LogContract, make_record
from cloche.values import Exposure, Record, Timings


class SealedLogContract(LogContract):
    """What a log promises that keeps `Sealing` and `SealReader`. Derive a test class as of `LogContract`."""

    async def test_seals_come_back_as_they_were(self, tmp_path: Path) -> None:
        records = [make_record(number) for number in (5, 3, 9, 1)]
        first = sealed(records[:2], "a", None)
        second = sealed(records[2:], "a", first)
        assert await self._seals(tmp_path) == []
        sink = self.open_sink(tmp_path)
        assert isinstance(sink, Sealing)
        assert await sink.last_seal("a") is None
        await sink.write(records[:2], Mark("a", Position(1, 2), first))
        await sink.write(records[2:], Mark("a", Position(1, 4), second))
        assert await sink.last_seal("a") == second
        assert await sink.last_seal("b") is None
        await sink.retire("a")
        await sink.close()
        assert await self._seals(tmp_path) == [second, first], "by time, and after the spool is gone"
        moments = [records[place].time_us for place in (3, 1, 0, 2)]
        found = [await self._seals(tmp_path, moment_us) for moment_us in (moments[0] - 1, *moments)]
        assert found == [[], [second], [second, first], [second, first], [second]]

    async def test_a_seal_that_does_not_follow_is_refused_with_its_records(self, tmp_path: Path) -> None:
        records = [make_record(number) for number in range(3)]
        first = sealed(records[:1], "a", None)
        sink = self.open_sink(tmp_path)
        await sink.write(records[:1], Mark("a", Position(1, 1), first))
        for wrong in (sealed(records[1:], "a", None), sealed(records[1:], "a", sealed(records[1:], "a", first))):
            with pytest.raises(SinkUnavailable):
                await sink.write(records[1:], Mark("a", Position(1, 3), wrong))
        assert await sink.positions() == {"a": Position(1, 1)}
        await sink.write(records[1:], Mark("a", Position(1, 3), sealed(records[1:], "a", first)))
        await sink.close()
        assert await self.kept(tmp_path) == [record.id for record in records]

    async def test_a_mark_at_the_very_beginning_keeps_its_seal_alone(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        record = make_record()
        await sink.write([record], Mark("a", Position(), sealed([record], "a", None)))
        assert await sink.positions() == {}
        await sink.close()
        assert len(await self._seals(tmp_path)) == 1

    async def test_envelopes_come_back_with_the_digests_that_they_had(self, tmp_path: Path) -> None:
        records = [
            make_record(1, timings=Timings(), release_digest="", variant=""),
            make_record(2, timings=Timings(0, 7, 0, 2**40), labels={"market": "de", "brand": 'a "b" \\u0000 ␀ é'}),
            make_record(3, caller="a\0b\\", labels={"market": "\0"}, hurried=True, many=True, release=2**53),
            make_record(4, exposure=Exposure("prices", "b", 2, 0.1 + 0.2, "\0"), shadows=bytes(16), fallback=""),
            make_record(5, exposure=Exposure("prices", "b", 2, 1.0, ""), variant="\U0001f680", personal=b""),
        ]
        sink = self.open_sink(tmp_path)
        assert await SealedSink(sink).write(records, Mark("a", Position(1, 1))) == 5
        await sink.close()
        reader = self.open_reader(tmp_path)
        read = [record async for record in reader.scan(Filter())]
        assert list(map(envelope_digest, read)) == list(map(envelope_digest, records))
        report = await verify(reader, tmp_path / "no spools")
        assert report.ok, report
        assert report.seals.sealed == 5

    async def test_a_log_that_another_one_has_more_of_shows_it(self, tmp_path: Path) -> None:
        """The same seals over other records: one was changed, one is missing, one was put in."""
        first, second, third = (make_record(number) for number in range(3))
        seal = sealed([first, second], "a", None)
        sink = self.open_sink(tmp_path)
        await sink.write([msgspec.structs.replace(first, outcome="refused"), third], Mark("a", Position(1, 1), seal))
        await sink.close()
        report = await verify(self.open_reader(tmp_path), tmp_path / "no spools")
        assert not report.ok
        findings = report.seals
        named = [findings.changed, findings.removed, findings.inserted]
        assert named == [[_name(record)] for record in (first, second, third)]

    async def _seals(self, folder: Path, moment_us: int | None = None) -> list[Seal]:
        reader = self.open_reader(folder)
        assert isinstance(reader, SealReader)
        return [seal async for seal in reader.seals(moment_us)]


def _name(record: Record) -> str:
    return str(uuid.UUID(bytes=record.id))
