"""A model may change the rows that it is given; nobody may be answered from what it made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloche.model import Refusal
from cloche.runtimes.worker.answering import Answer, Failed, answer, answer_together
from cloche.runtimes.worker.manifest import Each, Manifest
from cloche.runtimes.worker.values import InvalidRow

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
