from __future__ import annotations

import array
import math
import random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloche.errors import NewerFormat
from cloche.log.columns import is_packed, pack_call, pack_ranking, pack_text, unpack, unpack_output
from cloche.testing import make_record
from cloche.values import Personal

NONE: frozenset[str] = frozenset()

numbers = st.one_of(
    st.integers(),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec="utf-8"), max_size=5))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
names = st.sampled_from(["a", "b", "c", "id", "score", "ä/~"])
columns = st.one_of(
    st.just(numbers), st.just(leaves), st.just(values), st.just(st.booleans()), st.just(st.text(max_size=3))
)


@st.composite
def tables(draw):
    kinds = draw(st.dictionaries(names, columns, min_size=1))
    gaps = draw(st.booleans())
    row = st.fixed_dictionaries({}, optional=kinds) if gaps else st.fixed_dictionaries(kinds)
    return draw(st.lists(row, max_size=12))


def text(value):
    """JSON text: tells 1 from 1.0 from true, and -0.0 from 0.0."""
    return msgspec.json.encode(value, order="sorted")


@given(call=st.dictionaries(names, values, max_size=4), items=st.one_of(tables(), values), key=names)
def test_a_call_comes_back_exactly(call, items, key):
    call = msgspec.json.decode(msgspec.json.encode({**call, key: items}))
    packed = pack_call(call, "/" + key.replace("~", "~0").replace("/", "~1"), NONE)
    found = unpack(packed)
    found = found if is_packed(packed) else found[0]
    assert text(found) == text(call)
    assert list(found) == list(call)


@given(table=tables(), identity=names)
def test_any_list_that_is_no_ranking_comes_back_exactly(table, identity):
    table = msgspec.json.decode(msgspec.json.encode(table))
    packed = pack_ranking(table, [], identity)
    found = unpack_output(packed, msgspec.Raw(b"\xc0"))
    assert text(found if is_packed(packed) else found[0]) == text(table)


@given(
    ids=st.lists(st.one_of(st.text(max_size=3), st.integers(-3, 3), st.booleans(), st.floats(-2, 2)), min_size=1),
    scores=st.randoms(use_true_random=False),
)
@example(ids=[0.0, -0.0, 0, False, "0"], scores=random.Random(3))
def test_a_ranking_comes_back_exactly(ids, scores):
    call = msgspec.json.decode(msgspec.json.encode({"items": [{"id": name, "n": 1.5} for name in ids]}))
    chosen = scores.sample([item["id"] for item in call["items"]], scores.randint(1, len(ids)))
    output = [{"id": name, "score": scores.choice([scores.random(), 1, 0.5, -0.0])} for name in chosen]
    packed = pack_ranking(output, [item["id"] for item in call["items"]], "id")
    assert text(unpack_output(packed, pack_call(call, "/items", NONE))) == text(output)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example([1.5, 3.5e38])
@example([3.4028235e38, -3.4028235e38])
def test_single_precision_keeps_what_the_model_reads(floats):
    call = {"items": [{"x": value} for value in floats]}
    found = [item["x"] for item in unpack(pack_call(call, "/items", frozenset({"x"})))["items"]]
    narrow = array.array("f", floats).tolist()
    assert found == (floats if math.inf in map(abs, narrow) else narrow)


def test_ints_are_exact_in_single_precision_columns_too():
    call = {"items": [{"x": 16_777_217}, {"x": 2**40}]}
    assert unpack(pack_call(call, "/items", frozenset({"x"}))) == call


@pytest.mark.parametrize("whole", [0.0, 0.1], ids=["floats", "some written as integers"])
def test_a_call_with_200_products_is_10_kb_and_4_bytes_a_number(whole):
    chance = random.Random(1)
    ids = [f"product-{number:012d}" for number in range(200)]
    features = [f"product_stock__feature_{number}" for number in range(30)]

    def number():
        value = chance.gauss(100, 30)
        return round(value) if chance.random() < whole else value

    call = {
        "visitor": {f"context_field_{number}": f"value {number}" for number in range(20)},
        "items": [{"product_id": name, **{feature: number() for feature in features}} for name in ids],
    }
    ranked = [{"product_id": name, "score": chance.random()} for name in chance.sample(ids, 200)]
    personal = Personal(
        "visitor-1", pack_call(call, "/items", frozenset(features)), pack_ranking(ranked, ids, "product_id")
    )
    size = len(msgspec.msgpack.encode(make_record(1, personal)))
    assert size < 10_000 + 4 * 200 * 30
    assert unpack_output(personal.output, personal.input) == ranked


def test_text_is_kept_as_it_is():
    raw = pack_text(b'[{"a" : 1.0}]')
    assert msgspec.msgpack.decode(raw) == b'[{"a" : 1.0}]'
    assert unpack(raw) == [{"a": 1.0}]
    assert unpack(msgspec.Raw(b"\xc0")) is None
    assert unpack(pack_text(b"")) is None


def test_a_newer_format_is_refused():
    call = msgspec.msgpack.decode(pack_call({"items": [{"a": 1}]}, "/items", NONE))
    ranking = msgspec.msgpack.decode(pack_ranking([{"a": 1, "score": 1.0}], [1], "a"))
    with pytest.raises(NewerFormat):
        unpack(msgspec.Raw(msgspec.msgpack.encode([2, *call[1:]])))
    with pytest.raises(NewerFormat):
        unpack_output(msgspec.Raw(msgspec.msgpack.encode([2, *ranking[1:]])), msgspec.Raw(b"\xc0"))
