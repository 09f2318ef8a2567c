"""Two answers to one call."""

from __future__ import annotations

import json

import msgspec
import pytest
from arms import manifest

from cloche.insight.pairs import MOST_ROWS, Pair, compare
from cloche.log.columns import pack_call, pack_ranking, pack_text
from cloche.registry.bundle import Each
from cloche.testing import make_record
from cloche.values import Personal, Record

NUMBERS = manifest("1.0.0", score=""), manifest("2.0.0", score="")
LABELS = tuple(manifest(number, answers="label", score="/probabilities/late") for number in ("1.0.0", "2.0.0"))
RANKINGS = tuple(manifest(number, score=None, each=Each("/items", "id")) for number in ("1.0.0", "2.0.0"))


def answer(outputs: list[object], refused: tuple[int, ...] = (), **fields: object) -> Record:
    no = pack_text(b'{"code":"no"}')
    contents = Personal(
        input=pack_text(json.dumps([{}] * len(outputs)).encode()),
        output=pack_text(json.dumps(outputs).encode()),
        refusals=dict.fromkeys(refused, no),
    )
    return make_record(0, contents, **fields)


def ranking(order: str, scores: list[float] | None = None, asked: str = "abcdefghijkl") -> Record:
    """An answer with the items in `order`; scores fall from the first to the last where none are given."""
    falling = [float(-place) for place in range(len(order))]
    ranked = [{"id": name, "score": score} for name, score in zip(order, scores or falling, strict=True)]
    call = {"items": [{"id": name} for name in asked]}
    contents = Personal(input=pack_call(call, "/items", frozenset()), output=pack_ranking(ranked, list(asked), "id"))
    return make_record(0, contents)


def compared(live: Record, shadow: Record, versions=NUMBERS) -> Pair:
    pair = compare(live, shadow, versions)
    assert pair is not None
    return pair


def test_numbers():
    pair = compared(answer([1.0, 2.0, 3.5]), answer([1.0, 2.5, 3.0]))
    assert (pair.rows, pair.same, pair.differences) == (3, 1, (0.0, 0.5, -0.5))
    assert (pair.labeled, pair.tau, pair.overlaps) == (0, None, {})
    assert pair.apart == 0.5


def label(name: str, late: float) -> dict[str, object]:
    return {"label": name, "probabilities": {"late": late, "early": 1 - late}}


def test_labels():
    live = answer([label("late", 0.75), label("early", 0.25)])
    pair = compared(live, answer([label("late", 0.5), label("late", 0.75)]), LABELS)
    assert (pair.labeled, pair.same_label, pair.same) == (2, 1, 0)
    assert pair.differences == (-0.25, 0.5)
    assert pair.apart == 1.5


def test_a_score_is_where_each_version_has_it():
    versions = manifest("1.0.0", score="/minutes"), manifest("2.0.0", score="/delay/minutes")
    pair = compared(answer([{"minutes": 3}]), answer([{"delay": {"minutes": 5}}]), versions)
    assert pair.differences == (2.0,)
    assert compared(answer([1]), answer([1]), (manifest("1.0.0", score=None), NUMBERS[1])).differences == ()


@pytest.mark.parametrize(("one", "other", "apart"), [({"a": 1}, {"a": 1}, 0.0), ({"a": 1}, {"a": 2}, 1.0)])
def test_answers_of_any_kind_are_the_same_or_not(one, other, apart):
    versions = manifest("1.0.0", score=None), manifest("2.0.0", score=None)
    assert compared(answer([one]), answer([other]), versions).apart == apart


def test_refusals_agree_with_refusals_alone():
    live = answer([None, None, 3.0], refused=(0, 1))
    pair = compared(live, answer([None, 2.0, None], refused=(0, 2)))
    assert (pair.rows, pair.same, pair.differences) == (3, 1, ())
    assert compared(answer([None], refused=(0,)), answer([None])).same == 0


def test_of_very_many_rows_the_first_are_compared():
    pair = compared(answer([1.0] * (MOST_ROWS + 50)), answer([2.0] * (MOST_ROWS + 50)))
    assert (pair.rows, len(pair.differences)) == (MOST_ROWS, MOST_ROWS)


def test_rankings():
    same = compared(ranking("abcdefghijkl"), ranking("abcdefghijkl"), RANKINGS)
    assert (same.tau, same.overlaps, same.same, same.apart) == (1, {1: 1.0, 5: 1.0, 10: 1.0}, 1, 0)
    reverse = compared(ranking("abcdefghijkl"), ranking("lkjihgfedcba"), RANKINGS)
    assert (reverse.tau, reverse.overlaps, reverse.apart) == (-1, {1: 0.0, 5: 0.0, 10: 0.8}, 2)
    close = compared(ranking("abcdefghijkl"), ranking("bacdefghijkl"), RANKINGS)
    assert close.tau == pytest.approx(1 - 2 / 66)
    assert close.overlaps == {1: 0.0, 5: 1.0, 10: 1.0}


def test_items_of_one_score_are_in_no_order():
    tied = compared(ranking("abc", [1.0, 1.0, 0.0], "abc"), ranking("bac", [3.0, 2.0, 1.0], "abc"), RANKINGS)
    assert tied.tau == pytest.approx(2 / (2 * 3) ** 0.5)


def test_short_lists_have_no_first_items():
    pair = compared(ranking("abcde", asked="abcde"), ranking("abcde", asked="abcde"), RANKINGS)
    assert pair.overlaps.keys() == {1}


def test_items_that_one_version_refused_do_not_count():
    pair = compared(ranking("abc", asked="abcd"), ranking("dab", asked="abcd"), RANKINGS)
    assert (pair.tau, pair.overlaps) == (1, {1: 1.0})
    nothing = compared(ranking("a", asked="ab"), ranking("b", asked="ab"), RANKINGS)
    assert (nothing.tau, nothing.apart) == (None, 1.0)


def test_the_smallest_may_come_first():
    ascending = manifest("2.0.0", score=None, each=Each("/items", "id", order="asc"))
    pair = compared(ranking("abc", [3.0, 2.0, 1.0]), ranking("abc", [1.0, 2.0, 3.0]), (RANKINGS[0], ascending))
    assert pair.tau == 1


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "model_failed"},
        {"fallback": "model_failed"},
        {"personal": b""},
        {"personal": b"\xff"},
    ],
)
def test_what_was_not_answered_or_is_erased_is_not_compared(change):
    whole = answer([1.0])
    broken = msgspec.structs.replace(whole, **change)
    assert compare(whole, broken, NUMBERS) is None
    assert compare(broken, whole, NUMBERS) is None


def test_answers_of_other_lengths_are_not_compared():
    assert compare(answer([1.0]), answer([1.0, 2.0]), NUMBERS) is None


def test_the_ids_are_those_of_the_log():
    live, shadow = answer([1.0]), answer([1.0])
    pair = compared(live, shadow)
    assert [name.replace("-", "") for name in (pair.live, pair.shadow)] == [live.id.hex(), shadow.id.hex()]
