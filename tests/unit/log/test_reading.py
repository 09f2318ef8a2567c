from __future__ import annotations

import json

import msgspec
import pytest

from cloche.log.columns import pack_call, pack_ranking, pack_text
from cloche.log.reading import timestamp, to_json
from cloche.testing import make_record
from cloche.values import Personal


def test_a_plain_call_reads_as_it_was_sent():
    record = make_record(5)
    read = to_json(record)
    assert read["input"] == {"number": 5}
    assert read["output"] == {"label": 5}
    assert read["time"] == "2026-01-01T00:00:00.000005Z"
    assert read["timings_us"] == {"choose": 1, "validate": 2, "enrich": 3, "predict": 4, "decide": 5}
    assert read["id"].replace("-", "") == record.id.hex()
    assert (read["subject"], read["refusal"], read["traceback"], read["printed"]) == ("subject-5", None, None, "")
    assert json.loads(json.dumps(read)) == read


def test_many_rows_read_as_lists():
    personal = Personal(
        input=pack_text(b'[{"a":1},{"a":2}]'),
        output=pack_text(b'[{"y":1},null]'),
        refusals={1: pack_text(b'{"code":"no"}')},
    )
    read = to_json(make_record(1, personal, many=True, rows=2))
    assert read["inputs"] == [{"a": 1}, {"a": 2}]
    assert read["outputs"] == [{"y": 1}, None]
    assert read["refusals"] == [{"row": 1, "code": "no"}]
    assert "input" not in read


def test_a_refusal_a_failure_and_a_ranking_read_as_they_were_answered():
    refused = Personal(
        input=pack_text(b'[{"a":1}]'), output=pack_text(b"[null]"), refusals={0: pack_text(b'{"code":"no"}')}
    )
    read = to_json(make_record(1, refused))
    assert (read["input"], read["output"], read["refusal"]) == ({"a": 1}, None, {"code": "no"})
    failed = to_json(make_record(1, Personal(input=pack_text(b'[{"a":1}]'), failure="Traceback", printed="hello")))
    assert (failed["output"], failed["traceback"], failed["printed"]) == (None, "Traceback", "hello")
    call = {"visitor": "v", "items": [{"id": "a", "x": 1.5}, {"id": "b", "x": 2.5}]}
    ranked = [{"id": "b", "score": 0.2}, {"id": "a", "score": 0.1}]
    ranking = Personal(input=pack_call(call, "/items", frozenset()), output=pack_ranking(ranked, ["a", "b"], "id"))
    read = to_json(make_record(1, ranking))
    assert (read["input"], read["output"]) == (call, ranked)


@pytest.mark.parametrize("data", [b"\xff", b"\x92", msgspec.msgpack.encode(["ann", b"no json"])])
def test_an_erased_and_a_damaged_record_keep_their_envelope(data):
    erased = to_json(make_record(1, personal=b""))
    assert erased["erased"]
    assert erased["model"] == "toy"
    damaged = to_json(make_record(1, personal=data))
    assert damaged["damaged"]
    assert damaged["model"] == "toy"


def test_times_are_rfc_3339_in_utc_with_microseconds():
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1_767_225_599_999_999) == "2025-12-31T23:59:59.999999Z"
