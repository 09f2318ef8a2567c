"""A model may change the rows that it is given; nobody may be answered from what it made of them."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cloche.model import Refusal
from cloche.runtimes import tables
from cloche.runtimes.tables import by_columns
from cloche.runtimes.worker.answering import Answer, Failed, answer, answer_together
from cloche.runtimes.worker.framing import array_builder, frame_builder
from cloche.runtimes.worker.manifest import Column, Each, Manifest
from cloche.runtimes.worker.values import InvalidRow
from cloche.schema.listing import items_of

ROWS = Manifest(format=1, flavor="python", entry="files/model.pkl")
RANKING = Manifest(format=1, flavor="python", entry="files/model.pkl", each=Each("/items", "sku"))


def doubles(rows: Any, _: Any) -> list[float]:
    for row in rows:
        row["price"]["net"] *= 2
    if any(row["price"]["net"] < 0 for row in rows):
        raise Refusal("negative", "no price is")
    return [row["price"]["net"] for row in rows]


def test_who_is_asked_again_is_asked_what_he_sent() -> None:
    payload = json.dumps([{"price": {"net": net}} for net in (1, -1, 3)]).encode()
    found = answer(doubles, ROWS, payload, {"many": True})
    assert json.loads(found.outputs) == [2, None, 6]
    assert found.refusals.keys() == {"1"}
    outputs = []
    for one in answer_together(doubles, ROWS, payload, [{"rows": 1}, {"rows": 1}, {"rows": 1}]):
        assert isinstance(one, Answer)
        outputs.append(json.loads(one.outputs))
    assert outputs == [[2], [None], [6]]


def test_a_failure_leaves_the_neighbors_rows_as_they_came() -> None:
    def fails(rows: Any, _: Any) -> list[float]:
        for row in rows:
            row["price"] += 1
        return [12 / row["price"] for row in rows]

    calls = [{"rows": 2, "many": True}, {"rows": 1}]
    first, second = answer_together(fails, ROWS, b'[{"price": 1}, {"price": 2}, {"price": -1}]', calls)
    assert isinstance(first, Answer)
    assert json.loads(first.outputs) == [6, 4]
    assert isinstance(second, Failed)


def test_a_ranking_names_the_items_as_the_caller_did() -> None:
    def scores(rows: Any, _: Any) -> list[float]:
        if len(rows) > 1 and any(row["price"] < 0 for row in rows):
            for row in rows:
                row["price"] = 0
            raise Refusal("negative", "no price is")
        return [float(row.pop("price")) * len(row.pop("sku")) for row in rows]

    items = [{"sku": "a", "price": 1}, {"sku": "b", "price": 2}]
    found = answer(scores, RANKING, json.dumps([{"items": items}]).encode(), {})
    assert json.loads(found.outputs) == [[{"sku": "b", "score": 2}, {"sku": "a", "score": 1}]]
    items.append({"sku": "c", "price": -1})
    found = answer(scores, RANKING, json.dumps([{"items": items}]).encode(), {})
    assert [item["score"] for item in json.loads(found.outputs)[0]] == [2, 1, -1]


def test_rows_that_are_taken_away_are_missed() -> None:
    def takes(rows: Any, _: Any) -> list[int]:
        rows.pop()
        return [1 for _ in rows]

    with pytest.raises(Failed, match="0 items for 1 rows"):
        answer(takes, ROWS, b"[{}]", {})
    assert all(isinstance(one, Failed) for one in answer_together(takes, ROWS, b"[{}, {}]", [{"rows": 1}] * 2))


def refuses_ones(rows: Any, _: Any) -> list[int]:
    if any(row["x"] == 1 for row in rows):
        raise InvalidRow("one is too few", "/x")
    return [1 for _ in rows]


@pytest.mark.parametrize(
    ("xs", "many", "pointer"), [([1], False, "/input/x"), ([1], True, "/inputs/0/x"), ([2, 3, 1], True, "/inputs/2/x")]
)
def test_a_row_that_its_class_refuses_is_named_by_its_place_in_the_body(xs: Any, many: bool, pointer: str) -> None:
    with pytest.raises(Failed) as caught:
        answer(refuses_ones, ROWS, json.dumps([{"x": x} for x in xs]).encode(), {"many": many})
    assert (caught.value.error, caught.value.pointer) == ("invalid_input", pointer)
    assert caught.value.header()["pointer"] == pointer


def test_an_item_that_its_class_refuses_is_a_fault_of_the_call() -> None:
    with pytest.raises(Failed) as caught:
        answer(refuses_ones, RANKING, b'[{"items": [{"sku": "a", "x": 2}, {"sku": "b", "x": 1}]}]', {})
    assert (caught.value.pointer, caught.value.reason) == ("/input", "row 1: one is too few")


COLUMNS = [Column("price", "float64", "number", float32=True), Column("rank", "int64", "integer")]
CALLS: list[dict[str, Any]] = [
    {"rank": 7, "items": [{"sku": "a", "price": 0.1}, {"sku": "b", "price": -0.3}]},
    {"items": [{"sku": 3, "price": 2.5, "rank": 1}, {"sku": 4, "price": 1e300, "rank": 2}]},
    {"items": [{"sku": "gap", "price": 1.5, "rank": 1}, {"sku": "none", "price": None, "rank": 2}]},
    {"items": [{"sku": "lacks", "price": 1.5, "rank": 1}, {"sku": "it", "rank": 2}]},
    {"rank": 1, "items": []},
]


SINGLE = array("f", [0.1])[0]
EXPECTED = {"rows": SINGLE + 7, "frame": SINGLE + 7, "array": SINGLE}
"""What the first item of the first call is scored, whose price is read in single precision."""


def message(calls: list[dict[str, Any]]) -> tuple[bytes, list[dict[str, Any]], bytes]:
    """Return calls by columns, as far as they have that form."""
    texts, headers, numbers = [], [], b""
    for number, call in enumerate(calls):
        items = items_of(call, "items")
        if items and call is CALLS[0]:
            items = msgspec.structs.replace(items, singles={"price": array("f", items.columns["price"])})
        table = items and by_columns(items)
        headers.append({"rows": 1, "context": {"id": f"{number}"}})
        if table:
            headers[-1]["columns"] = msgspec.to_builtins(table.layout)
            numbers += table.numbers
        texts.append(table.text if table else json.dumps(call).encode())
    return b"[%s]" % b",".join(texts), headers, numbers


def adds(rows: Any, infos: Any) -> list[Any]:
    assert all(type(row) is dict for row in rows)
    assert len({id(row) for row in rows}) == len(rows) == len(infos)
    return [(row.pop("price", 0) or 0.0) + row["rank"] * len(str(row.pop("sku"))) for row in rows]


@pytest.mark.parametrize(
    ("takes", "predict"),
    [
        ("rows", adds),
        ("frame", lambda rows, _: frame_builder(COLUMNS)(rows).fillna(0).sum(axis=1)),
        ("array", lambda rows, _: array_builder(COLUMNS)(rows)[:, :1]),
    ],
)
def test_rankings_are_answered_the_same_by_columns(takes: str, predict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LEAST_ITEMS", 1)
    manifest = replace(RANKING, takes=takes, columns=COLUMNS, answers="number")
    for calls in (CALLS, *([call] for call in CALLS), CALLS[:2], CALLS[1:3]):
        headers = [{"rows": 1, "context": {"id": f"{number}"}} for number, _ in enumerate(calls)]
        expected = answer_together(predict, manifest, json.dumps(calls).encode(), headers)
        found = answer_together(predict, manifest, *message(calls))
        assert [vars(each) for each in found] == [vars(each) for each in expected]
        if calls[0] is CALLS[0]:
            assert isinstance(found[0], Answer)
            assert f'"score":{EXPECTED[takes]}}}' in found[0].outputs.decode()


def test_ids_are_never_rounded() -> None:
    ids = [16777216.0 + number for number in range(9)]
    calls = [{"items": [{"sku": sku, "price": 0.1} for sku in ids]}] * 2
    columns = [Column(name, "float64", "number", float32=True) for name in ("sku", "price")]
    for takes in ("rows", "array"):
        manifest = replace(RANKING, takes=takes, columns=columns, answers="number")
        builds = array_builder(columns) if takes == "array" else list
        headers = [{"rows": 1}] * 2
        for sent in ((json.dumps(calls).encode(), headers), message(calls)):
            for found in answer_together(lambda rows, _: [1.0 for _ in builds(rows)], manifest, *sent):  # noqa: B023
                assert isinstance(found, Answer)
                assert [item["sku"] for item in json.loads(found.outputs)[0]] == ids


def test_of_rankings_by_columns_too_the_failing_one_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LEAST_ITEMS", 1)

    def fails(rows: Any, _: Any) -> list[float]:
        if any(row.pop("price") < 0 for row in rows):
            raise ValueError("negative")
        return [float(row["rank"]) for row in rows]

    first, second = answer_together(fails, RANKING, *message(CALLS[:2]))
    assert isinstance(first, Failed)
    assert (first.row, first.reason) == (1, "row 1: ValueError")
    assert isinstance(second, Answer)
    assert [item["sku"] for item in json.loads(second.outputs)[0]] == [4, 3]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), pytest.param(10**400, id="too-large")])
def test_scores_that_are_no_numbers_are_told(value: float) -> None:
    for manifest, payload in ((RANKING, b'[{"items": [{"sku": 1}, {"sku": 2}]}]'), (ROWS, b"[{}, {}]")):
        with pytest.raises(Failed, match=r"row 1: (NaN|infinity|an integer larger than any float)") as caught:
            answer(lambda rows, _: [1.0, value][: len(rows)], manifest, payload, {"many": True})
        assert caught.value.error == "invalid_output"
