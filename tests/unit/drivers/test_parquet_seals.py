"""The seals of a log in Parquet: each belongs to its records, and what is done to files behind its back is named."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers.parquet import ParquetReader, commits, sealing
from cloche.drivers.parquet.actions import noted
from cloche.drivers.parquet.changing import Changes
from cloche.drivers.parquet.columns import kept as columns_of
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.encoding import Opened, to_parquet
from cloche.drivers.parquet.sealing import join_seals
from cloche.drivers.parquet.seals import SealFile, seal_files
from cloche.errors import SinkUnavailable
from cloche.log.chain import SealedSink, sealed
from cloche.log.verify import verify
from cloche.ports import Filter, Mark, Position
from cloche.testing import make_record
from cloche.values import Tombstone
from tables import Store, reader_of, run, sink_of

NO_SPOOLS = Path("no spools")
COUNT = 24


def name(record):
    return str(uuid.UUID(bytes=record.id))


def names(records):
    return [name(record) for record in records]


async def ship(sink, records, spool="a", at_once=3):
    """Write records with their seals, some at a time, from where the sink has got."""
    reached = (await sink.positions()).get(spool, Position()).offset
    chained = SealedSink(sink)
    for start in range(reached, len(records), at_once):
        batch = records[start : start + at_once]
        await chained.write(batch, Mark(spool, Position(0, start + len(batch))))
    return sink


async def check(store, anchor=None):
    return await verify(reader_of(store), NO_SPOOLS, anchor)


async def files_of(store):
    return seal_files(await CommitLog(store, store.where).current())


async def replace(store, key, data):
    await store.delete(key)
    if data is not None:
        await store.put_if_absent(key, data)


async def alter(store, record, change):
    """Change the file that a record is in: the table, and the place of the record in it."""
    for key in await store.keys():
        if "_delta_log" not in key:
            table = Opened(await store.get(key)).read()
            ids = table["id"].to_pylist()
            if name(record) in ids:
                return await replace(store, key, to_parquet(change(table, ids.index(name(record)))))
    raise AssertionError("it is in no file")


@pytest.fixture
def records():
    return [make_record(number, model=f"m{number % 2}") for number in range(COUNT)]


@pytest.fixture
async def store(records):
    """A log of two spools, in files of which some became one."""
    store = Store()
    await ship(sink_of(store), records[: COUNT // 2])
    sink = await ship(sink_of(store), records[COUNT // 2 :], "b")
    await run(sink.compact())
    return store


async def test_a_log_that_nobody_touched_stays_green_whatever_the_keeper_does(store, records):
    report = await check(store)
    assert report.ok, report
    assert (report.seals.sealed, report.seals.unsealed) == (COUNT, 0)
    sink = sink_of(store)
    assert await sink.erase(records[:5], Tombstone(time_us=5, by="me", reason="asked for")) == 5
    await sink.scrub()
    await run(sink.compact())
    again = await check(store, report.anchor)
    assert again.ok, again
    assert (again.erased, again.seals.sealed) == (5, COUNT)


def without(table, place):
    return pa.concat_tables([table.slice(0, place), table.slice(place + 1)])


@pytest.mark.parametrize(
    ("column", "value"), [("outcome", "refused"), ("personal_digest", bytes(32)), ("hurried", True), ("rows", 2)]
)
async def test_a_changed_envelope_is_named(store, records, column, value):
    def change(table, place):
        values = table[column].to_pylist()
        values[place] = value
        where = table.column_names.index(column)
        return table.set_column(where, table.schema.field(where), [values])

    await alter(store, records[7], change)
    findings = (await check(store)).seals
    assert (findings.changed, findings.removed, findings.inserted) == (names(records[7:8]), [], [])


async def test_a_record_that_was_taken_away_and_one_that_was_put_in_are_named(store, records):
    forged = make_record(5, model="m1")
    await alter(store, records[7], without)
    await alter(store, records[5], lambda table, _: pa.concat_tables([table, columns_of([forged])]))
    report = await check(store)
    findings = report.seals
    assert (findings.changed, findings.removed, findings.inserted) == ([], names(records[7:8]), names([forged]))
    assert not report.ok


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "another", "emptied"])
async def test_of_seals_that_are_not_as_they_were_put_each_record_is_named_and_shipping_goes_on(store, records, damage):
    last = await sink_of(store).last_seal("b")
    await ship(sink_of(store), [*records[COUNT // 2 :], *(others := [make_record(90), make_record(91)])], "b")
    *_, other, file = await files_of(store)
    data = await store.get(file.key)
    damaged = {"missing": None, "empty": b"", "short": data[:-9], "another": await store.get(other.key)}
    damaged["emptied"] = to_parquet(Opened(data).read().slice(0, 0))
    await replace(store, file.key, damaged[damage])
    report = await check(store)
    assert not report.ok
    assert report.seals.inserted == names(others)
    assert report.seals.sealed == COUNT
    assert file.key in " ".join(report.seals.broken)
    assert (report.faults == [f"{file.key} is missing"]) == (damage == "missing")
    assert last.end == COUNT // 2
    following = [make_record(92), make_record(93)]
    sink = sink_of(store)
    await SealedSink(sink).write(following, Mark("b", Position(0, 99)))
    await run(sink.compact())
    findings = (await check(store)).seals
    assert (findings.inserted, findings.sealed) == (names(others), COUNT + 2)
    assert any("are missing" in sentence for sentence in findings.broken)


async def test_seals_that_nothing_names_any_more_are_missed(store):
    log = CommitLog(store, store.where)
    for file in await files_of(store):
        await log.append(await log.current(), [noted(file.note, 0)])
    findings = (await check(store)).seals
    assert findings.broken == [f"the seals before record 13 of spool {spool} are missing" for spool in "ab"]


async def test_a_removed_seal_in_the_midst_is_missed_by_what_follows_it(records):
    store = Store()
    await ship(sink_of(store), records)
    log = CommitLog(store, store.where)
    await log.append(await log.current(), [noted((await files_of(store))[3].note, 0)])
    findings = (await check(store)).seals
    assert findings.inserted == names(records[9:12])
    assert findings.broken == [
        f"the seals before records 13 to 15 of spool a (the first is {name(records[12])}) are missing"
    ]


async def test_two_keepers_of_one_spool_seal_each_record_once(records):
    store = Store()
    one, other = SealedSink(sink_of(store)), SealedSink(sink_of(store))
    await one.write(records[:3], Mark("a", Position(1, 3)))
    await other.write(records[3:6], Mark("a", Position(1, 6)))
    with pytest.raises(SinkUnavailable, match="somebody else has shipped of spool a"):
        await one.write(records[3:9], Mark("a", Position(1, 9)))
    assert await sink_of(store).positions() == {"a": Position(1, 6)}, "all or nothing"
    await one.write(records[6:9], Mark("a", Position(1, 9)))
    report = await check(store)
    assert report.ok, report
    assert (report.records, report.seals.sealed) == (9, 9)


async def test_many_keepers_of_many_spools_at_once(records):
    store = Store()
    spools = [records[number::4] for number in range(4)]
    sinks = [sink_of(store) for _ in spools]
    await asyncio.gather(
        *(ship(sink, each, f"spool-{place}") for place, (sink, each) in enumerate(zip(sinks, spools, strict=True))),
        *(run(sink.compact()) for sink in sinks),
    )
    report = await check(store)
    assert report.ok, report
    assert (report.seals.sealed, len(report.anchor.chains)) == (COUNT, 4)


@pytest.mark.parametrize("does_it_first", [False, True])
async def test_a_writer_that_dies_anywhere_loses_no_seal_and_keeps_none_twice(records, does_it_first):
    for number in itertools.count(1):
        store = Store()
        await ship(sink_of(store), records[:3])
        store.break_at(number, does_it_first)
        try:
            await ship(sink_of(store), records[:6])
            assert store.left > 0
        except SinkUnavailable:
            pass
        unbroken, store.left = store.left > 0, None
        await ship(sink_of(store), records[:9])
        report = await check(store)
        assert report.ok, report
        assert (report.records, report.seals.sealed) == (9, 9)
        assert await store.keys("seal") == sorted(file.key for file in await files_of(store)), "nothing is left over"
        if unbroken:
            break
    assert number > 4


@pytest.mark.parametrize("does_it_first", [False, True])
async def test_who_joins_seals_may_die_anywhere(records, does_it_first):
    whole = Store()
    await ship(sink_of(whole), records[:9], at_once=1)  # too few of each model for their files to become one
    before = await all_seals(whole)
    for number in itertools.count(1):
        store = await whole.copy()
        store.break_at(number, does_it_first)
        try:
            await run(sink_of(store).compact())
            assert store.left > 0
        except SinkUnavailable:
            pass
        assert await all_seals(store) == before
        unbroken, store.left = store.left > 0, None
        sink = sink_of(store)
        await run(sink.compact())
        assert await all_seals(store) == before
        assert (await check(store)).ok
        assert await store.keys("seal") == [file.key for file in await files_of(store)]
        assert len(await files_of(store)) == 1
        if unbroken:
            break
    assert number > 4


async def test_of_two_that_join_the_same_seals_one_does(records):
    store = Store()
    await ship(sink_of(store), records[:9], at_once=1)
    before = await all_seals(store)
    has_made, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow(CommitLog):
        async def append(self, base, actions):
            has_made.set()
            await may_go_on.wait()
            return await super().append(base, actions)

    slow = asyncio.create_task(run(join_seals(Changes(Slow(store, store.where)))))
    await has_made.wait()
    assert await run(join_seals(Changes(CommitLog(store, store.where)))) == ["9 objects of seals became 1"]
    may_go_on.set()
    assert await slow == []
    assert await all_seals(store) == before
    assert await store.keys("seal") == [file.key for file in await files_of(store)]


async def all_seals(store, moment_us=None):
    return [seal async for seal in reader_of(store).seals(moment_us)]


async def test_many_seals_become_few_objects_and_are_found_as_before(records):
    store = Store()
    sink = await ship(sink_of(store), records, at_once=1)
    last = await sink.last_seal("a")
    assert len(await files_of(store)) == COUNT
    words = await run(sink.compact())
    assert f"{COUNT} objects of seals became 1" in words
    assert len(await files_of(store)) == 1
    assert await sink_of(store).last_seal("a") == last
    assert [seal.ids for seal in await all_seals(store, records[7].time_us)] == [records[7].id]
    await run(sink.compact())
    assert len(await files_of(store)) == 1, "there is nothing left to do"


async def test_a_damaged_seal_is_not_joined_with_others(records):
    store = Store()
    sink = await ship(sink_of(store), records, at_once=1)
    damaged = (await files_of(store))[7]
    await replace(store, damaged.key, b"PAR1")
    await run(sink.compact())
    assert len(await files_of(store)) == 2
    assert await store.get(damaged.key) == b"PAR1"
    findings = (await check(store)).seals
    assert (findings.inserted, findings.sealed) == (names(records[7:8]), COUNT - 1)


async def test_who_reads_seals_goes_on_where_they_are_joined_and_more_come(records):
    store = Store()
    sink = await ship(sink_of(store), records, at_once=1)
    before = await all_seals(store)
    reading = reader_of(store).seals()
    found = [await anext(reading), await anext(reading)]
    await ship(sink, [*records, make_record(100)], at_once=1)
    await run(sink.compact())
    found += [seal async for seal in reading]
    assert found == before, "as they stood when it began"


async def test_a_log_that_is_written_and_joined_while_it_is_checked_is_green(records):
    store = Store()
    sink = await ship(sink_of(store), records[:-3])

    class Busy(ParquetReader):
        async def scan(self, wanted, after=None):
            number = 0
            async for record in super().scan(wanted, after):
                yield record
                number += 1
                if number == 1:
                    await ship(sink, records)
                    await run(sink.compact())

    report = await verify(Busy(CommitLog(store, store.where)), NO_SPOOLS)
    assert report.ok, report
    assert report.records == report.seals.sealed == COUNT, "the scan went on with what had come"


async def test_of_a_log_from_before_there_were_seals_records_are_counted_and_later_ones_are_missed():
    store, old = Store(), [make_record(number) for number in range(4)]
    await sink_of(store).write(old, Mark("a", Position(0, 4)))
    report = await check(store)
    assert report.ok
    assert (report.seals.sealed, report.seals.unsealed) == (0, 4)
    later = [make_record(number) for number in range(10, 14)]
    await ship(sink_of(store), [*old, *later])
    report = await check(store)
    assert report.ok, report
    assert (report.seals.sealed, report.seals.unsealed) == (4, 4)
    assert [seal.until_us for seal in await all_seals(store, old[0].time_us)] == [old[-1].time_us]
    assert await all_seals(store, later[0].time_us) != []
    forged = make_record(12)
    await sink_of(store).write([forged])
    assert (await check(store)).seals.inserted == [name(forged)]


async def test_a_log_that_began_with_seals_has_no_record_without_one(records):
    store = Store()
    await ship(sink_of(store), records[10:])
    await sink_of(store).write(records[:1])
    assert (await check(store)).seals.inserted == names(records[:1])


async def test_seals_outlive_the_commits_that_brought_them(records, monkeypatch):
    monkeypatch.setattr(commits, "_EVERY", 3)
    store = Store()
    sink = await ship(sink_of(store), records, at_once=1)
    last = await sink.last_seal("a")
    log = CommitLog(store, store.where)
    assert await log.trim(time.time_ns() // 1_000_000 + 1) > 3
    assert await sink_of(store).last_seal("a") == last
    report = await check(store)
    assert (report.ok, report.seals.sealed) == (True, COUNT)


async def test_chains_that_rest_are_let_go_of_but_for_their_seals(records, monkeypatch):
    monkeypatch.setattr(sealing, "_RESTS_US", 0)
    store = Store()
    alive, gone, direct = sink_of(store), sink_of(store), SealedSink(sink_of(store))
    await ship(alive, records[:6], "alive")
    await ship(gone, records[6:12], "gone")
    await gone.retire("gone")
    await direct.write(records[12:15], Mark("direct", Position()))
    await run(sink_of(store).compact())
    last = [await sink_of(store).last_seal(spool) for spool in ("alive", "gone", "direct")]
    assert [seal and seal.end for seal in last] == [6, None, None]
    await direct.write(records[15:18], Mark("direct", Position()))
    report = await check(store)
    assert report.ok, report
    assert report.seals.sealed == 18


async def test_a_refused_seal_leaves_nothing_behind(records):
    store = Store()
    sink = await ship(sink_of(store), records[:3])
    wrong = sealed(records[3:6], "a", None)
    with pytest.raises(SinkUnavailable):
        await sink.write(records[3:6], Mark("a", Position(0, 6), wrong))
    assert len(await store.ids_by_glob()) == 3
    assert len(await store.keys("seal")) == 1


async def test_a_seal_of_a_newer_format_is_refused_by_name(records):
    store = Store()
    seal = msgspec.structs.replace(sealed(records[:3], "a", None), format=2)
    await sink_of(store).write(records[:3], Mark("a", Position(0, 3), seal))
    report = await check(store)
    assert "a seal of spool a has format 2" in report.faults[0]
    assert not report.ok


@given(st.lists(st.integers(1, 5_000_000), max_size=60))
def test_an_object_of_seals_is_in_one_group_at_most_and_none_becomes_too_large(sizes):
    files = [SealFile(number, number, f"{number}", size) for number, size in enumerate(sizes)]
    together = list(sealing.groups(files))
    chosen = [file for group in together for file in group]
    assert len(chosen) == len(set(chosen))
    assert all(len(group) > 1 and sum(file.size for file in group) <= sealing._LARGE for group in together)
    tiny = sum(size < sealing._TIERS[0] for size in sizes)
    assert bool(together) or tiny < sealing._ENOUGH


async def test_a_mark_without_a_seal_goes_on_as_it_did(records):
    store = Store()
    await sink_of(store).write(records[:3], Mark("a", Position(0, 3)))
    assert await sink_of(store).last_seal("a") is None
    assert await all_seals(store) == []
    assert [each async for each in reader_of(store).scan(Filter())] == records[:3]
