"""Whatever happens on the way, what was counted is what the log has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from arms import call, manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.errors import InvalidParameter, NewerFormat, RollupsMissing, StoreUnavailable, VersionNotFound
from cloche.insight import rollups
from cloche.insight.rollups import FORMAT, LENGTH_US, RollupWork, groups_of
from cloche.insight.statistics import Asking, Statistics, make_asking, statistics_of
from cloche.ports import Filter
from cloche.upkeep.ports import Rollup, Span
from cloche.values import Tombstone, is_erased

MINUTE_US, HOUR_US, DAY_US = LENGTH_US["minute"], LENGTH_US["hour"], LENGTH_US["day"]
BEGAN_US = 1_800_000_000_000_000 // DAY_US * DAY_US
ERASED = Tombstone(BEGAN_US, "somebody", "they asked for it")


class Known:
    """A registry that knows some versions."""

    def __init__(self, *versions: str, away: bool = False) -> None:
        self.versions = versions
        self.away = away

    async def manifest(self, model: str, version: str):
        if self.away:
            raise StoreUnavailable(where="here", reason="it is away")
        if version not in self.versions:
            raise VersionNotFound(name=model, version=version, where="here", known="")
        return manifest(version), "sha256:"


class Counted:
    """A log in a folder, and what counts it."""

    def __init__(self, folder: Path, registry: Known | None = None) -> None:
        self.path = folder / "inferences.db"
        self.sink = SqliteSink(self.path)
        self.reader = SqliteReader(self.path)
        self.registry = registry or Known("1.0.0", "2.0.0")
        self.work = self.again()

    def again(self) -> RollupWork:
        """Return a worker as a keeper has it that was started anew."""
        return RollupWork(self.reader, self.reader, self.sink, self.registry)

    async def run(self, slices: int | None = None) -> bool:
        """Count all, or as much as so many slices do, and then the keeper is killed; return whether there was any."""
        run = self.again().run()
        ran = 0
        async for _ in run:
            ran += 1
            if ran == slices:
                break
        await run.aclose()
        return ran > 0

    async def ask(self, by: str = "day", **fields) -> Statistics:
        times = {"since_us": BEGAN_US - DAY_US, "until_us": BEGAN_US + 2 * DAY_US}
        return await statistics_of(self.reader, Asking("delays", by, **times | fields))


@pytest.fixture
async def counted(tmp_path):
    found = Counted(tmp_path)
    yield found
    await found.sink.close()


def at(seconds: float) -> int:
    return BEGAN_US + int(seconds * 1e6)


async def test_a_minute_says_what_its_calls_come_to(counted):
    await counted.sink.write(
        [
            call(1, at(1), latency_us=1_000, answer=b"[1.0]"),
            call(2, at(2), latency_us=3_000, answer=b"[-2.0]"),
            call(3, at(3), outcome="refused", rows=3),
            call(4, at(4), outcome="model_failed", latency_us=20_000),
            call(5, at(5), fallback="deadline_exceeded", answered_by="1.0.0", answer=b"[99.0]"),
            call(6, at(60)),
        ]
    )
    await counted.run()
    found = await counted.ask("minute")
    first, second = found.points
    assert (first.start, second.start) == ("2027-01-15T00:00:00.000000Z", "2027-01-15T00:01:00.000000Z")
    assert (first.calls, first.rows, first.fallbacks) == (5, 7, 1)
    assert first.outcomes == {"ok": 3, "refused": 1, "model_failed": 1}
    assert first.latency_ms["p50"] == pytest.approx(9, rel=0.022)
    assert (first.latency_ms["mean"], first.latency_ms["max"]) == (8.4, 20.0)
    assert first.score == {"calls": 2, "mean": -0.5, "min": -2.0, "p50": pytest.approx(-2.0, rel=0.022), "max": 1.0}
    assert second.calls == 1
    assert found.behind == 0
    (total,) = found.total
    assert total.calls == 6
    assert sum(count for _, _, count in total.score["histogram"]) == 3


@pytest.mark.parametrize("by", ["minute", "hour", "day"])
async def test_every_grain_counts_every_call_once(counted, by):
    times_us = [at(seconds) for seconds in (-1, 0, 59, 60, 3_599, 3_600, 86_399, 86_400)]
    await counted.sink.write([call(number, time_us) for number, time_us in enumerate(times_us)])
    await counted.run()
    found = await counted.ask(by)
    expected = Counter(time_us // LENGTH_US[by] for time_us in times_us)
    assert [point.calls for point in found.points] == [expected[span] for span in sorted(expected)]


async def test_calls_are_counted_apart_by_version_variant_and_kind(counted):
    await counted.sink.write(
        [
            *(call(number, at(number), "1.0.0") for number in range(3)),
            *(call(number, at(number)) for number in range(2)),
            call(9, at(9), kind="shadow"),
            call(10, at(10), model="other"),
        ]
    )
    await counted.run()

    async def total(**fields):
        return [(each.version, each.variant, each.kind, each.calls) for each in (await counted.ask(**fields)).total]

    assert await total() == [(None, None, "live", 5)]
    assert await total(split=("version",)) == [("1.0.0", None, "live", 3), ("2.0.0", None, "live", 2)]
    assert await total(split=("variant",), version="2.0.0") == [(None, "canary", "live", 2)]
    assert await total(split=("kind",), variant="canary") == [(None, None, "live", 2), (None, None, "shadow", 1)]
    assert await total(kind="shadow") == [(None, None, "shadow", 1)]


async def test_what_is_erased_is_no_score_any_more(counted):
    records = [call(number, at(number), answer=b"[7.5]") for number in range(3)]
    await counted.sink.write(records)
    await counted.run()
    await counted.sink.erase(records, ERASED)
    await counted.run()
    for by in ("minute", "hour", "day"):
        (point,) = (await counted.ask(by)).points
        assert (point.calls, point.score) == (3, None)


async def test_records_from_before_there_were_rollups_are_counted_the_newest_first(counted):
    days = range(0, 400, 100)
    await counted.sink.write([call(number, at(-day * 86_400)) for number, day in enumerate(days)])
    await counted.sink.write([call(10, at(-7_200)), call(11, at(30))])
    await counted.sink.close()
    with contextlib.closing(sqlite3.connect(counted.path)) as connection:
        connection.execute("drop table rollup_due")
        connection.execute("drop table rollup")
    counted.sink = SqliteSink(counted.path)
    (due,) = await counted.reader.due(10)
    assert due.span == Span("past", at(60))
    await counted.run(slices=2)
    found = await counted.ask("minute")
    assert [point.calls for point in found.points] == [2]
    assert found.behind
    while await counted.run(slices=3):
        pass
    everything = await counted.ask("day", since_us=at(-400 * 86_400))
    assert [point.calls for point in everything.points] == [1, 1, 1, 1, 2]
    assert everything.behind == 0


async def test_a_span_that_is_still_changing_is_not_made_anew_at_once(counted, monkeypatch):
    monkeypatch.setattr(rollups, "_REST", 1e9)
    await counted.sink.write([call(1, at(1))])
    assert [said async for said in counted.work.run()]
    await counted.sink.write([call(2, at(2))])
    assert [said async for said in counted.work.run()] == []
    found = await counted.ask("minute")
    assert (found.points[0].calls, found.behind) == (1, 1)
    monkeypatch.setattr(rollups, "_REST", 0)
    await counted.run()
    assert (await counted.ask("minute")).points[0].calls == 2


async def test_a_version_that_is_not_known_any_more_has_no_score(tmp_path):
    counted = Counted(tmp_path, Known("1.0.0"))
    await counted.sink.write([call(1, at(1)), call(2, at(2), "1.0.0")])
    await counted.run()
    scores = {each.version: each.score for each in (await counted.ask(split=("version",))).points}
    assert scores["2.0.0"] is None
    assert scores["1.0.0"]["calls"] == 1
    await counted.sink.close()


async def test_while_the_registry_is_away_nothing_is_counted_without_scores(tmp_path):
    counted = Counted(tmp_path, Known("2.0.0", away=True))
    await counted.sink.write([call(1, at(1))])
    with pytest.raises(StoreUnavailable):
        await counted.run()
    assert (await counted.ask()).points == []
    counted.registry.away = False
    await counted.run()
    (point,) = (await counted.ask()).points
    assert point.score["calls"] == 1
    await counted.sink.close()


async def test_two_that_count_at_once_count_every_call_once(counted):
    records = [call(number, at(number * 20)) for number in range(400)]
    both = [counted.again().run(), counted.again().run()]
    for start in range(0, 400, 40):
        await counted.sink.write(records[start : start + 40])
        await asyncio.gather(*(anext(run, None) for run in both))
    for run in both:
        await run.aclose()
    await counted.run()
    for by in ("minute", "hour", "day"):
        assert sum(point.calls for point in (await counted.ask(by)).points) == 400


class Step:
    """What may happen to a log."""

    WRITE, AGAIN, ERASE, RUN, KILL = "write", "again", "erase", "run", "kill"


STEPS = st.lists(
    st.tuples(st.sampled_from([Step.WRITE, Step.AGAIN, Step.ERASE, Step.RUN, Step.KILL]), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=1_000 if os.environ.get("CLOCHE_PROVE") else 12, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_happens_what_is_counted_is_what_the_log_has(steps, random):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_steps(Path(folder), steps, random))


async def _steps(folder: Path, steps, random) -> None:
    counted = Counted(folder)
    written = []
    for step, number in steps:
        if step == Step.WRITE:
            times_us = [at(random.choice((0, 61, 3_601, 90_000)) + each) for each in range(number)]
            answers = [str([random.uniform(-5, 5)]).encode() for _ in times_us]
            versions = random.choices(("1.0.0", "2.0.0"), k=number)
            batch = [call(0, *each[:2], answer=each[2]) for each in zip(times_us, versions, answers, strict=True)]
            written += batch
            await counted.sink.write(batch)
        elif step == Step.AGAIN:
            await counted.sink.write(random.sample(written, min(number, len(written))))
        elif step == Step.ERASE:
            await counted.sink.erase(random.sample(written, min(number, len(written))), ERASED)
        else:
            await counted.run(slices=number if step == Step.KILL else None)
    await counted.run()
    await _check(counted)
    await counted.sink.close()


async def _check(counted: Counted) -> None:
    records = [record async for record in counted.reader.scan(Filter())]
    for by, length_us in LENGTH_US.items():
        found = await counted.ask(by, split=("version",))
        calls = Counter((record.time_us // length_us, record.version) for record in records)
        assert Counter([point.calls for point in found.points]) == Counter(calls.values())
        scored = sum(not is_erased(record.personal) for record in records)
        assert sum(point.score["calls"] for point in found.points if point.score) == scored
        assert found.behind == 0


def test_a_rollup_of_a_later_cloche_is_refused():
    for packed in ([FORMAT + 1, []], [FORMAT + 1, {"other": "shape"}]):
        with pytest.raises(NewerFormat):
            groups_of(Rollup("toy", "minute", 0, msgspec.msgpack.encode(packed)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "whose calls"),
        ({"model": "toy", "since": BEGAN_US, "until": BEGAN_US}, "not before until"),
        ({"model": "toy", "by": "minute", "since": 0, "until": BEGAN_US}, "too many"),
    ],
)
def test_what_can_not_be_asked_is_told(values, said):
    with pytest.raises(InvalidParameter, match=said):
        make_asking(values)


def test_without_a_time_the_last_spans_are_meant():
    asking = make_asking({"model": "toy", "by": "minute", "split": ("kind",)})
    assert asking == Asking("toy", "minute", split=("kind",))


async def test_a_log_without_rollups_says_so():
    with pytest.raises(RollupsMissing):
        await statistics_of(object(), Asking("toy"))


async def test_without_a_time_it_ends_with_the_span_that_is_now(counted):
    now_us = time.time_ns() // 1000
    await counted.sink.write([call(1, now_us), call(2, now_us - 59 * MINUTE_US), call(3, now_us - 61 * MINUTE_US)])
    await counted.run()
    found = await statistics_of(counted.reader, Asking("delays", "minute"), now_us)
    assert sum(point.calls for point in found.points) == 2
