"""What a model's pointers name never reaches the journal, whatever the call and whatever comes of it."""

from __future__ import annotations

import msgspec
import pytest

from cloche.errors import ModelFailed
from cloche.gateway import Gateway
from cloche.log.reading import to_json
from cloche.log.redaction import MARKER
from cloche.log.subjects import Subjects
from cloche.registry.bundle import Each
from cloche.values import Prediction, Request

from .conftest import RANKING, Scripted, loaded, version

ROW = {"type": "object", "properties": {"age": {"type": "number"}, "name": {"type": "string"}}}
ANN = "Ann-Marker"


def serve(gateway, served, redact=(), of_version=()):
    manifest = msgspec.structs.replace(served.manifest, redact=of_version)
    now = loaded(msgspec.structs.replace(served, manifest=manifest))
    gateway.loaded = msgspec.structs.replace(
        now, models={"toy": msgspec.structs.replace(now.models["toy"], redact=redact)}
    )


async def record_of(gateway, journal, body, **said):
    await gateway.answer(Request("toy", msgspec.json.encode(body), **said))
    assert ANN.encode() not in journal.records[-1].personal
    return to_json(journal.records[-1])


async def test_the_pointers_of_routing_and_version_count_in_every_row(gateway, journal):
    served = version("1.0.0", Scripted(lambda rows: [{"to": row.get("name"), "ok": 1} for row in rows]), ROW)
    serve(gateway, served, ("/input/name",), ("/output/to",))
    read = await record_of(gateway, journal, {"input": {"age": 1, "name": ANN}})
    assert (read["input"], read["output"]) == ({"age": 1, "name": MARKER}, {"to": MARKER, "ok": 1})
    assert read["redacted"] == ("/input/name", "/output/to")
    body = {"inputs": [{"age": 1, "name": ANN}, {"age": 2}], "parameters": {"a": 1}}
    read = await record_of(gateway, journal, body)
    assert read["inputs"] == [{"age": 1, "name": MARKER}, {"age": 2}]
    assert read["outputs"] == [{"to": MARKER, "ok": 1}] * 2
    assert read["parameters"] == {"a": 1}


async def test_the_caller_and_the_model_get_what_was_asked(gateway, journal):
    runtime = Scripted(lambda rows: [row["name"] for row in rows])
    serve(gateway, version("1.0.0", runtime, ROW), ("/input/name", "/output"))
    reply = await gateway.answer(Request("toy", msgspec.json.encode({"input": {"name": ANN}})))
    assert ANN.encode() in runtime.asked[0].payload
    assert ANN in msgspec.json.encode(reply.answer).decode()


async def test_failures_refusals_and_what_was_printed_do_not_repeat_it(gateway, journal):
    def fail(rows):
        raise ModelFailed(id="x", private={"traceback": f"KeyError: '{ANN}'", "printed": f"looking for {ANN}"})

    serve(gateway, version("1.0.0", Scripted(fail), ROW), ("/input/name",))
    with pytest.raises(ModelFailed):
        await gateway.answer(Request("toy", msgspec.json.encode({"input": {"name": ANN}})))
    read = to_json(journal.records[-1])
    assert (read["traceback"], read["printed"]) == (f"KeyError: '{MARKER}'", f"looking for {MARKER}")
    said = msgspec.Raw(msgspec.json.encode({"code": "unknown", "message": f"no price for {ANN}", "path": "/name"}))
    serve(gateway, version("1.0.0", Scripted(lambda _: Prediction(b"[null]", {0: said})), ROW), ("/input/name",))
    read = await record_of(gateway, journal, {"input": {"name": ANN}})
    assert read["refusal"]["message"] == f"no price for {MARKER}"


async def test_rankings_leave_columns_out_and_keep_their_order(gateway, journal):
    each = Each("/items", "sku")
    runtime = Scripted(lambda rows: [[{"sku": ANN, "score": 2.0}, {"sku": "b", "score": 1.0}]])
    call = {"visitor": ANN, "items": [{"sku": "b", "price": 3}, {"sku": ANN, "price": 4}]}
    served = version("1.0.0", runtime, RANKING, each)
    serve(gateway, served, ("/input/visitor", "/input/items/*/sku"), ("/output/*/sku",))
    read = await record_of(gateway, journal, {"input": call})
    assert read["input"] == {"visitor": MARKER, "items": [{"sku": MARKER, "price": 3}, {"sku": MARKER, "price": 4}]}
    assert read["output"] == [{"sku": MARKER, "score": 2.0}, {"sku": MARKER, "score": 1.0}]
    serve(gateway, served, ("/input/visitor", "/input/items/*/price"))
    await gateway.answer(Request("toy", msgspec.json.encode({"input": call})))
    read = to_json(journal.records[-1])
    assert [item["price"] for item in read["input"]["items"]] == [MARKER, MARKER]
    assert read["output"][0] == {"sku": ANN, "score": 2.0}


async def test_an_hmac_stands_for_the_subject_in_all_of_a_record(journal):
    gateway = Gateway(journal, subjects=Subjects(b"key"))
    runtime = Scripted(lambda rows: [f"for {row['name']}" for row in rows])
    serve(gateway, version("1.0.0", runtime, ROW))
    await gateway.answer(Request("toy", msgspec.json.encode({"input": {"name": ANN}}), subject=ANN))
    read = to_json(journal.records[-1])
    assert read["subject"] == read["input"]["name"] == Subjects(b"key").recorded(ANN)
    assert runtime.asked[0].context.subject == ANN, "the model is told the plain one"
    await gateway.answer(Request("toy", msgspec.json.encode({"input": {"name": "Bob"}})))
    assert to_json(journal.records[-1])["subject"] is None


async def test_who_asks_for_nothing_pays_nothing(gateway, journal, monkeypatch):
    monkeypatch.setattr("cloche.gateway.redact.Redaction", None)
    await gateway.answer(Request("toy", b'{"input": {"age": 1}}', subject=ANN))
    assert to_json(journal.records[-1])["subject"] == ANN
