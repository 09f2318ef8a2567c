"""Records to fill a log with, and what every driver of the log must do."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from cloche.log.columns import pack_text
from cloche.ports import Filter, LogReader, Position, Sink
from cloche.values import RECORD_FORMAT, Personal, Record, Timings


def make_record(number: int = 0, contents: Personal | None = None, **envelope: Any) -> Record:
    """Return a record like a real one: of the row `{"number": number}`, `number` microseconds after 2026 began."""
    if contents is None:
        contents = Personal(
            subject=f"subject-{number}",
            input=pack_text(msgspec.json.encode([{"number": number}])),
            output=pack_text(msgspec.json.encode([{"label": number}])),
        )
    data = msgspec.msgpack.encode(contents)
    usual = Record(
        format=RECORD_FORMAT,
        id=uuid_utils.uuid7().bytes,
        time_us=1_767_225_600_000_000 + number,
        model="toy",
        version="1.0.0",
        digest="sha256:" + "0" * 64,
        release=1,
        variant=None,
        reason="default",
        caller="anonymous",
        kind="live",
        outcome="ok",
        fallback=None,
        answered_by=None,
        rows=1,
        timings=Timings(choose_us=1, validate_us=2, enrich_us=3, predict_us=4, decide_us=5),
        personal_digest=hashlib.sha256(data).digest(),
        personal=data,
    )
    return msgspec.structs.replace(usual, **envelope)


class LogContract:
    """What a `Sink` and the `LogReader` of the same store promise. Derive a test class, and say how to open them."""

    def open_sink(self, folder: Path) -> Sink:
        """Open the store in `folder` for writing."""
        raise NotImplementedError

    def open_reader(self, folder: Path) -> LogReader:
        """Open it for reading."""
        raise NotImplementedError

    async def test_a_log_that_was_never_written_is_empty(self, tmp_path: Path) -> None:
        reader = self.open_reader(tmp_path)
        assert list(await reader.find(Filter(), 10)) == []
        assert [record async for record in reader.scan(Filter())] == []
        assert await reader.get(b"0" * 16) is None
        assert (await reader.count(Filter()), await reader.positions(), list(await reader.faults())) == (0, {}, [])

    async def test_a_record_comes_back_as_it_was(self, tmp_path: Path) -> None:
        personal = Personal(subject="ann", failure="Traceback", printed="hello", parameters={"a": [1, None]})
        served = {"variant": "b", "fallback": "model_failed", "answered_by": "0.1.0", "kind": "history"}
        records = [make_record(1, personal, rows=3, many=True, **served), make_record(2), make_record(3, personal=b"")]
        assert await self._keep(tmp_path, records) == 3
        reader = self.open_reader(tmp_path)
        assert [await reader.get(record.id) for record in records] == records
        assert [record async for record in reader.scan(Filter())] == records
        assert list(await reader.faults()) == []

    async def test_a_record_is_kept_once(self, tmp_path: Path) -> None:
        first, second, third = (make_record(number) for number in range(3))
        assert await self._keep(tmp_path, [first, second, first]) == 2
        changed = msgspec.structs.replace(second, outcome="changed")
        assert await self._keep(tmp_path, [changed, third]) == 1
        assert [record async for record in self.open_reader(tmp_path).scan(Filter())] == [first, second, third]

    async def test_positions_are_kept_with_the_records(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.write([make_record()], "a", Position(1, 100))
        await sink.write([], "b", Position(2, 200))
        await sink.write([], "a", Position(3, 300))
        await sink.close()
        assert await self.open_reader(tmp_path).positions() == {"a": Position(3, 300), "b": Position(2, 200)}
        sink = self.open_sink(tmp_path)
        await sink.retire("a")
        assert await sink.positions() == {"b": Position(2, 200)}
        await sink.close()

    async def test_an_erased_personal_part_stays_erased(self, tmp_path: Path) -> None:
        record = make_record()
        erased = msgspec.structs.replace(record, personal=b"")
        await self._keep(tmp_path, [erased])
        assert await self._keep(tmp_path, [record]) == 0
        assert await self.open_reader(tmp_path).get(record.id) == erased

    async def test_every_filter_finds_what_it_names_and_nothing_else(self, tmp_path: Path) -> None:
        plain, other = make_record(10), make_record(20, model="other", version="2.0.0")
        failed = make_record(30, Personal(subject="ann", failure="Traceback"), outcome="model_failed")
        shadow = make_record(20, model="third", kind="shadow", shadows=other.id, version="3.0.0")
        await self._keep(tmp_path, [plain, other, failed, shadow])
        expected = {
            Filter(): [failed, shadow, other, plain],
            Filter(model="toy"): [failed, plain],
            Filter(shadowed=True): [shadow, other],
            Filter(shadowed=True, version="2.0.0"): [other],
            Filter(shadowed=True, model="toy"): [],
            Filter(version="2.0.0"): [other],
            Filter(model="toy", version="2.0.0"): [],
            Filter(subject="ann"): [failed],
            Filter(subject="subject-10", model="toy"): [plain],
            Filter(outcome="model_failed"): [failed],
            Filter(failed=True): [failed],
            Filter(since_us=other.time_us): [failed, shadow, other],
            Filter(until_us=other.time_us): [plain],
            Filter(model="toy", since_us=plain.time_us, until_us=failed.time_us): [plain],
            Filter(subject="' or 1=1 --"): [],
        }
        reader = self.open_reader(tmp_path)
        for wanted, records in expected.items():
            assert list(await reader.find(wanted, 10)) == records
            assert [record async for record in reader.scan(wanted)] == records[::-1]
            assert await reader.count(wanted) == len(records)

    async def test_pages_follow_each_other_without_gap_or_repetition(self, tmp_path: Path) -> None:
        records = [make_record(number // 4, model=f"m{number % 2}") for number in range(40)]
        await self._keep(tmp_path, records)
        reader = self.open_reader(tmp_path)
        for wanted in (Filter(), Filter(model="m1")):
            found: list[Record] = []
            while page := await reader.find(wanted, 7, found[-1].id if found else None):
                found += page
            expected = [record for record in records if wanted.model in (None, record.model)]
            assert found == sorted(expected, key=lambda record: (record.time_us, record.id), reverse=True)

    async def test_a_scan_shows_the_log_as_it_stood_when_it_began(self, tmp_path: Path) -> None:
        await self._keep(tmp_path, [make_record(number) for number in range(500)])
        seen = 0
        async for record in self.open_reader(tmp_path).scan(Filter()):
            if seen == 0:
                await self._keep(tmp_path, [make_record(1000), make_record(record.time_us)])
            seen += 1
        assert seen == 500

    async def _keep(self, folder: Path, records: list[Record]) -> int:
        sink = self.open_sink(folder)
        try:
            return await sink.write(records, "spool", Position(1, 1))
        finally:
            await sink.close()
