"""Records to fill a log with, and what every driver of the log must do."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from cloche.log.columns import pack_text
from cloche.ports import PAGE_BYTES, Cursor, Erasing, Filter, LogReader, Mark, Position, Sink
from cloche.values import RECORD_FORMAT, Exposure, Personal, Record, Timings, Tombstone


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
        id=_next_id(),
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


def _cursor(record: Record) -> Cursor:
    return Cursor(record.time_us, record.id)


def _next_id() -> bytes:
    return uuid_utils.uuid7().bytes


class SinkContract:
    """What every `Sink` promises, streams too. Derive a test class, and say how to open it and what it has."""

    def open_sink(self, folder: Path) -> Sink:
        """Open the sink, with what it keeps of this host in `folder`."""
        raise NotImplementedError

    async def kept(self, folder: Path) -> list[bytes]:
        """Return the ids of the records that it has, in the order in which it has them."""
        raise NotImplementedError

    async def test_records_come_in_order_and_are_counted(self, tmp_path: Path) -> None:
        records = [make_record(number) for number in range(30)]
        sink = self.open_sink(tmp_path)
        assert await sink.write(records[:10], Mark("a", Position(1, 10))) == 10
        assert await sink.write(records[10:], Mark("a", Position(1, 30))) == 20
        await sink.close()
        assert await self.kept(tmp_path) == [record.id for record in records]

    async def test_a_mark_is_kept_by_itself_and_for_the_next_who_opens_it(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.write([make_record()], Mark("a", Position(1, 100)))
        await sink.write([], Mark("b", Position(2, 200)))
        await sink.write([], Mark("a", Position(3, 300)))
        await sink.close()
        sink = self.open_sink(tmp_path)
        assert await sink.positions() == {"a": Position(3, 300), "b": Position(2, 200)}
        await sink.retire("a")
        await sink.retire("never there")
        await sink.close()
        sink = self.open_sink(tmp_path)
        await sink.write([make_record()], Mark("c", Position(4, 400)))
        assert await sink.positions() == {"b": Position(2, 200), "c": Position(4, 400)}
        await sink.close()

    async def test_a_spool_is_let_go_of_while_another_is_written(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        for number in range(1, 9):
            await sink.write([], Mark("gone", Position(1, number)))
            await asyncio.gather(sink.write([make_record()], Mark("a", Position(1, number))), sink.retire("gone"))
            assert await sink.positions() == {"a": Position(1, number)}
        await sink.close()
        sink = self.open_sink(tmp_path)
        assert await sink.positions() == {"a": Position(1, 8)}
        await sink.close()

    async def test_records_without_a_mark_are_kept(self, tmp_path: Path) -> None:
        record = make_record()
        sink = self.open_sink(tmp_path)
        assert await sink.write([record]) == 1
        assert await sink.positions() == {}
        await sink.close()
        assert await self.kept(tmp_path) == [record.id]


class LogContract(SinkContract):
    """What a `Sink` and the `LogReader` of the same store promise. Derive a test class, and say how to open them."""

    def open_reader(self, folder: Path) -> LogReader:
        """Open it for reading."""
        raise NotImplementedError

    async def kept(self, folder: Path) -> list[bytes]:
        """Return the ids of the records in the log, oldest first."""
        return [record.id async for record in self.open_reader(folder).scan(Filter())]

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

    async def test_the_reader_tells_the_positions_too(self, tmp_path: Path) -> None:
        sink = self.open_sink(tmp_path)
        await sink.write([make_record()], Mark("a", Position(1, 100)))
        await sink.write([], Mark("b", Position(2, 200)))
        await sink.close()
        assert await self.open_reader(tmp_path).positions() == {"a": Position(1, 100), "b": Position(2, 200)}

    async def test_an_erased_personal_part_stays_erased(self, tmp_path: Path) -> None:
        record = make_record()
        erased = msgspec.structs.replace(record, personal=b"")
        await self._keep(tmp_path, [erased])
        assert await self._keep(tmp_path, [record]) == 0
        assert await self.open_reader(tmp_path).get(record.id) == erased

    async def test_a_tombstone_takes_the_place_of_a_personal_part_and_stays(self, tmp_path: Path) -> None:
        records = [make_record(number, Personal(subject="ann", failure="Traceback")) for number in range(3)]
        await self._keep(tmp_path, records)
        first, second, never = *records[:2], make_record(9)
        tombstone = Tombstone(time_us=5, by="me", reason="asked for", order=1, mark=b"m" * 32)
        assert await self._erase(tmp_path, [first, second, never], tombstone) == 2
        assert await self._erase(tmp_path, [first], msgspec.structs.replace(tombstone, by="somebody else")) == 0
        await self._keep(tmp_path, records)
        reader = self.open_reader(tmp_path)
        expected = [msgspec.structs.replace(each, personal=msgspec.msgpack.encode(tombstone)) for each in records[:2]]
        assert [record async for record in reader.scan(Filter())] == [*expected, records[2]]
        assert [await reader.get(record.id) for record in records] == [*expected, records[2]]
        assert list(await reader.find(Filter(subject="ann"), 10)) == records[2:]
        assert await reader.count(Filter(failed=True)) == 3, "the envelope stays as it was"
        assert list(await reader.faults()) == []

    async def test_a_tombstone_is_kept_of_a_record_that_comes_with_it(self, tmp_path: Path) -> None:
        tombstone = msgspec.msgpack.encode(Tombstone(time_us=5, by="retention", reason="30d"))
        erased = [make_record(1, personal=tombstone), make_record(2, personal=b"")]
        await self._keep(tmp_path, erased)
        assert [record async for record in self.open_reader(tmp_path).scan(Filter())] == erased
        assert await self._erase(tmp_path, [], Tombstone(1, "me", "")) == 0

    async def _erase(self, folder: Path, records: list[Record], tombstone: Tombstone) -> int:
        sink = self.open_sink(folder)
        assert isinstance(sink, Erasing)
        try:
            erased = await sink.erase(records, tombstone)
            assert all(isinstance(sentence, str) for sentence in await sink.scrub())
        finally:
            await sink.close()
        return erased

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
        await self._assert_finds(tmp_path, expected)

    async def test_every_field_of_the_envelope_can_be_asked_for(self, tmp_path: Path) -> None:
        plain = make_record(1, timings=Timings(predict_us=2_000_000))
        fallen = make_record(2, fallback="worker_crashed", answered_by="input_order", hurried=True)
        other = make_record(3, outcome="model_failed", fallback="overloaded", reason="experiment", variant="treatment")
        exposed = msgspec.structs.replace(
            other, exposure=Exposure("prices", "treatment", 2, 0.5, "seed"), id=_next_id()
        )
        labeled = make_record(5, labels={"market": "de", "brand of 'it'": 'a "b"'}, caller="shop", release=7)
        shadow = make_record(6, kind="shadow", shadows=plain.id, digest="sha256:" + "1" * 64)
        await self._keep(tmp_path, [plain, fallen, other, exposed, labeled, shadow])
        await self._assert_finds(
            tmp_path,
            {
                Filter(digest=shadow.digest): [shadow],
                Filter(release=7): [labeled],
                Filter(variant="treatment"): [exposed, other],
                Filter(variant="treatment", experiment="prices"): [exposed],
                Filter(experiment="treatment"): [],
                Filter(reason="experiment"): [exposed, other],
                Filter(caller="shop"): [labeled],
                Filter(kind="shadow"): [shadow],
                Filter(fallback="overloaded"): [exposed, other],
                Filter(answered_by="input_order"): [fallen],
                Filter(fell_back=True): [fallen],
                Filter(hurried=True): [fallen],
                Filter(hurried=False, kind="live", caller="anonymous"): [exposed, other, plain],
                Filter(shadows=plain.id): [shadow],
                Filter(labels=(("market", "de"),)): [labeled],
                Filter(labels=(("market", "de"), ("brand of 'it'", 'a "b"'))): [labeled],
                Filter(labels=(("market", "de"), ("brand", "x"))): [],
                Filter(labels=(("market", "at"),)): [],
                Filter(min_us=2_000_000): [plain],
                Filter(min_us=2_000_001): [],
                Filter(min_us=15, max_us=2_000_000): [shadow, labeled, exposed, other, fallen],
                Filter(max_us=15): [],
                Filter(subject="subject-3", variant="treatment", since_us=other.time_us): [exposed, other],
            },
        )

    async def _assert_finds(self, folder: Path, expected: dict[Filter, list[Record]]) -> None:
        reader = self.open_reader(folder)
        for wanted, records in expected.items():
            assert list(await reader.find(wanted, 10)) == records
            assert [record async for record in reader.scan(wanted)] == records[::-1]
            assert await reader.count(wanted) == len(records)

    async def test_pages_follow_each_other_without_gap_or_repetition(self, tmp_path: Path) -> None:
        ann = Personal(subject="ann")
        records = [make_record(number // 4, ann, model=f"m{number % 2}") for number in range(40)]
        await self._keep(tmp_path, records)
        reader = self.open_reader(tmp_path)
        for wanted in (Filter(), Filter(model="m1"), Filter(subject="ann")):
            found: list[Record] = []
            while page := await reader.find(wanted, 7, _cursor(found[-1]) if found else None):
                found += page
            expected = [record for record in records if wanted.model in (None, record.model)]
            assert found == sorted(expected, key=_cursor, reverse=True)
            for end in (found[0], found[len(found) // 2], found[-1]):
                rest = [record async for record in reader.scan(wanted, _cursor(end))]
                assert rest == sorted((each for each in expected if _cursor(each) > _cursor(end)), key=_cursor)

    async def test_a_page_begins_where_a_record_was_that_is_gone(self, tmp_path: Path) -> None:
        records = [make_record(number) for number in range(3)]
        await self._keep(tmp_path, [records[0], records[2]])
        reader = self.open_reader(tmp_path)
        assert list(await reader.find(Filter(), 10, _cursor(records[1]))) == [records[0]]
        assert [record async for record in reader.scan(Filter(), _cursor(records[1]))] == [records[2]]

    async def test_large_records_come_a_few_at_a_time(self, tmp_path: Path) -> None:
        large = Personal(subject="ann", input=pack_text(b'["%s"]' % (b"x" * (PAGE_BYTES * 2 // 3))))
        records = [make_record(number, large if number < 3 else None) for number in range(5)]
        await self._keep(tmp_path, records)
        reader = self.open_reader(tmp_path)
        assert list(await reader.find(Filter(), 10)) == records[:0:-1]
        assert list(await reader.find(Filter(subject="ann"), 10)) == records[2:0:-1]
        assert list(await reader.find(Filter(), 10, _cursor(records[1]))) == [records[0]]

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
            return await sink.write(records, Mark("spool", Position(1, 1)))
        finally:
            await sink.close()
