"""Shadows are asked beside live calls, and nothing of that can be felt there."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloche.errors import DeadlineExceeded, ModelFailed, PoisonInput, SchemaMismatch, ServingError, WorkerCrashed
from cloche.gateway import Gateway, later, shadow
from cloche.gateway.clock import Clock
from cloche.gateway.loaded import Loaded, LoadedShadow, LoadedVersion, Pick, Split, StandIn, Traffic
from cloche.gateway.peek import Peek
from cloche.gateway.shadow import MOST_CALLS
from cloche.log.columns import unpack, unpack_output
from cloche.registry.bundle import Each
from cloche.registry.standing import Shadowed
from cloche.values import Personal, Prediction, Record, Request

from .conftest import RANKING, SCHEMA, Journal, Scripted, loaded, version

BODY = b'{"input":{"age":4},"subject":"ann","parameters":{"color":"red"}}'
IMPATIENT = pytest.mark.usefixtures("impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come at once, and nobody is patient."""
    monkeypatch.setattr(later, "_PAUSE_S", 0.0)
    monkeypatch.setattr(shadow, "PATIENCE_S", 0.05)


def shadowed(live: LoadedVersion, beside: LoadedVersion, share: float = 1.0, **stated: int) -> Loaded:
    model = loaded(live, beside, **stated).models["toy"]
    return Loaded({"toy": replace(model, shadow=LoadedShadow(beside, share))})


def doubling(rows: list[Any]) -> list[float]:
    return [row["age"] * 2 for row in rows]


def tripling(rows: list[Any]) -> list[float]:
    return [row["age"] * 3 for row in rows]


def versions(**options: Any) -> tuple[LoadedVersion, LoadedVersion]:
    return version("1.0.0", Scripted(doubling)), version("2.0.0", Scripted(tripling, **options))


async def quiet(gateway: Gateway) -> None:
    """Return once no shadow is asked or waits, and every record is kept."""
    while tasks := [line.task for line in gateway.shadows._lines.values() if line.task]:
        await asyncio.gather(*tasks)
    gateway.shadows._later.flush()
    await asyncio.sleep(0)


def personal(record: Record) -> Personal:
    return msgspec.msgpack.decode(record.personal, type=Personal)


def dropped(gateway: Gateway) -> dict[str, int]:
    return {reason: count for (_, _, reason), count in gateway.shadows.tally.dropped.items()}


async def test_a_shadow_is_asked_the_same_and_only_recorded(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = shadowed(*versions())
    reply = await gateway.answer(Request("toy", BODY, caller="key"))
    assert msgspec.json.decode(msgspec.json.encode(reply.answer))["output"] == 8.0
    assert [record.kind for record in journal.records] == ["live"]
    await quiet(gateway)
    live, beside = journal.records
    assert (beside.kind, beside.version, beside.reason, beside.variant) == ("shadow", "2.0.0", "shadow", None)
    assert (beside.shadows, beside.time_us, beside.outcome) == (live.id, live.time_us, "ok")
    assert beside.id != live.id
    assert (beside.caller, beside.rows, beside.exposure, beside.release) == ("key", 1, None, 7)
    said = personal(beside)
    assert (said.subject, said.parameters) == ("ann", {"color": "red"})
    assert (unpack(said.input), unpack(said.output)) == ([{"age": 4.0}], [12.0])


async def test_it_counts_apart_from_live_calls(gateway: Gateway) -> None:
    gateway.loaded = shadowed(*versions())
    for _ in range(3):
        await gateway.answer(Request("toy", BODY))
        await quiet(gateway)
    assert dict(gateway.tally.calls) == {("toy", "1.0.0", "ok"): 3}
    assert list(gateway.tally.latency) == [("toy", "1.0.0")]
    assert gateway.shadows.counts() == [Shadowed("toy", "2.0.0", 3, {"ok": 3}, {})]


async def test_it_is_told_the_moment_of_the_live_call_and_an_id_of_its_own(gateway: Gateway) -> None:
    live, beside = versions()
    gateway.loaded = shadowed(live, beside)
    reply = await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    (asked,), (told,) = live.runtime.asked, beside.runtime.asked
    assert told.context == replace(asked.context, id=told.context.id)
    assert told.context.id != reply.answer.id
    assert told.deadline_ms == 1000


async def test_a_hurried_caller_hurries_no_shadow(gateway: Gateway, journal: Journal) -> None:
    live, beside = versions(takes_s=0.1)
    gateway.loaded = shadowed(live, beside)
    await gateway.answer(Request("toy", BODY, deadline_ms=50))
    await quiet(gateway)
    assert journal.records[1].outcome == "ok"


async def test_the_live_answer_waits_for_nothing(gateway: Gateway) -> None:
    hangs = asyncio.Event()
    live, beside = versions()
    beside.runtime.predict = lambda ask, deadline: hangs.wait()
    gateway.loaded = shadowed(live, beside)
    for _ in range(5):
        async with asyncio.timeout(0.5):
            await gateway.answer(Request("toy", BODY))
    assert gateway.shadows.tally.asked == {("toy", "2.0.0"): 1}
    assert gateway.shadows.waiting == 4
    await gateway.shadows.close()


async def test_it_is_asked_only_once_the_answer_is_on_its_way(gateway: Gateway) -> None:
    live, beside = versions()
    gateway.loaded = shadowed(live, beside)
    pending = await gateway.begin(Request("toy", BODY))
    await asyncio.sleep(0.02)
    assert not beside.runtime.asked
    gateway.finish(pending)
    assert not beside.runtime.asked
    await quiet(gateway)
    assert beside.runtime.asked


async def test_an_answer_that_is_not_kept_is_not_shadowed(gateway: Gateway, journal: Journal) -> None:
    live, beside = versions()
    gateway.loaded = shadowed(live, beside)
    journal.full = True
    with pytest.raises(Exception, match="the disk is full"):
        await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert not beside.runtime.asked


async def test_where_the_live_version_fails_the_shadow_is_asked_too(gateway: Gateway, journal: Journal) -> None:
    def failing(rows: list[Any]) -> Any:
        raise ModelFailed(id="x", private={"traceback": "ZeroDivisionError"})

    gateway.loaded = shadowed(version("1.0.0", Scripted(failing)), versions()[1])
    with pytest.raises(ModelFailed):
        await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert [record.outcome for record in journal.records] == ["model_failed", "ok"]


@pytest.mark.parametrize(
    ("error", "outcome", "failure"),
    [
        (ModelFailed(id="x", private={"traceback": "KeyError", "printed": "hm"}), "model_failed", "KeyError"),
        (WorkerCrashed(model="toy", version="2.0.0"), "worker_crashed", "cloche models logs toy"),
        (SchemaMismatch(model="toy", version="2.0.0", faults=[]), "schema_mismatch", "does not fit the schema"),
        (ZeroDivisionError(), "unforeseen", None),
    ],
)
async def test_how_a_shadow_fails_is_its_own_affair(
    gateway: Gateway, journal: Journal, error: Exception, outcome: str, failure: str | None
) -> None:
    def failing(rows: list[Any]) -> Any:
        raise error

    gateway.loaded = shadowed(versions()[0], version("2.0.0", Scripted(failing)))
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert dict(gateway.shadows.tally.outcomes) == {("toy", "2.0.0", outcome): 1}
    if failure is not None:
        record = journal.records[1]
        assert (record.kind, record.outcome) == ("shadow", outcome)
        assert failure in (personal(record).failure or "")
    assert dict(gateway.tally.calls) == {("toy", "1.0.0", "ok"): 1}


async def test_no_fallback_answers_for_a_shadow(gateway: Gateway, journal: Journal) -> None:
    def failing(rows: list[Any]) -> Any:
        raise ModelFailed(id="x")

    live, beside = versions()[0], version("2.0.0", Scripted(failing))
    model = shadowed(live, beside).models["toy"]
    gateway.loaded = Loaded({"toy": replace(model, fallback=(StandIn("constant", constant=7),))})
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert (journal.records[1].outcome, journal.records[1].fallback) == ("model_failed", None)


async def test_a_body_that_the_shadow_does_not_take_is_its_outcome(gateway: Gateway, journal: Journal) -> None:
    narrower = {**SCHEMA, "properties": {"age": {"type": "number", "maximum": 3}}}
    gateway.loaded = shadowed(versions()[0], version("2.0.0", Scripted(tripling), narrower))
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    record = journal.records[1]
    assert (record.outcome, record.rows, record.shadows) == ("schema_mismatch", 1, journal.records[0].id)
    assert "/input/age" in (personal(record).failure or "")
    assert unpack(personal(record).input) == [{"age": 4.0}]
    assert not gateway.tally.refused


async def test_a_ranking_is_shadowed_by_a_ranking(gateway: Gateway, journal: Journal) -> None:
    each = Each("/items", "sku")
    one, other = [{"sku": "b", "score": 2.0}, {"sku": "a", "score": 1.0}], [{"sku": "a", "score": 7.0}]
    gateway.loaded = shadowed(
        version("1.0.0", Scripted(lambda calls: [one]), RANKING, each),
        version("2.0.0", Scripted(lambda calls: [other]), RANKING, each),
    )
    call = {"visitor": "v", "items": [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2.5}]}
    await gateway.answer(Request("toy", json.dumps({"input": call}).encode()))
    await quiet(gateway)
    kept = [personal(record) for record in journal.records]
    assert [unpack_output(said.output, said.input) for said in kept] == [one, other]


async def test_what_it_prints_and_refuses_is_in_its_record(gateway: Gateway, journal: Journal) -> None:
    no = msgspec.Raw(b'{"code":"too_young","message":"no"}')
    answer = Prediction(b"[null]", {0: no}, printed="hello")
    gateway.loaded = shadowed(versions()[0], version("2.0.0", Scripted(lambda rows: answer)))
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    record = journal.records[1]
    assert (record.outcome, personal(record).printed) == ("refused", "hello")


# ── who is drawn ──


async def test_calls_that_name_a_version_are_not_shadowed(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = shadowed(*versions())
    await gateway.answer(Request("toy", BODY, version="1.0.0"))
    await gateway.answer(Request("toy", BODY, version="2.0.0"))
    await quiet(gateway)
    assert [record.kind for record in journal.records] == ["live", "live"]


async def test_a_call_that_the_version_answers_is_not_put_to_it_again(gateway: Gateway, journal: Journal) -> None:
    live, beside = versions()
    model = shadowed(live, beside).models["toy"]
    chosen = Traffic(split=Split(Pick(beside, None, "default")), peek=Peek([]), needs_body=False)
    gateway.loaded = Loaded({"toy": replace(model, traffic=chosen)})
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert [(record.version, record.kind) for record in journal.records] == [("2.0.0", "live")]


async def test_a_share_of_the_calls_is_drawn(gateway: Gateway) -> None:
    calls, share = 2000, 0.2
    pendings = []
    gateway.loaded = shadowed(*versions(), share=share)
    for _ in range(calls):
        pendings.append(await gateway.begin(Request("toy", BODY)))
    drawn = sum(pending.beside is not None for pending in pendings)
    assert abs(drawn - calls * share) < 5 * (calls * share * (1 - share)) ** 0.5
    gateway.loaded = shadowed(*versions(), share=0.0)
    assert (await gateway.begin(Request("toy", BODY))).beside is None


async def test_without_a_shadow_nothing_of_a_call_is_held(gateway: Gateway) -> None:
    assert (await gateway.begin(Request("toy", BODY))).beside is None


@given(st.binary(min_size=16, max_size=16), st.floats(0, 1), st.floats(0, 1))
async def test_a_larger_share_draws_all_that_a_smaller_one_did(identity: bytes, one: float, other: float) -> None:
    class Kept:
        def append(self, record: bytes) -> asyncio.Future[None]:
            kept = asyncio.get_running_loop().create_future()
            kept.set_result(None)
            return kept

    gateway = Gateway(Kept(), Clock(new_id=lambda: ("x", identity)))
    drawn = []
    for share in sorted((one, other)):
        gateway.loaded = shadowed(*versions(), share=share)
        pending = await gateway.begin(Request("toy", BODY))
        drawn.append(pending.beside is not None)
    assert drawn[0] <= drawn[1]


# ── what is dropped ──


@IMPATIENT
async def test_a_full_queue_drops_what_comes(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    live, beside = versions()
    beside.runtime.busy = True
    gateway.loaded = shadowed(live, beside)
    for _ in range(MOST_CALLS + 5):
        gateway.finish(await gateway.begin(Request("toy", BODY)))
    assert (gateway.shadows.waiting, dropped(gateway)) == (MOST_CALLS, {"queue_full": 5})
    await quiet(gateway)
    assert dropped(gateway) == {"queue_full": 5, "version_busy": MOST_CALLS}
    assert (gateway.shadows.waiting, gateway.shadows._bytes) == (0, 0)
    monkeypatch.setattr(shadow, "MOST_BYTES", len(BODY) - 1)
    gateway.finish(await gateway.begin(Request("toy", BODY)))
    assert dropped(gateway)["queue_full"] == 6


@IMPATIENT
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (("2.0.0", "busy", True), "version_busy"),
        (("2.0.0", "state", "starting"), "not_ready"),
        (("1.0.0", "waiting", 1), "live_calls_wait"),
    ],
)
async def test_what_is_in_the_way_is_waited_for_and_then_counted(
    gateway: Gateway, trouble: tuple[str, str, Any], reason: str
) -> None:
    live, beside = versions()
    number, name, value = trouble
    runtime = (live if number == "1.0.0" else beside).runtime
    usual = getattr(runtime, name)
    gateway.loaded = shadowed(live, beside)
    setattr(runtime, name, value)
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert dropped(gateway) == {reason: 1}
    await gateway.answer(Request("toy", BODY))
    await asyncio.sleep(0.02)
    setattr(runtime, name, usual)
    await quiet(gateway)
    assert dict(gateway.shadows.tally.outcomes) == {("toy", "2.0.0", "ok"): 1}


@IMPATIENT
async def test_a_turn_full_of_live_calls_comes_first(gateway: Gateway) -> None:
    """The loop is kept busy as live calls would: whatever comes to its turn holds it for longer than a shadow may."""
    gateway.loaded = shadowed(*versions())
    await gateway.answer(Request("toy", BODY))
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        time.sleep(0.008)
        await asyncio.sleep(0)
    await quiet(gateway)
    assert dropped(gateway) == {"live_calls_wait": 1}


@IMPATIENT
@pytest.mark.parametrize("failure", [WorkerCrashed, PoisonInput])
async def test_a_version_that_crashes_is_left_alone_for_longer_and_longer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, failure: type[ServingError]
) -> None:
    monkeypatch.setattr(shadow, "TROUBLE_REST_S", 0.2)

    def crash(rows: list[Any]) -> Any:
        raise failure(model="toy", version="2.0.0")

    live, beside = versions()[0], version("2.0.0", Scripted(crash))
    gateway.loaded = shadowed(live, beside)
    began, asked = time.monotonic(), []
    while len(asked) < 3:
        await gateway.answer(Request("toy", BODY))
        await quiet(gateway)
        if len(beside.runtime.asked) > len(asked):
            asked.append(time.monotonic() - began)
    assert asked[1] - asked[0] > 0.15
    assert asked[2] - asked[1] > 0.35
    assert set(dropped(gateway)) == {"failing"}
    beside.runtime.model = tripling
    while not gateway.shadows.tally.outcomes["toy", "2.0.0", "ok"]:
        await gateway.answer(Request("toy", BODY))
        await quiet(gateway)
    assert gateway.shadows._lines[beside.digest].troubles == 0


async def test_a_timeout_is_a_trouble_too(gateway: Gateway, journal: Journal) -> None:
    live, beside = versions(takes_s=5)
    gateway.loaded = shadowed(live, beside, deadline_ms=30)
    await gateway.answer(Request("toy", BODY))
    await quiet(gateway)
    assert journal.records[1].outcome == DeadlineExceeded.code
    await gateway.answer(Request("toy", BODY))
    assert gateway.shadows._lines[beside.digest].rests_for == "failing"


class Holding(Scripted):
    """Runs in the gateway, and holds it up."""

    def __init__(self, holds_s: float) -> None:
        super().__init__(self._hold)
        self.holds_s = holds_s
        self.held_s = 0.0

    def _hold(self, rows: list[Any]) -> list[int]:
        began = time.perf_counter()
        while time.perf_counter() - began < self.holds_s:
            pass
        self.held_s += time.perf_counter() - began
        return [1]


def inline(number: str, holds_s: float) -> LoadedVersion:
    made = version(number, Holding(holds_s))
    return replace(made, manifest=replace(made.manifest, flavor="onnx"))


@pytest.mark.parametrize(
    ("live_s", "shadow_s", "least", "most"),
    [
        (0.0, 0.0005, 0.002, 0.08),
        (0.0, 0.003, 0.0, 0.02),
        (0.003, 0.003, 0.01, 0.08),
    ],
)
async def test_shadows_have_a_bounded_part_of_the_gateways_time(
    gateway: Gateway, live_s: float, shadow_s: float, least: float, most: float
) -> None:
    """It is little, and less where each could be felt because it is heavier than the live calls."""
    beside = inline("2.0.0", shadow_s)
    gateway.loaded = shadowed(inline("1.0.0", live_s), beside)
    began = time.perf_counter()
    while time.perf_counter() - began < 1.0:
        gateway.finish(await gateway.begin(Request("toy", BODY)))
        await asyncio.sleep(0.002)
    share = beside.runtime.held_s / (time.perf_counter() - began)
    await gateway.shadows.close()
    assert beside.runtime.held_s > 0
    assert least < share < most


async def test_one_hung_shadow_does_not_keep_another_from_being_asked(gateway: Gateway) -> None:
    hangs = asyncio.Event()
    live, hung = versions()
    hung.runtime.predict = lambda ask, deadline: hangs.wait()
    other = version("3.0.0", Scripted(tripling))
    fine = replace(shadowed(live, other).models["toy"], name="fine")
    gateway.loaded = Loaded({**shadowed(live, hung).models, "fine": fine})
    await gateway.answer(Request("toy", BODY))
    await gateway.answer(Request("fine", BODY))
    await asyncio.wait([gateway.shadows._lines[other.digest].task])
    assert dict(gateway.shadows.tally.outcomes) == {("fine", "3.0.0", "ok"): 1}
    await gateway.shadows.close()


# ── records, and the end ──


async def test_records_go_to_the_journal_together(
    gateway: Gateway, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later, "_PAUSE_S", 3600)
    live, beside = versions()
    gateway.loaded = shadowed(live, beside)
    for _ in range(3):
        await gateway.answer(Request("toy", BODY))
    while len(beside.runtime.asked) < 3 or any(line.task for line in gateway.shadows._lines.values()):
        await asyncio.sleep(0.005)
    assert [record.kind for record in journal.records] == ["live"] * 3
    await gateway.shadows.close()
    assert [record.kind for record in journal.records[3:]] == ["shadow"] * 3


@pytest.mark.parametrize("trouble", ["full", "closed"])
async def test_records_that_the_log_does_not_take_are_counted(gateway: Gateway, journal: Journal, trouble: str) -> None:
    gateway.loaded = shadowed(*versions())
    await gateway.answer(Request("toy", BODY))
    setattr(journal, trouble, True)
    await quiet(gateway)
    assert gateway.shadows.tally.lost_records[()] == 1
    assert len(journal.records) == 1


async def test_closing_drops_what_waits_and_keeps_what_was_answered(gateway: Gateway, journal: Journal) -> None:
    live, beside = versions(takes_s=0.1)
    gateway.loaded = shadowed(live, beside)
    for _ in range(4):
        await gateway.answer(Request("toy", BODY))
    while not beside.runtime.asked:
        await asyncio.sleep(0)
    await gateway.shadows.close()
    assert dropped(gateway) == {"stopping": 3}
    assert [record.kind for record in journal.records] == ["live"] * 4 + ["shadow"]
    await gateway.answer(Request("toy", BODY))
    assert dropped(gateway) == {"stopping": 4}


async def test_closing_does_not_wait_for_a_hung_one(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "CLOSE_S", 0.05)
    hangs = asyncio.Event()
    live, beside = versions()
    beside.runtime.predict = lambda ask, deadline: hangs.wait()
    gateway.loaded = shadowed(live, beside)
    await gateway.answer(Request("toy", BODY))
    await asyncio.sleep(0.02)
    async with asyncio.timeout(2):
        await gateway.shadows.close()
    assert all(line.task is None or line.task.done() for line in gateway.shadows._lines.values())


async def test_nothing_is_lost_or_counted_twice(gateway: Gateway, journal: Journal) -> None:
    """Every drawn call is either asked and recorded, or dropped; whatever happens in between."""
    calls = 3000 if os.environ.get("CLOCHE_PROVE") == "1" else 300
    moods = itertools.cycle([None, None, None, ModelFailed(id="x"), SchemaMismatch(model="", version="", faults=[])])

    def moody(rows: list[Any]) -> list[int]:
        if error := next(moods):
            raise error
        return [1]

    gateway.loaded = shadowed(versions()[0], version("2.0.0", Scripted(moody)), share=0.7)
    drawn = 0
    for number in range(calls):
        pending = await gateway.begin(Request("toy", BODY))
        drawn += pending.beside is not None
        gateway.finish(pending)
        if number % 7 == 0:
            await asyncio.sleep(0.001)
    await quiet(gateway)
    (counts,) = gateway.shadows.counts()
    assert counts.asked == sum(counts.outcomes.values())
    assert counts.asked + sum(counts.dropped.values()) == drawn
    kinds = [record.kind for record in journal.records]
    assert (kinds.count("live"), kinds.count("shadow")) == (calls, counts.asked)
    lives = {record.id for record in journal.records if record.kind == "live"}
    beside = [record.shadows for record in journal.records if record.kind == "shadow"]
    assert len(set(beside)) == len(beside)
    assert set(beside) <= lives
