"""The journey of a call through all stations."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from cloche.errors import (
    DeadlineExceeded,
    InvalidJson,
    InvalidOutput,
    LogUnavailable,
    ModelFailed,
    ModelLoading,
    SchemaMismatch,
    ServingError,
    UnknownModel,
    UnknownVersion,
)
from cloche.gateway import Gateway
from cloche.gateway.loaded import Loaded, StandIn
from cloche.log.columns import unpack, unpack_output
from cloche.registry.bundle import Each
from cloche.schema import compile_schema
from cloche.values import Batching, Personal, Prediction, Record, Request

from .conftest import RANKING, SCHEMA, Journal, Scripted, loaded, version


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def told(reply: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(msgspec.json.encode(reply.answer))
    return answer


def personal(record: Record) -> Personal:
    return msgspec.msgpack.decode(record.personal, type=Personal)


async def test_one_row_is_answered_and_recorded(gateway: Gateway, journal: Journal) -> None:
    answer = told(await gateway.answer(Request("toy", body(input={"age": 4}, subject="ann"))))
    assert answer == {
        "id": answer["id"],
        "model": "toy",
        "version": "1.0.0",
        "release": 7,
        "variant": None,
        "output": 8.0,
    }
    (record,) = journal.records
    assert record.id.hex() == answer["id"].replace("-", "")
    assert (record.outcome, record.reason, record.rows, record.many) == ("ok", "default", 1, False)
    assert personal(record).subject == "ann"
    assert unpack(personal(record).input) == [{"age": 4.0}]
    assert unpack(personal(record).output) == [8.0]


async def test_many_rows_are_one_inference(gateway: Gateway, journal: Journal) -> None:
    answer = told(await gateway.answer(Request("toy", body(inputs=[{"age": 1}, {"age": 2}]))))
    assert answer["outputs"] == [2.0, 4.0]
    assert [(record.rows, record.many) for record in journal.records] == [(2, True)]


async def test_the_header_names_the_subject_before_the_body(gateway: Gateway, journal: Journal) -> None:
    await gateway.answer(Request("toy", body(input={"age": 4}, subject="body"), subject="header"))
    assert personal(journal.records[0]).subject == "header"


async def test_an_explicit_version_is_answered_by_it(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = loaded(version("2.0.0", Scripted(lambda rows: [2])), version("1.0.0", Scripted(lambda rows: [1])))
    assert told(await gateway.answer(Request("toy", body(input={"age": 4}), version="1.0.0")))["output"] == 1
    assert journal.records[0].reason == "explicit"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("nobody", b"{}"), UnknownModel),
        (Request("toy", b"{}", version="9.9.9"), UnknownVersion),
        (Request("toy", b"{"), InvalidJson),
        (Request("toy", body(input={"age": "old"})), SchemaMismatch),
        (Request("toy", body(input={"age": 1}, model="other")), SchemaMismatch),
        (Request("toy", body(input={"age": 1}, version="2.0.0")), SchemaMismatch),
        (Request("toy", body(input={"age": 1}, as_of="2026-01-01T00:00:00Z")), SchemaMismatch),
    ],
)
async def test_a_callers_mistake_is_counted_and_not_recorded(
    gateway: Gateway, journal: Journal, request_: Request, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await gateway.answer(request_)
    assert journal.records == []
    assert sum(gateway.tally.refused.values()) == 1


async def test_a_model_that_is_still_loading_is_no_unknown_one(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = Loaded(gateway.loaded.models, frozenset({"late"}))
    with pytest.raises(ModelLoading) as error:
        await gateway.answer(Request("late", b"{}"))
    assert error.value.retry_after_s
    assert journal.records == []


def unfit(rows: list[Any]) -> Any:
    raise SchemaMismatch(model="toy", version="1.0.0", faults=[])


async def test_a_value_that_fits_no_column_is_the_callers_mistake(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = loaded(version("1.0.0", Scripted(unfit)), fallback=(StandIn("constant", constant=1),))
    with pytest.raises(SchemaMismatch):
        await gateway.answer(Request("toy", body(input={"age": 1})))
    assert journal.records == []
    assert dict(gateway.tally.refused) == {("toy", "schema_mismatch"): 1}


async def test_an_unknown_name_makes_no_label(gateway: Gateway) -> None:
    for name in ("a", "b", "../etc"):
        with pytest.raises(UnknownModel):
            await gateway.answer(Request(name, b"{}"))
    assert dict(gateway.tally.refused) == {("", "unknown_model"): 3}


async def test_a_refused_row_is_null_beside_the_others(gateway: Gateway, journal: Journal) -> None:
    no = msgspec.Raw(b'{"code":"too_young","message":"no","path":"/age"}')
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: Prediction(b"[1,null]", {1: no}))))
    answer = told(await gateway.answer(Request("toy", body(inputs=[{"age": 50}, {"age": 2}]))))
    assert answer["outputs"] == [1, None]
    assert answer["refusals"] == [{"row": 1, "code": "too_young", "message": "no", "path": "/age"}]
    (record,) = journal.records
    assert record.outcome == "refused"
    assert unpack(personal(record).refusals[1]) == {"code": "too_young", "message": "no", "path": "/age"}


async def test_a_single_refusal_is_an_answer(gateway: Gateway) -> None:
    no = msgspec.Raw(b'{"code":"too_young","message":"no"}')
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: Prediction(b"[null]", {0: no}))))
    answer = told(await gateway.answer(Request("toy", body(input={"age": 2}))))
    assert answer["output"] is None
    assert answer["refusal"] == {"code": "too_young", "message": "no"}


def failing(rows: list[Any]) -> Any:
    raise ModelFailed(id="x", private={"traceback": "ZeroDivisionError", "printed": "hello"})


async def test_a_failure_is_recorded_for_the_author(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = loaded(version("1.0.0", Scripted(failing)))
    with pytest.raises(ModelFailed) as caught:
        await gateway.answer(Request("toy", body(input={"age": 2})))
    (record,) = journal.records
    assert record.outcome == "model_failed"
    assert caught.value.inference is not None
    assert caught.value.inference.replace("-", "") == record.id.hex()
    assert personal(record).failure == "ZeroDivisionError"
    assert personal(record).printed == "hello"


@pytest.mark.parametrize(
    "error",
    [
        InvalidOutput(id="x", reason="NaN at /price"),
        InvalidOutput(id="x", reason="NaN at /price", private={"traceback": "", "reason": "NaN at /price"}),
        ModelFailed(id="x", private={"traceback": "", "reason": "NaN at /price"}),
    ],
)
async def test_without_a_traceback_the_reason_is_recorded(
    gateway: Gateway, journal: Journal, error: ServingError
) -> None:
    def wrong(rows: list[Any]) -> Any:
        raise error

    gateway.loaded = loaded(version("1.0.0", Scripted(wrong)))
    with pytest.raises(type(error)):
        await gateway.answer(Request("toy", body(input={"age": 2})))
    assert personal(journal.records[0]).failure == "NaN at /price"


async def test_the_time_of_the_station_that_gave_up_is_recorded(gateway: Gateway, journal: Journal) -> None:
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: [1], takes_s=5)))
    with pytest.raises(DeadlineExceeded):
        await gateway.answer(Request("toy", body(input={"age": 2}), deadline_ms=20))
    assert 15_000 < journal.records[0].timings.predict_us < 1_000_000


@pytest.mark.parametrize("trouble", ["full", "closed"])
async def test_no_record_no_answer(gateway: Gateway, journal: Journal, trouble: str) -> None:
    setattr(journal, trouble, True)
    with pytest.raises(LogUnavailable) as caught:
        await gateway.answer(Request("toy", body(input={"age": 2})))
    assert caught.value.inference
    assert dict(gateway.tally.calls) == {("toy", "1.0.0", "log_unavailable"): 1}


async def test_an_answer_that_is_not_kept_yet_is_not_counted(gateway: Gateway, journal: Journal) -> None:
    pending = await gateway.begin(Request("toy", body(input={"age": 2})))
    assert not gateway.tally.calls
    assert gateway.finish(pending).answer.id == pending.answer.id
    assert dict(gateway.tally.calls) == {("toy", "1.0.0", "ok"): 1}


async def test_the_shorter_deadline_counts(gateway: Gateway) -> None:
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: [1], takes_s=5)), deadline_ms=10_000)
    with pytest.raises(DeadlineExceeded, match="20 ms"):
        await gateway.answer(Request("toy", body(input={"age": 2}), deadline_ms=20))


@pytest.mark.parametrize(("deadline_ms", "hurried"), [(None, False), (999, True), (1_000, False), (5_000, False)])
async def test_a_caller_in_a_hurry_is_recorded(
    gateway: Gateway, journal: Journal, deadline_ms: int | None, hurried: bool
) -> None:
    await gateway.answer(Request("toy", body(input={"age": 2}), deadline_ms=deadline_ms))
    assert [record.hurried for record in journal.records] == [hurried]


async def test_a_fallback_answers_and_is_marked(gateway: Gateway, journal: Journal) -> None:
    stand_in = version("0.1.0", Scripted(lambda rows: [0]))
    chain = (StandIn("0.1.0", stand_in), StandIn("constant", constant={"price": None}))
    gateway.loaded = loaded(version("1.0.0", Scripted(failing)), stand_in, fallback=chain)
    answer = told(await gateway.answer(Request("toy", body(input={"age": 2}))))
    assert answer["output"] == 0
    assert answer["fallback"] == {"reason": "model_failed", "answered_by": "0.1.0"}
    (record,) = journal.records
    assert (record.outcome, record.fallback, record.answered_by) == ("ok", "model_failed", "0.1.0")
    assert personal(record).failure == "ZeroDivisionError"


async def test_a_fallback_reads_the_row_itself_and_not_numbers_in_the_order_of_another_version(
    gateway: Gateway,
) -> None:
    chosen, stand_in = version("1.0.0", Scripted(failing)), version("0.1.0", own := Scripted(lambda rows: [0]))
    accept = compile_schema(SCHEMA, names=("toy", "1.0.0"), numbers=["age"])
    chosen = msgspec.structs.replace(chosen, accept=accept)
    gateway.loaded = loaded(chosen, stand_in, fallback=(StandIn("0.1.0", stand_in),))
    await gateway.answer(Request("toy", body(input={"age": 2})))
    assert isinstance(chosen.runtime, Scripted)
    assert [ask.values for ask in chosen.runtime.asked] == [((2.0,),)]
    assert [(ask.values, ask.payload) for ask in own.asked] == [(None, b'[{"age":2.0}]')]


async def test_the_chain_is_followed_to_its_end(gateway: Gateway) -> None:
    stand_in = version("0.1.0", Scripted(failing))
    chain = (StandIn("0.1.0", stand_in), StandIn("constant", constant={"price": 7}))
    gateway.loaded = loaded(version("1.0.0", Scripted(failing)), stand_in, fallback=chain)
    answer = told(await gateway.answer(Request("toy", body(inputs=[{"age": 2}, {"age": 3}]))))
    assert answer["outputs"] == [{"price": 7}, {"price": 7}]
    assert answer["fallback"]["answered_by"] == "constant"


async def test_a_fallback_begins_before_the_deadline(gateway: Gateway) -> None:
    chain = (StandIn("constant", constant=1),)
    slow = version("1.0.0", Scripted(lambda rows: [2], takes_s=5))
    gateway.loaded = loaded(slow, fallback=chain, deadline_ms=60, reserve_ms=40)
    reply = await gateway.answer(Request("toy", body(input={"age": 2})))
    assert told(reply)["fallback"]["reason"] == "deadline_exceeded"
    assert reply.timings.predict_us < 60_000


async def test_a_ranking_is_one_inference_in_order(gateway: Gateway, journal: Journal) -> None:
    each = Each("/items", "sku")
    scored = [{"sku": "b", "score": 2.0}, {"sku": "a", "score": 1.0}]
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda calls: [scored]), RANKING, each))
    call = {"visitor": "v", "items": [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2.5}]}
    answer = told(await gateway.answer(Request("toy", body(input=call))))
    assert answer["output"] == scored
    (record,) = journal.records
    kept = personal(record)
    assert unpack(kept.input) == call
    assert unpack_output(kept.output, kept.input) == scored


async def test_a_ranking_in_input_order_when_all_else_fails(gateway: Gateway) -> None:
    gateway.loaded = loaded(
        version("1.0.0", Scripted(failing), RANKING, Each("/items", "sku")), fallback=(StandIn("input_order"),)
    )
    call = {"visitor": "v", "items": [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2.5}]}
    answer = told(await gateway.answer(Request("toy", body(input=call))))
    assert answer["output"] == [{"sku": "a", "score": None}, {"sku": "b", "score": None}]


async def test_several_rankings_are_several_calls(gateway: Gateway) -> None:
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda calls: [[]]), RANKING, Each("/items", "sku")))
    with pytest.raises(SchemaMismatch):
        await gateway.answer(Request("toy", body(inputs=[{"visitor": "v", "items": []}])))


async def test_everything_is_counted(gateway: Gateway) -> None:
    await gateway.answer(Request("toy", body(input={"age": 2})))
    assert dict(gateway.tally.calls) == {("toy", "1.0.0", "ok"): 1}
    assert sum(gateway.tally.latency["toy", "1.0.0"].buckets) == 1


@pytest.mark.parametrize(
    ("said", "stated", "counts"),
    [
        (None, "default", "default"),
        ("sheddable", "default", "sheddable"),
        ("critical", "default", "default"),
        (None, "critical", "critical"),
        ("default", "critical", "default"),
        ("critical", "sheddable", "sheddable"),
    ],
)
async def test_a_call_matters_as_much_as_its_model_or_as_little_as_its_caller_says(
    gateway: Gateway, journal: Journal, said: Any, stated: Any, counts: str
) -> None:
    model = msgspec.structs.replace(gateway.loaded.models["toy"], criticality=stated)
    gateway.loaded = Loaded({"toy": model})
    await gateway.answer(Request("toy", body(input={"age": 4}), criticality=said, caller="nightly"))
    (asked,) = model.default.runtime.asked
    assert (asked.criticality, asked.caller) == (counts, "nightly")
    assert journal.records[0].hurried == (counts != stated)


async def test_a_routing_says_how_calls_go_together_in_the_place_of_the_version(gateway: Gateway) -> None:
    model = gateway.loaded.models["toy"]
    asked = model.default.runtime.asked
    default = msgspec.structs.replace(model.default, batching=Batching(5, 10))
    gateway.loaded = Loaded({"toy": msgspec.structs.replace(model, default=default)})
    await gateway.answer(Request("toy", body(input={"age": 4})))
    gateway.loaded = Loaded({"toy": msgspec.structs.replace(model, default=default, batching=Batching(0, 99))})
    await gateway.answer(Request("toy", body(input={"age": 4})))
    assert [each.batching for each in asked] == [Batching(5, 10), Batching(0, 99)]


async def test_a_call_whose_caller_is_gone_is_recorded_and_waited_for_no_more(journal: Journal) -> None:
    gateway = Gateway(journal)
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: [1], takes_s=60.0)), deadline_ms=90_000)
    asking = asyncio.create_task(gateway.answer(Request("toy", body(input={"age": 4}))))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [record.outcome for record in journal.records] == ["abandoned"]
    assert gateway.tally.calls["toy", "1.0.0", "abandoned"] == 1


@pytest.mark.parametrize("failure", [None, LogUnavailable(reason="the disk is full")])
async def test_a_call_whose_caller_leaves_while_its_record_is_kept_is_counted(gateway, failure, monkeypatch) -> None:
    kept, appended = asyncio.get_running_loop().create_future(), asyncio.Event()

    def append(_: bytes) -> asyncio.Future[None]:
        appended.set()
        return kept

    monkeypatch.setattr(gateway._journal, "append", append)
    asking = asyncio.create_task(gateway.answer(Request("toy", body(input={"age": 4}))))
    await appended.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    kept.set_result(None) if failure is None else kept.set_exception(failure)
    await asyncio.sleep(0)
    assert gateway.tally.calls["toy", "1.0.0", "log_unavailable" if failure else "ok"] == 1


@pytest.mark.parametrize(
    ("version", "said"),
    [(None, "names no version: POST to /models/toy/versions/VERSION/predict"), ("1.0.0", "names the version 1.0.0")],
)
async def test_a_version_in_the_body_that_is_not_in_the_address_is_refused_with_where_it_goes(gateway, version, said):
    with pytest.raises(SchemaMismatch) as refused:
        await gateway.answer(Request("toy", body(input={"age": 1}, version="2.0.0"), version))
    assert [(fault["pointer"], fault["code"]) for fault in refused.value.faults] == [("/version", "contradiction")]
    assert said in refused.value.faults[0]["message"]
