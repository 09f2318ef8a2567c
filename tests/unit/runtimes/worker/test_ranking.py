from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.worker.ranking import flatten, list_name, ranked


def test_the_field_of_the_item_wins() -> None:
    call = {"visitor": "v", "price": 1, "items": [{"sku": "a", "price": 2}, {"sku": "b"}]}
    assert flatten(call, "/items") == [
        {"visitor": "v", "price": 2, "sku": "a"},
        {"visitor": "v", "price": 1, "sku": "b"},
    ]
    assert flatten({"items": []}, "/items") == []


def test_a_pointer_is_unescaped() -> None:
    assert list_name("/a~1b~0c~01") == "a/b~c~1"


scores = st.lists(st.none() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False), max_size=30)


@given(scores, st.sampled_from(["desc", "asc"]))
def test_order_ties_and_refusals(scores: list[float | None], order: str) -> None:
    found = ranked(list(range(len(scores))), scores, "sku", order)
    assert sorted(item["sku"] for item in found) == [sku for sku, score in enumerate(scores) if score is not None]
    for before, after in pairwise(found):
        assert scores[before["sku"]] == before["score"]
        if before["score"] == after["score"]:
            assert before["sku"] < after["sku"]
        else:
            assert (before["score"] > after["score"]) == (order == "desc")
