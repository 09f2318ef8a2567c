from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import pandas
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers import open_leadership
from cloche.drivers.parquet import ParquetReader, ParquetSink, commits, compacting, encoding
from cloche.drivers.parquet.actions import File
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.compacting import groups
from cloche.errors import InvalidSetting, LogCorrupt, NewerFormat, QueryTooSlow, SinkUnavailable
from cloche.log.columns import pack_text
from cloche.ports import Filter, LogReader, Mark, Position, Sink
from cloche.testing import SealedLogContract, make_record
from cloche.values import Personal, Tombstone
from tables import Store, kept, reader_of, run, sink_of

DAY_US = 86_400_000_000
STONE = Tombstone(time_us=5, by="me", reason="asked for")


class TestFolder(SealedLogContract):
    """With groups of three rows, so that each record is among others."""

    @pytest.fixture(autouse=True)
    def _small_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoding, "GROUP_ROWS", 3)

    def open_sink(self, folder: Path) -> Sink:
        return ParquetSink(CommitLog.from_url(f"parquet+{folder.as_uri()}"), pace_s=0)

    def open_reader(self, folder: Path) -> LogReader:
        return ParquetReader(CommitLog.from_url(f"parquet+{folder.as_uri()}"))


class TestS3(SealedLogContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket: str) -> None:
        self.url = f"parquet+{bucket}"

    def open_sink(self, folder: Path) -> Sink:
        return ParquetSink(CommitLog.from_url(self.url), pace_s=0)

    def open_reader(self, folder: Path) -> LogReader:
        return ParquetReader(CommitLog.from_url(self.url))


async def many_writes(store, records, at_once=3):
    sink = sink_of(store)
    for start in range(0, len(records), at_once):
        await sink.write(records[start : start + at_once], Mark("a", Position(1, start + at_once)))
    return sink


@pytest.mark.parametrize("does_it_first", [False, True])
async def test_a_writer_that_dies_anywhere_loses_nothing_and_keeps_nothing_twice(does_it_first):
    records = [make_record(number, model=f"m{number % 2}") for number in range(8)]
    for number in itertools.count(1):
        store = Store()
        await sink_of(store).write(records[:2], Mark("a", Position(1, 2)))
        store.break_at(number, does_it_first)
        try:
            await sink_of(store).write(records[2:6], Mark("a", Position(1, 6)))
            assert store.left > 0
        except SinkUnavailable:
            pass
        unbroken, store.left = store.left > 0, None
        again = sink_of(store)
        reached = (await again.positions())["a"].offset
        assert reached in (2, 6)
        await again.write(records[reached:], Mark("a", Position(1, 8)))
        assert await kept(store) == records
        assert sorted(await store.ids_by_glob()) == sorted(str(uuid.UUID(bytes=each.id)) for each in records)
        assert await again.positions() == {"a": Position(1, 8)}
        if unbroken:
            break
    assert number > 3


@pytest.mark.parametrize("does_it_first", [False, True])
async def test_a_writer_that_goes_on_after_a_failure_deletes_what_it_put_in_vain(does_it_first):
    records = [make_record(number) for number in range(4)]
    for number in (1, 2):
        store = Store()
        sink = sink_of(store)
        await sink.write(records[:2], Mark("a", Position(1, 2)))
        store.break_at(number, does_it_first)
        with pytest.raises(SinkUnavailable, match="memory"):
            await sink.write(records[2:3], Mark("a", Position(1, 3)))
        store.left = None
        reached = (await sink.positions())["a"].offset
        await sink.write(records[reached:], Mark("a", Position(1, 4)))
        assert await kept(store) == records
        assert len(await store.ids_by_glob()) == 4


@pytest.mark.parametrize("does_it_first", [False, True])
@pytest.mark.parametrize("kind", ["compact", "erase"])
async def test_what_rewrites_files_may_die_anywhere(kind, does_it_first):
    records = [make_record(number) for number in range(27)]
    stone = msgspec.msgpack.encode(STONE)
    erased = [msgspec.structs.replace(each, personal=stone) for each in records[:5]] + records[5:]
    whole = Store()
    await many_writes(whole, records)

    async def work(sink):
        if kind == "erase":
            await sink.erase(records[:5], STONE)
        else:
            await run(sink.compact())

    for number in itertools.count(1):
        store = await whole.copy()
        store.break_at(number, does_it_first)
        with contextlib.suppress(SinkUnavailable):
            await work(sink_of(store))
        found = await kept(store)
        assert found == records if kind == "compact" else [each.id for each in found] == [each.id for each in records]
        unbroken, store.left = store.left > 0, None
        again = sink_of(store)
        await work(again)
        await again.scrub()
        assert await kept(store) == (records if kind == "compact" else erased)
        assert len(await store.ids_by_glob()) == len(records)
        assert await again.positions() == {"a": Position(1, 27)}
        if unbroken:
            break
    assert number > 3


async def test_of_two_that_write_the_same_at_once_each_record_is_kept_once():
    store, records = Store(), [make_record(number, model=f"m{number % 3}") for number in range(40)]
    first, second = sink_of(store), sink_of(store)
    for start in range(0, 40, 10):
        batch, mark = records[start : start + 10], Mark("a", Position(1, start + 10))
        news = await asyncio.gather(first.write(batch, mark), second.write(batch, mark))
        assert sum(news) == 10
    assert await kept(store) == records
    assert len(await store.ids_by_glob()) == 40


async def test_while_some_write_others_compact_and_erase():
    store, records = Store(), [make_record(number) for number in range(60)]
    sink = await many_writes(store, records[:30])
    other = sink_of(store)

    async def write():
        for record in records[30:]:
            await sink.write([record])

    await asyncio.gather(write(), other.erase(records[:20], STONE), run(other.compact()), run(sink_of(store).compact()))
    found = await kept(store)
    assert [record.id for record in found] == [record.id for record in records]
    assert [record.personal for record in found[:20]] == [msgspec.msgpack.encode(STONE)] * 20
    assert found[20:] == records[20:]
    await other.scrub()
    assert len(await store.ids_by_glob()) == 60


async def test_a_position_does_not_go_back():
    sink = sink_of(Store())
    for position in (Position(2, 5), Position(1, 9), Position(2, 4)):
        await sink.write([], Mark("a", position))
        assert await sink.positions() == {"a": Position(2, 5)}


async def test_small_files_that_memory_should_not_hold_together_stay_apart(monkeypatch):
    monkeypatch.setattr(compacting, "_MOST_BYTES", 400_000)
    store = Store()
    sizes = [30_000, 300_000, 30_000, 150_000, 30_000, 150_000, 30_000, 30_000, 150_000, 30_000]
    said = [Personal(input=pack_text(b"[%s]" % (b"0" * size))) for size in sizes]
    records = [make_record(number, each) for number, each in enumerate(said)]
    for number, record in enumerate(records):
        await sink_of(store).write([record], Mark("a", Position(1, number)))
    sink = sink_of(store)
    while await run(sink.compact()):
        pass
    files = [await store.inner.get(key) for key in await store.keys() if "model=" in key]
    tables = [compacting.Opened(data).read() for data in files]
    assert 2 < len(tables) < 6
    assert max(table.nbytes for table in tables if len(table) > 1) < 400_000
    assert await kept(store) == records
    monkeypatch.setattr(compacting, "_MOST_BYTES", 2**30)
    assert await run(sink.compact()) == [], "it is not looked into again what is too large"


async def test_small_files_become_one_and_a_scan_that_had_begun_goes_on():
    store, records = Store(), [make_record(number, model="toy") for number in range(30)]
    await many_writes(store, records)
    reader, sink = reader_of(store), sink_of(store)
    scan = reader.scan(Filter())
    found = [await anext(scan)]
    words = await run(sink.compact())
    assert words[0] == "10 files became 1"
    assert len([key for key in await store.keys() if "_delta_log" not in key]) == 1
    found += [record async for record in scan]
    assert found == records
    assert await run(sink.compact()) == [], "there is nothing left to do"
    assert list(await reader.find(Filter(), 4)) == records[:-5:-1]
    assert [await reader.get(record.id) for record in records[::9]] == records[::9]


def file_of(number, size, day="2026-01-01"):
    return File(f"{number}", "toy", day, size, 10, number, number, "0", "f", 0)


@given(st.lists(st.integers(1, 20_000_000), max_size=40), st.booleans())
def test_a_file_is_in_one_group_at_most_and_none_becomes_too_large(sizes, over):
    files = [file_of(number, size) for number, size in enumerate(sizes)]
    now = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=over)
    together = list(groups(files, now))
    chosen = [file.path for group in together for file in group]
    assert len(chosen) == len(set(chosen))
    assert all(len(group) > 1 and sum(file.size for file in group) <= compacting._LARGE for group in together)
    tiny = sum(size < compacting._TIERS[0] for size in sizes)
    assert bool(together) or tiny < compacting._ENOUGH


def test_of_a_day_that_is_over_all_that_is_small_becomes_one():
    files = [file_of(1, 10), file_of(2, 2_000_000), file_of(3, 9_000_000), file_of(4, 10, "2026-01-02")]
    day = datetime(2026, 1, 2, 0, 30, tzinfo=UTC)
    assert list(groups(files, day)) == []
    assert [[file.path for file in group] for group in groups(files, day + timedelta(hours=1))] == [["1", "2"]]


async def test_nothing_of_what_was_erased_is_left_in_the_folder(tmp_path):
    secret = "somebody-very-particular"
    sink = ParquetSink(CommitLog.from_url(f"parquet+{tmp_path.as_uri()}"), pace_s=0)
    records = [make_record(number, Personal(subject=secret, printed=secret * 3)) for number in range(9)]
    other = make_record(20)
    for record in (*records, other):
        await sink.write([record])
    assert holds(tmp_path, secret)
    assert await sink.erase(records, STONE) == 9
    await sink.scrub()
    assert not holds(tmp_path, secret)
    reader = ParquetReader(CommitLog.from_url(f"parquet+{tmp_path.as_uri()}"))
    assert await reader.get(other.id) == other
    assert await reader.count(Filter(subject=secret)) == 0


async def test_what_a_personal_part_is_found_by_and_does_not_say_is_damage(tmp_path):
    sink = ParquetSink(CommitLog.from_url(f"parquet+{tmp_path.as_uri()}"), pace_s=0)
    newer = Personal("ann", msgspec.Raw(msgspec.msgpack.encode([9, "call"])), failure="Traceback")
    records = [make_record(0, Personal("ann")), make_record(1, newer), make_record(2, personal=b"\xff")]
    await sink.write(records)
    reader = ParquetReader(CommitLog.from_url(f"parquet+{tmp_path.as_uri()}"))
    assert list(await reader.find(Filter(subject="ann"), 10)) == records[1::-1]
    (path,) = tmp_path.rglob("day=*/*.parquet")
    table = pq.read_table(path, partitioning=None)
    for name, value in (("subject", "eve"), ("failed", True)):
        changed = [value, *table[name].to_pylist()[1:]]
        place = table.column_names.index(name)
        pq.write_table(table.set_column(place, table.schema.field(name), [changed]), path)
        found = await reader.get(records[0].id)
        assert (found.personal_digest, found.personal) == (b"", records[0].personal)
        assert await reader.get(records[1].id) == records[1]


def holds(folder, text):
    """Return whether a text is in a file of a folder, compressed or not."""
    plain = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    rows = [str(compacting.Opened(path.read_bytes()).read().to_pylist()) for path in folder.rglob("*.parquet")]
    return any(text.encode() in data for data in plain) or any(text in each for each in rows)


async def test_duckdb_and_pandas_read_it_as_it_is(tmp_path):
    sink = ParquetSink(CommitLog.from_url(f"parquet+{tmp_path.as_uri()}"), pace_s=0)
    times = [make_record(number).time_us + days * DAY_US for number, days in enumerate((0, 0, 1))]
    records = [make_record(n, time_us=at, model=f"m{n % 2}", labels={"a": "b"}) for n, at in enumerate(times)]
    await sink.write(records)
    question = """
        select model, day::text, (input ->> '$.number')::int, (output ->> '$.label')::int, labels['a'], personal_digest
        from read_parquet(?, hive_partitioning = true) order by time
    """
    with duckdb.connect() as connection:
        rows = connection.execute(question, [f"{tmp_path}/log/model=*/*/*.parquet"]).fetchall()
    assert rows == [
        ("m0", "2026-01-01", 0, 0, "b", records[0].personal_digest),
        ("m1", "2026-01-01", 1, 1, "b", records[1].personal_digest),
        ("m0", "2026-01-02", 2, 2, "b", records[2].personal_digest),
    ]
    frame = pandas.read_parquet(tmp_path / "log", filters=[("model", "==", "m0")])
    assert [json.loads(text) for text in frame.sort_values("time")["input"]] == [{"number": 0}, {"number": 2}]
    assert frame["time"].astype("int64").tolist() == [times[0], times[2]]


async def test_commits_are_summed_up_and_let_go_of_and_everybody_goes_on(monkeypatch):
    monkeypatch.setattr(commits, "_EVERY", 5)
    store, records = Store(), [make_record(number) for number in range(27)]
    early = reader_of(store)
    sink = await many_writes(store, records[:6], 2)
    assert await early.count(Filter()) == 6
    for start in range(6, 27, 2):
        await sink.write(records[start : start + 2], Mark("a", Position(1, start)))
    log = CommitLog(store, store.where)
    summed = [key for key in await store.keys() if key.endswith(".checkpoint.parquet")]
    assert len(summed) == 2
    assert await log.trim(0) == 0, "they are not old"
    assert await log.trim(time.time_ns() // 1_000_000 + 1) > 3
    assert await kept(store) == records
    await store.delete("log/_delta_log/_last_checkpoint")
    assert await kept(store) == records
    early._log._known_s = 0.0  # as after ten minutes
    assert await early.count(Filter()) == 27
    stale = sink_of(store)
    before = await stale._changes.log.current()
    stale._changes.log._known_s = 0.0
    assert await stale._changes.log.append(before, []) is None, "who knows nothing new may not commit"
    assert await stale.write([make_record(99)], Mark("a", Position(2, 1))) == 1
    await store.delete(f"log/_delta_log/{before.version + 1:020d}.json")
    assert await stale._changes.log.append(before, []) is None, "a number that was let go of is not free"


@pytest.mark.parametrize("before", [0, 2])
async def test_who_finds_a_fence_puts_files_anew(before):
    """Be it the very first commit: who sweeps where no table is yet founds one."""
    store, records = Store(), [make_record(number) for number in range(before + 2)]
    first, second = sink_of(store), sink_of(store)
    if before:
        await first.write(records[:before])
    before_commit, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow(CommitLog):
        async def append(self, base, actions):
            if actions and not before_commit.is_set():
                before_commit.set()
                await may_go_on.wait()
            return await super().append(base, actions)

    slow = ParquetSink(Slow(store, store.where), pace_s=0)
    writing = asyncio.create_task(slow.write(records[before:]))
    await before_commit.wait()
    assert len(await store.ids_by_glob()) == before + 2
    await second.scrub()
    assert len(await store.ids_by_glob()) == before
    may_go_on.set()
    assert await writing == 2
    assert await kept(store) == records
    assert len(await store.ids_by_glob()) == before + 2


async def test_a_newer_format_is_refused_by_name():
    for old, new in (
        (b'"cloche.format":"1"', b'"cloche.format":"2"'),
        (b'minReaderVersion":1', b'minReaderVersion":3'),
    ):
        store = Store()
        await sink_of(store).write([make_record()])
        key = "log/_delta_log/00000000000000000000.json"
        data = await store.get(key)
        await store.delete(key)
        await store.put_if_absent(key, data.replace(old, new))
        for opened in (sink_of(store), reader_of(store)):
            with pytest.raises(NewerFormat, match=r"the log at memory.*pip install --upgrade"):
                await opened.positions()


async def test_a_file_that_is_missing_or_damaged_is_named():
    store, record = Store(), make_record()
    await sink_of(store).write([record])
    [key] = [key for key in await store.keys() if "_delta_log" not in key]
    data = await store.get(key)
    await store.delete(key)
    assert list(await reader_of(store).faults()) == [f"{key.removeprefix('log/')} is missing"]
    with pytest.raises(LogCorrupt, match="is missing"):
        await reader_of(store).get(record.id)
    with pytest.raises(LogCorrupt, match="is missing"):
        await kept(store)
    for damaged in (b"", b"PAR1", data[:-10], data[: len(data) // 2] + bytes(9) + data[len(data) // 2 + 9 :]):
        await store.put_if_absent(key, damaged)
        with pytest.raises(LogCorrupt):
            await reader_of(store).get(record.id)
        await store.delete(key)


async def test_a_query_past_its_time_out_ends():
    class Slow(Store):
        async def get(self, key):
            if key.endswith(".parquet"):
                await asyncio.Event().wait()
            return await super().get(key)

    store = Slow()
    await sink_of(store).write([make_record()])
    for ask in (lambda it: it.find(Filter(), 1), lambda it: it.count(Filter(caller="x"))):
        with pytest.raises(QueryTooSlow):
            await ask(reader_of(store, 30))
    assert await reader_of(store, 20_000).count(Filter(model="toy")) == 1, "no file is opened for that"


async def test_what_comes_one_by_one_waits_for_more_and_a_backlog_does_not():
    store = Store()
    sink = ParquetSink(CommitLog(store, store.where), pace_s=1000)
    await sink.write([make_record()], Mark("a", Position(1, 1)))
    await sink.write([make_record()], Mark("b", Position(1, 1)))
    await sink.write([make_record()])
    await sink.write([make_record(number) for number in range(500)], Mark("a", Position(1, 2)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write([make_record()], Mark("a", Position(1, 3))), 0.05)


async def test_a_store_that_is_away_is_said_to_be():
    store = Store()
    store.break_at(1, False)
    with pytest.raises(SinkUnavailable, match=r"The log at memory can't be used now: .*told to break"):
        await sink_of(store).write([make_record()])


async def test_of_keepers_that_share_it_one_leads(tmp_path):
    address = f"parquet+{tmp_path.as_uri()}"
    first, second = (open_leadership(address, name) for name in ("one", "other"))
    assert [await first.lead(), await second.lead(), await first.lead()] == [True, False, True]
    assert await ParquetReader(CommitLog.from_url(address)).positions() == {}


def test_an_address_that_is_none_is_refused():
    with pytest.raises(InvalidSetting):
        CommitLog.from_url("parquet+s3://")
