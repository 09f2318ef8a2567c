"""The arms are read from a real log: everything that counts, once."""

from __future__ import annotations

import random

import msgspec
import pytest
from arms import Log, call, manifest

from cloche.errors import SinkUnavailable
from cloche.insight.observe import Arms, Observer, score_of
from cloche.registry.bundle import Each
from cloche.registry.traffic import Rollout, RolloutPlan

BEGAN_US = 1_800_000_000_000_000
LATE_MS = 11_000


def observer(log: Log, **fields) -> Observer:
    arms = Arms("delays", manifest("2.0.0", **fields), manifest(**fields), LATE_MS)
    return Observer(log.reader, arms, Rollout("2.0.0", "1.0.0", RolloutPlan(), "progressing", 0, 0, BEGAN_US))


def at(seconds: float) -> int:
    return BEGAN_US + int(seconds * 1e6)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


async def test_nothing_is_seen_of_an_empty_log(log):
    window = await observer(log).look(at(5))
    assert (window.canary.calls, window.stable.calls) == (0, 0)


async def test_both_arms_are_counted(log):
    await log.write(
        [
            call(1, at(1)),
            call(2, at(2), outcome="refused"),
            call(3, at(3), outcome="model_failed"),
            call(4, at(4), fallback="deadline_exceeded"),
            call(5, at(5), "1.0.0", latency_us=5_000),
            call(6, at(6), "1.0.0", outcome="invalid_output"),
        ]
    )
    window = await observer(log).look(at(10))
    assert (window.canary.calls, window.canary.errors, window.canary.fallback, window.canary.timeouts) == (4, 1, 1, 1)
    assert (window.stable.calls, window.stable.errors, window.stable.invalid_output) == (2, 1, 1)
    assert window.in_a_row == 2
    assert (window.beside, window.beside_failed) == (2, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "shadow"},
        {"kind": "history"},
        {"variant": None, "reason": "explicit"},
        {"variant": None, "reason": "pilot"},
        {"reason": "experiment:colors"},
        {"model": "another"},
        {"version": "3.0.0"},
        {"version": "1.0.0", "variant": "canary"},
        {"time_us": at(-1)},
    ],
)
async def test_other_calls_do_not_count(log, fields):
    await log.write([msgspec.structs.replace(call(1, at(1)), **fields)])
    window = await observer(log).look(at(60))
    assert (window.canary.calls, window.stable.calls) == (0, 0)


async def test_no_record_is_counted_twice_and_late_ones_are_not_lost(log):
    """Records come into the log up to their deadline later, in any order; looks are at any time."""
    chance = random.Random(7)
    versions = [chance.choice(["1.0.0", "2.0.0"]) for _ in range(400)]
    calls = [call(number, at(number / 4), version) for number, version in enumerate(versions)]
    comes = sorted((number / 4 + chance.uniform(0, LATE_MS / 1000 - 0.5), number) for number in range(400))
    watching = observer(log)
    for until in range(0, 120, 3):
        await log.write([calls[number] for came, number in comes if until - 3 <= came < until])
        window = await watching.look(at(until))
        seen = [versions[number] for came, number in comes if came < until]
        assert (window.canary.calls, window.stable.calls) == (seen.count("2.0.0"), seen.count("1.0.0"))
    anew = await observer(log).look(at(200))
    assert anew == await watching.look(at(200))
    assert anew.canary.calls + anew.stable.calls == 400


async def test_what_is_settled_is_not_read_again(log):
    await log.write([call(number, at(number)) for number in range(20)])
    watching = observer(log)
    await watching.look(at(25))
    scans = []
    scan = watching._log.scan
    watching._log.scan = lambda wanted: scans.append(wanted.since_us) or scan(wanted)
    for seconds in (26, 27, 40):
        await watching.look(at(seconds))
    newest = at(19) - LATE_MS * 1000
    assert scans == [BEGAN_US, newest, newest], "the first look can't know how far the log has come"


async def test_what_is_shipped_very_late_is_not_lost(log):
    """A sink that was not there for a while, or a keeper that got no processor: all comes, half a minute late."""
    calls = [call(number, at(number), "2.0.0" if number % 2 else "1.0.0") for number in range(120)]
    watching = observer(log)
    for until in range(0, 160, 2):
        await log.write([calls[number] for number in range(120) if until - 2 <= number + 30 < until])
        window = await watching.look(at(until))
    assert (window.canary.calls, window.stable.calls) == (60, 60)


@pytest.mark.parametrize("code", ["deadline_exceeded", "overloaded"])
async def test_a_caller_in_a_hurry_harms_no_version(log, code):
    await log.write(
        [
            *(call(number, at(number), outcome=code, hurried=True) for number in range(10)),
            call(10, at(10), "1.0.0", fallback=code, hurried=True),
            call(11, at(11), fallback=code),
            call(12, at(12), hurried=True),
            call(13, at(13), outcome="model_failed", hurried=True),
        ]
    )
    window = await observer(log).look(at(20))
    assert (window.canary.calls, window.canary.errors, window.canary.fallback, window.in_a_row) == (3, 1, 1, 1)
    assert window.stable.calls == 0


async def test_a_look_that_breaks_off_counts_nothing(log):
    await log.write([call(number, at(number)) for number in range(20)])
    watching = observer(log)
    scan = watching._log.scan

    async def breaks_off(wanted):
        async for record in scan(wanted):
            if record.time_us == at(5):
                raise SinkUnavailable(where="here", reason="locked")
            yield record

    watching._log.scan = breaks_off
    with pytest.raises(SinkUnavailable):
        await watching.look(at(60))
    watching._log.scan = scan
    assert (await watching.look(at(60))).canary.calls == 20


async def test_scores_are_compared_only_where_both_versions_have_one(log):
    await log.write([call(1, at(1), answer=b"[0.25]"), call(2, at(2), "1.0.0", answer=b"[0.75]")])
    window = await observer(log).look(at(5))
    assert [score for _, score in window.canary.scores] == [0.25]
    assert [score for _, score in window.stable.scores] == [0.75]
    window = await observer(log, score=None).look(at(5))
    assert [score for _, score in window.canary.scores] == [None]


@pytest.mark.parametrize(
    ("answer", "fields", "score"),
    [
        (b"[0.5,7]", {}, 0.5),
        (b"[true]", {}, 1.0),
        (b'[{"probabilities":{"a/b":0.25}}]', {"score": "/probabilities/a~1b"}, 0.25),
        (b'[{"parts":[1,2]}]', {"score": "/parts/1"}, 2.0),
        (b'["late"]', {}, None),
        (b"[null]", {}, None),
        (b"[]", {}, None),
        (b'[{"x":1}]', {"score": "/y"}, None),
        (b'[{"x":[]}]', {"score": "/x"}, None),
        (b"[1]", {"score": None}, None),
        (b'[[{"id":"a","score":3},{"id":"b","score":2}]]', {"score": None, "each": Each("/items", "id")}, 3.0),
        (b"[[]]", {"score": None, "each": Each("/items", "id")}, None),
    ],
)
def test_the_score_of_an_answer(answer, fields, score):
    assert score_of(call(1, 0, answer=answer), manifest(**fields)) == score


def test_an_erased_or_damaged_answer_has_no_score():
    assert score_of(msgspec.structs.replace(call(1, 0), personal=b""), manifest()) is None
    assert score_of(msgspec.structs.replace(call(1, 0), personal=b"\xff"), manifest()) is None
