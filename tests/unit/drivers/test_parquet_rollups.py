"""The rollups beside a log of Parquet files, whoever writes there at once, and wherever they are killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.drivers.parquet import ParquetReader, ParquetSink, commits, due, rollups, writing
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.rollups import joinable
from cloche.errors import LogCorrupt, SinkUnavailable, VersionNotFound
from cloche.insight.rollups import LENGTH_US, RollupWork
from cloche.insight.statistics import Asking, statistics_of
from cloche.testing import RollupContract, make_record
from cloche.upkeep.ports import Rollup, Span
from cloche.values import Tombstone
from tables import Store, kept, reader_of, run, sink_of

MINUTE_US, HOUR_US, DAY_US = LENGTH_US["minute"], LENGTH_US["hour"], LENGTH_US["day"]
START_US = make_record().time_us // DAY_US * DAY_US
STONE = Tombstone(time_us=5, by="me", reason="asked for")


@pytest.fixture(autouse=True, scope="module")
def _at_once():
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("cloche.insight.rollups._REST", 0)
        yield


class TestFolder(RollupContract):
    def open_sink(self, folder):
        return ParquetSink(CommitLog.from_url(f"parquet+{folder.as_uri()}"), pace_s=0)

    def open_reader(self, folder):
        return ParquetReader(CommitLog.from_url(f"parquet+{folder.as_uri()}"))


class Unknown:
    """A registry that knows no version, so that nothing has a score."""

    async def manifest(self, model, version):
        raise VersionNotFound(name=model, version=version, where="here", known="")


def work_of(store):
    reader = reader_of(store)
    return RollupWork(reader, reader, sink_of(store), Unknown())


def records_at(*minutes, model="toy"):
    return [make_record(place, model=model, time_us=START_US + at * MINUTE_US) for place, at in enumerate(minutes)]


def rollup(minute, data=b"some", model="toy", grain="minute"):
    return Rollup(model, grain, START_US + minute * MINUTE_US, data)


async def due_of(store):
    due = await reader_of(store).due(9999)
    return [(each.span.grain, (each.span.start_us - START_US) // MINUTE_US) for each in due]


async def notes_of(store):
    return tuple(note for each in await reader_of(store).due(9999) for note in each.notes)


async def rollups_of(store, grain="minute", **asked):
    return list(await reader_of(store).rollups(grain, START_US - 400 * DAY_US, START_US + 400 * DAY_US, **asked))


async def objects(store):
    return await store.keys("rollup")


async def calls(store, by, model="toy"):
    asking = Asking(model, by, since_us=START_US, until_us=START_US + 5 * DAY_US)
    found = await statistics_of(reader_of(store), asking)
    return [point.calls for point in found.points], found.behind


@pytest.mark.parametrize("does_it_first", [False, True])
@pytest.mark.parametrize("kind", ["write", "erase", "roll up", "join"])
async def test_who_dies_anywhere_leaves_notes_and_rollups_that_fit_the_records(kind, does_it_first):
    whole, records = Store(), records_at(0, 1, 2)
    await sink_of(whole).write(records)
    notes = await notes_of(whole)
    await sink_of(whole).roll_up(notes, [rollup(0), rollup(60), rollup(61, b"old")], [Span("hour", START_US)])

    async def work(sink):
        if kind == "write":
            await sink.write(records_at(5))
        elif kind == "erase":
            await sink.erase(records[1:2], STONE)
        elif kind == "roll up":
            taken = await notes_of(whole)
            await sink.roll_up(taken, [rollup(0, b"an hour", grain="hour"), rollup(61, b"new")], [])
        else:
            await run(sink.compact())

    left = {"write": [("minute", 5), ("hour", 0)], "erase": [("minute", 1), ("hour", 0)], "roll up": []}
    before = await rollups_of(whole)
    for number in itertools.count(1):
        store = await whole.copy()
        store.break_at(number, does_it_first)
        with contextlib.suppress(SinkUnavailable):
            await work(sink_of(store))
        unbroken, store.left = store.left > 0, None
        done = await due_of(store)
        assert done in (await due_of(whole), left.get(kind))
        if kind == "roll up":
            assert await rollups_of(store) == ([*before[:2], rollup(61, b"new")] if done == [] else before)
        again = sink_of(store)
        await work(again)
        assert await due_of(store) == left.get(kind, [("hour", 0)])
        await again.scrub()
        assert len(await objects(store)) == {"join": 1, "roll up": 3}.get(kind, 2)
        assert list(await reader_of(store).faults()) == []
        assert await rollups_of(store) == ([*before[:2], rollup(61, b"new")] if kind == "roll up" else before)
        if unbroken:
            break
    assert number > 1


async def test_of_two_keepers_and_two_writers_at_once_every_call_is_counted_once():
    store, records = Store(), records_at(*(number // 3 for number in range(120)))

    async def write(sink, mine):
        for start in range(0, 60, 6):
            await sink.write(mine[start : start + 6])

    async def count():
        for _ in range(4):
            await run(work_of(store).run())

    await asyncio.gather(write(sink_of(store), records[:60]), write(sink_of(store), records[60:]), count(), count())
    await run(sink_of(store).compact())
    await run(work_of(store).run())
    assert [await calls(store, by) for by in ("minute", "hour", "day")] == [([3] * 40, 0), ([120], 0), ([120], 0)]
    await sink_of(store).scrub()
    assert len(await objects(store)) == 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "again", "erase", "compact", "count", "kill"]), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@pytest.mark.timeout(900)
@settings(max_examples=500 if os.environ.get("CLOCHE_PROVE") else 8, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_happens_what_is_counted_is_what_the_log_has(steps, random):
    asyncio.run(_steps(steps, random))


async def _steps(steps, random):
    store, written = Store(), []
    for step, number in steps:
        some = random.sample(written, min(number, len(written)))
        if step == "write":
            batch = records_at(*(random.choice((0, 1, 59, 60, 1440, 2880)) for _ in range(number)))
            written += batch
            await sink_of(store).write(batch)
        elif step == "again":
            await sink_of(store).write(some)
        elif step == "erase":
            await sink_of(store).erase(some, STONE)
        elif step == "compact":
            await run(sink_of(store).compact())
        else:
            await count(store, slices=number if step == "kill" else None)
    await count(store)
    times_us = [record.time_us for record in await kept(store)]
    for by, length_us in LENGTH_US.items():
        spans = Counter(time_us // length_us for time_us in times_us)
        assert await calls(store, by) == ([spans[span] for span in sorted(spans)], 0)
    await sink_of(store).scrub()
    assert list(await reader_of(store).faults()) == []


async def count(store, slices=None):
    """Count all, or as much as so many slices do, and then the keeper is killed."""
    work = work_of(store).run()
    ran = 0
    async for _ in work:
        ran += 1
        if ran == slices:
            break
    await work.aclose()


async def test_all_of_a_log_that_is_older_than_rollups_is_due_once(monkeypatch):
    store = Store()
    with monkeypatch.context() as older:
        older.setattr(writing, "minutes_due", lambda base, times_us: [])
        await sink_of(store).write(records_at(0, 3, 70))
    assert await due_of(store) == [("past", 71)]
    await sink_of(store).write(records_at(72))
    assert await due_of(store) == [("minute", 72), ("past", 73)]
    await run(work_of(store).run())
    assert [await calls(store, by) for by in ("minute", "hour", "day")] == [([1] * 4, 0), ([2, 2], 0), ([4], 0)]
    await sink_of(store).write(records_at(72, 73))
    assert await due_of(store) == [("minute", 73), ("minute", 72)]


async def test_nothing_is_due_that_was_put_together_and_notes_are_summed_up(monkeypatch):
    monkeypatch.setattr(commits, "_EVERY", 5)
    store, sink = Store(), None
    for record in records_at(*range(12)):
        sink = sink_of(store)
        await sink.write([record])
    before = await due_of(store)
    assert await run(sink.compact())
    assert await due_of(store) == before == [("minute", number) for number in reversed(range(12))]
    await sink.roll_up(await notes_of(store), [rollup(3)], [])
    assert await due_of(store) == []
    assert await rollups_of(store) == [rollup(3)]


async def test_where_nobody_counts_notes_stay_few_and_whoever_counts_later_counts_all(monkeypatch):
    monkeypatch.setattr(due, "_MANY", 12)
    monkeypatch.setattr(due, "_MOST", 20)
    store = Store()
    sink = sink_of(store)
    for _ in range(5):
        for record in records_at(0, 1, 2, 3):
            await sink.write([record])
            assert len(await notes_of(store)) <= 12
    assert sorted(set(await due_of(store))) == [("minute", number) for number in range(4)]
    await sink.write(records_at(*range(50, 72)))
    await sink.write(records_at(80))
    assert await due_of(store) == [("past", 81)]
    await run(work_of(store).run())
    assert await calls(store, "day") == ([20 + 22 + 1], 0)


async def test_what_was_swept_on_its_way_is_put_anew():
    store = Store()
    await sink_of(store).write(records_at(0))
    before_commit, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow(CommitLog):
        async def append(self, base, actions):
            if not before_commit.is_set():
                before_commit.set()
                await may_go_on.wait()
            return await super().append(base, actions)

    slow = ParquetSink(Slow(store, store.where), pace_s=0)
    counting = asyncio.create_task(slow.roll_up(await notes_of(store), [rollup(0)], []))
    await before_commit.wait()
    assert len(await objects(store)) == 1
    await sink_of(store).scrub()
    assert await objects(store) == []
    may_go_on.set()
    assert await counting
    assert await rollups_of(store) == [rollup(0)]
    assert len(await objects(store)) == 1


async def test_who_comes_too_late_with_what_was_counted_leaves_all_as_it_is():
    store = Store()
    in_time = sink_of(store)
    await in_time.roll_up([], [rollup(0)], [Span("hour", START_US)])
    notes = await notes_of(store)

    class Slow(CommitLog):
        async def append(self, base, actions):
            assert await in_time.roll_up(notes, [], [])
            return await super().append(base, actions)

    late = ParquetSink(Slow(store, store.where), pace_s=0)
    assert not await late.roll_up(notes, [rollup(0, b"late")], [])
    assert await rollups_of(store) == [rollup(0)]
    assert len(await objects(store)) == 1


async def test_of_two_that_counted_the_same_hour_each_keeps_its_minutes():
    store = Store()
    sinks = [sink_of(store) for _ in range(4)]
    for sink in sinks:
        await sink.scrub()  # or they would do so now
    made = await asyncio.gather(*(sink.roll_up([], [rollup(place)], []) for place, sink in enumerate(sinks)))
    assert all(made)
    assert await rollups_of(store) == [rollup(place) for place in range(4)]
    assert len(await objects(store)) == 1


async def test_who_reads_while_rollups_change_finds_those_or_the_others():
    store = Store()
    await sink_of(store).roll_up([], [rollup(0, b"old")], [])
    (first,) = await objects(store)

    class Late(Store):
        async def get(self, key):
            if key == first:
                await sink_of(store).roll_up([], [rollup(0, b"new")], [])
            return await store.get(key)

    late = Late()
    late.inner = store.inner
    assert await rollups_of(late) == [rollup(0, b"new")]


def test_of_what_is_over_the_rollups_lie_together():
    notes = ["rollup/minute/2026-11-05T00", "rollup/minute/2026-11-05T13", "rollup/minute/2026-11-06T13"]
    notes += ["rollup/minute/2026-11-06T14", "rollup/hour/2026-11-05", "rollup/hour/2026-11-06", "rollup/day/2026-11"]
    notes += ["due/minute/5/6", "seal/spool"]
    assert joinable(notes, datetime(2026, 11, 6, 0, 30, tzinfo=UTC)) == []
    assert joinable(notes, datetime(2026, 11, 6, 1, 0, tzinfo=UTC)) == ["rollup/minute/2026-11-05"]
    later = joinable(notes, datetime(2027, 1, 1, 1, 0, tzinfo=UTC))
    assert later == ["rollup/minute/2026-11-05", "rollup/minute/2026-11-06", "rollup/hour/2026-11"]
    assert joinable([*notes, "rollup/day/2026-12"], datetime(2027, 1, 1, 1, 0, tzinfo=UTC))[3:] == ["rollup/day/2026"]


async def test_what_comes_late_goes_to_what_lies_together_already():
    store = Store()
    sink = sink_of(store)
    minutes = [rollup(hour * 60, model=model) for hour in range(24) for model in ("other", "toy")]
    for each in minutes:
        await sink.roll_up([], [each], [])
    assert len(await objects(store)) == 24
    assert "the rollups of 2026-01-01 became one object" in await run(sink.compact())
    assert len(await objects(store)) == 1
    assert await run(sink.compact()) == []
    late = [rollup(61, b"late"), rollup(120, b"changed")]
    await sink.roll_up([], [*late, rollup(DAY_US // MINUTE_US, b"another day")], [])
    assert len(await objects(store)) == 2
    found = {each.start_us: each.data for each in await rollups_of(store, model="toy")}
    expected = {each.start_us: each.data for each in (*minutes, *late)}
    assert found == expected | {START_US + DAY_US: b"another day"}
    between = await reader_of(store).rollups("minute", START_US + 60 * MINUTE_US, START_US + 120 * MINUTE_US, "toy")
    assert [each.start_us for each in between] == [START_US + 60 * MINUTE_US, START_US + 61 * MINUTE_US]


async def test_what_would_be_too_large_together_stays_apart(monkeypatch):
    monkeypatch.setattr(rollups, "_LARGE", 10)
    store = Store()
    sink = sink_of(store)
    await sink.roll_up([], [rollup(0), rollup(60)], [])
    for _ in range(2):
        await run(sink.compact())
        assert len(await objects(store)) == 2
    assert sink._changes.heavy == {"rollup/minute/2026-01-01"}


async def test_an_object_that_is_missing_is_named():
    store = Store()
    await sink_of(store).roll_up([], [rollup(0)], [])
    (key,) = await objects(store)
    await store.delete(key)
    assert list(await reader_of(store).faults()) == [f"{key} is missing"]
    with pytest.raises(LogCorrupt, match="is missing"):
        await rollups_of(store)
    with pytest.raises(LogCorrupt, match="is missing"):
        await sink_of(store).roll_up([], [rollup(1)], [])


async def test_a_minute_that_goes_on_is_counted_twice_a_minute_at_most():
    store = Store()
    reader, sink = reader_of(store), ParquetSink(CommitLog(store, store.where))
    assert sink.rest_s == 30
    work = RollupWork(reader, reader, sink, Unknown())
    await sink.write(records_at(0))
    assert await run(work.run())
    await sink.write(records_at(0))
    assert await run(work.run()) == []
    assert await calls(store, "minute") == ([1], 1)
    await sink.write(records_at(1))
    assert await run(work.run()), "another minute does not wait"
    assert await kept(store)
