"""Shadows and live calls are found in a real log, each once, and compared."""

from __future__ import annotations

import json
import random
import statistics

import msgspec
import pytest
from arms import Log, manifest

from cloche.errors import SinkUnavailable
from cloche.insight import comparison
from cloche.insight.agreement import Agreement
from cloche.log.columns import pack_text
from cloche.testing import make_record
from cloche.values import Personal, Record, Timings

BEGAN_US = 1_800_000_000_000_000
LATE_MS = 12_000


class Manifests:
    """What is asked of a registry."""

    async def manifest(self, model: str, version: str):
        return manifest(version), "sha256:"


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def at(seconds: float) -> int:
    return BEGAN_US + int(seconds * 1e6)


def agreement_of(log: Log, since_us: int = BEGAN_US) -> Agreement:
    return Agreement(log.reader, Manifests(), "delays", since_us, LATE_MS)


def record(time_us: int, value: object = 1.0, **fields: object) -> Record:
    contents = Personal(input=pack_text(b"[{}]"), output=pack_text(json.dumps([value]).encode()))
    usual = {"model": "delays", "timings": Timings(predict_us=1000), "version": "1.0.0"}
    return make_record(0, contents, time_us=time_us, **usual | fields)


def pair(time_us: int, live: object = 1.0, shadow: object = 1.0, **of_shadow: object) -> list[Record]:
    first = record(time_us, live)
    usual = {"version": "2.0.0", "kind": "shadow", "shadows": first.id, "timings": Timings(predict_us=3000)}
    return [first, record(time_us, shadow, **usual | of_shadow)]


async def test_of_an_empty_log_nothing_is_known(log):
    assert await agreement_of(log).look(at(5)) == []


async def test_both_sides_are_compared(log):
    await log.write([*pair(at(1), 1.0, 1.0), *pair(at(2), 1.0, 1.5), *pair(at(3), 1.0, 0.0), record(at(4))])
    (found,) = await agreement_of(log).look(at(60))
    assert (found.version, found.calls, found.compared, found.rows) == ("2.0.0", 3, 3, 3)
    assert (found.against, found.unpaired) == ({"1.0.0": 3}, 0)
    assert [(each.live, each.shadow, each.calls) for each in found.outcomes] == [("ok", "ok", 3)]
    assert found.same == pytest.approx(1 / 3)
    assert found.score.mean == pytest.approx(-1 / 6)
    assert (found.score.rows, found.score.p50, found.score.largest) == (3, 0.5, 1.0)
    assert found.live_latency.p50_ms == pytest.approx(1, rel=0.02)
    assert found.shadow_latency.p95_ms == pytest.approx(3, rel=0.02)
    assert [each.apart for each in found.furthest] == [1.0, 0.5]
    assert (found.ranking, found.same_label) == (None, None)


async def test_outcomes_stand_side_by_side(log):
    failing = pair(at(2), shadow=None, outcome="schema_mismatch")
    stood_in, beside = pair(at(3))
    stood_in = msgspec.structs.replace(stood_in, fallback="model_failed", answered_by="constant")
    await log.write([*pair(at(1)), *failing, stood_in, beside])
    (found,) = await agreement_of(log).look(at(60))
    assert sorted((each.live, each.shadow) for each in found.outcomes) == [
        ("model_failed", "ok"),
        ("ok", "ok"),
        ("ok", "schema_mismatch"),
    ]
    assert found.compared == 1


async def test_a_shadow_whose_live_call_is_gone_is_counted(log):
    await log.write([*pair(at(1)), pair(at(2))[1]])
    (found,) = await agreement_of(log).look(at(60))
    assert (found.calls, found.compared, found.unpaired) == (2, 1, 1)


async def test_calls_of_one_microsecond_are_not_mixed_up(log):
    await log.write([*pair(at(1), 1.0, 2.0), *pair(at(1), 5.0, 5.0), *pair(at(1), 7.0, 4.0)])
    (found,) = await agreement_of(log).look(at(60))
    assert found.score.mean == pytest.approx((1 + 0 - 3) / 3)


async def test_every_shadow_is_compared_for_itself(log):
    await log.write([*pair(at(1)), *pair(at(2), version="3.0.0")])
    assert [found.version for found in await agreement_of(log).look(at(60))] == ["2.0.0", "3.0.0"]


async def test_what_came_before_does_not_count(log):
    await log.write([*pair(at(-1)), *pair(at(1)), *pair(at(1), model="another")])
    (found,) = await agreement_of(log).look(at(60))
    assert found.calls == 1


async def test_no_shadow_is_counted_twice_and_late_ones_are_not_lost(log):
    """A shadow comes into the log after its live call, up to its deadline later, and looks are at any time."""
    chance = random.Random(7)
    pairs = [pair(at(number / 4), 0.0, float(number)) for number in range(300)]
    arrivals = sorted((number / 4 + chance.uniform(0, LATE_MS / 1000 - 0.5), number) for number in range(300))
    watching = agreement_of(log)
    for until in range(0, 99, 3):
        await log.write([each for came, number in arrivals if until - 3 <= came < until for each in pairs[number]])
        found = await watching.look(at(until))
        came = [float(number) for came, number in arrivals if came < until]
        assert sum(each.calls for each in found) == len(came)
        if came:
            assert found[0].score.mean == pytest.approx(statistics.mean(came))
    assert await agreement_of(log).look(at(200)) == await watching.look(at(200))


async def test_what_is_settled_is_not_read_again_and_a_look_that_breaks_off_counts_nothing(log):
    await log.write([each for number in range(20) for each in pair(at(number))])
    watching = agreement_of(log)
    scan, scans = watching._log.scan, []

    async def breaks_off(wanted):
        async for found in scan(wanted):
            if found.time_us == at(5):
                raise SinkUnavailable(where="here", reason="locked")
            yield found

    watching._log.scan = breaks_off
    with pytest.raises(SinkUnavailable):
        await watching.look(at(60))
    watching._log.scan = lambda wanted: scans.append(wanted.since_us) or scan(wanted)
    for seconds in (25, 60, 61):
        assert (await watching.look(at(seconds)))[0].calls == 20
    assert scans == [BEGAN_US, BEGAN_US, at(19) - LATE_MS * 1000]


async def test_what_is_shipped_very_late_is_not_lost(log):
    pairs = [pair(at(number)) for number in range(60)]
    watching = agreement_of(log)
    for until in range(0, 120, 3):
        await log.write([each for number in range(60) if until - 3 <= number + 40 < until for each in pairs[number]])
        found = await watching.look(at(until))
    assert (found[0].calls, found[0].unpaired) == (60, 0)


async def test_of_very_many_a_random_sample_is_compared(log, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_PAIRS", 200)
    await log.write([each for number in range(1000) for each in pair(at(number / 100), 0.0, float(number >= 500))])
    watching = agreement_of(log)
    (found,) = await watching.look(at(15))
    assert (found.calls, found.compared) == (1000, 200)
    assert found.score.mean == pytest.approx(0.5, abs=0.18)
    assert sum(each.calls for each in found.outcomes) == 1000
    assert (await watching.look(at(60)))[0] == (await agreement_of(log).look(at(60)))[0]


async def test_the_histogram_holds_every_row(log):
    chance = random.Random(3)
    shadows = [chance.gauss(0, 1) for _ in range(400)] + [1e9]
    await log.write([each for number, value in enumerate(shadows) for each in pair(at(number / 100), 0.0, value)])
    (found,) = await agreement_of(log).look(at(60))
    bins = found.score.histogram
    assert sum(each.rows for each in bins) == 401
    assert len(bins) == 10
    assert bins[-1].high < 10, "one far value does not push all others into one bin"
    assert max(bins, key=lambda each: each.rows).low < 0.6
    assert found.furthest[0].apart == 1e9
    assert len(found.furthest) == 5


async def test_where_all_is_the_same_there_is_one_bin(log):
    await log.write([*pair(at(1)), *pair(at(2))])
    (found,) = await agreement_of(log).look(at(60))
    assert [(each.low, each.high, each.rows) for each in found.score.histogram] == [(0.0, 0.0, 2)]
    assert (found.same, found.furthest) == (1.0, [])
