from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.log.columns import pack_call, pack_ranking, pack_text
from cloche.log.contents import Condition, meets, read_condition
from cloche.values import Personal

ROW = {
    "carrier": "UA",
    "distance": 1400,
    "delay": None,
    "late": True,
    "at": "2026-03-01T00:00:00Z",
    "legs": [{"to": "LAX", "miles": 20.5}, {"to": "SFO"}],
    "odds": {"yes": 0.25, "no": 0.75},
    "a=b": {"c/d": 1, "~": "x>y"},
    "": "nameless",
}


@pytest.mark.parametrize(
    ("typed", "holds"),
    [
        ("/carrier=UA", True),
        ('/carrier="UA"', True),
        ("/carrier == UA", True),
        ("/carrier!=UA", False),
        ("/carrier!=DL", True),
        ("/nothing!=DL", False),
        ("/carrier", True),
        ("!/carrier", False),
        ("/nothing", False),
        ("!/nothing", True),
        ("!/carrier/deeper", True),
        ("/distance=1400", True),
        ("/distance=1400.0", True),
        ('/distance="1400"', False),
        ("/distance>1399.5", True),
        ("/distance>=1400", True),
        ("/distance>1400", False),
        ("/distance<=1400", True),
        ("/distance<1400", False),
        ("/distance<a", False),
        ("/carrier>T", True),
        ("/carrier<=UA", True),
        ("/carrier<1", False),
        ("/delay", True),
        ("/delay=null", True),
        ("/delay!=null", False),
        ("/delay<1", False),
        ("/late=true", True),
        ("/late=1", False),
        ("/late>=0", False),
        ("/at>=2026-01-01", True),
        ("/legs/1/to=SFO", True),
        ("/legs/01/to=SFO", False),
        ("/legs/-/to", False),
        ("/legs/2", False),
        ("/legs/*/to=SFO", True),
        ("/legs/*/miles<20", False),
        ("/legs/*/to!=SFO", True),
        ("/odds/*>0.7", True),
        ('/odds={"no": 0.75, "yes": 0.250}', True),
        ('/odds={"no": 0.75}', False),
        ('/legs/0=[{"to": "LAX"}]', False),
        ("#/a%3Db/c~1d=1", True),
        ("#/a%3Db/~0=x>y", True),
        ("/=nameless", True),
    ],
)
def test_a_condition_means_what_it_says(typed, holds):
    assert read_condition(typed).holds(ROW) is holds


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("carrier=UA", "did you mean /carrier?"),
        ("$.legs.to=UA", "did you mean /legs/to?"),
        ("", "begins with /"),
        ("!", "begins with /"),
        ("/a~b=1", "~0"),
        ("/a=", "value is missing"),
        ('/a="x', "not valid JSON"),
        ("/a=[1,", "not valid JSON"),
        ("/a=" + "[" * 100_000, "not valid JSON"),
        ("/a>true", "have an order"),
        ("/a<=null", "have an order"),
        ("/a<[1]", "have an order"),
    ],
)
def test_what_is_no_condition_is_said(typed, said):
    with pytest.raises(ValueError, match=r"\S") as refused:
        read_condition(typed)
    assert said in str(refused.value)


def test_without_a_pointer_it_is_about_the_whole():
    assert read_condition(">100").holds(100.5)
    assert not read_condition(">100").holds(99)
    assert read_condition("=UA").holds("UA")
    assert read_condition("!=null").holds(0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~=", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def places(value, pointer=""):
    yield pointer, value
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            escaped = str(name).replace("~", "~0").replace("/", "~1").replace("=", "%3D")
            yield from places(inner, f"{pointer}/{escaped}")


@given(JSON)
def test_every_value_is_found_at_its_place_by_what_it_is(document):
    for pointer, value in places(document):
        typed = f"#{pointer}" if pointer else ""
        assert read_condition(f"{typed}={json.dumps(value)}").holds(document)
        assert not read_condition(f"{typed}!={json.dumps(value)}").holds(document)
        assert read_condition(f"{typed}!={json.dumps([value])}").holds(document)
        assert not pointer or read_condition(typed).holds(document)


def packed(**parts):
    return msgspec.msgpack.encode(Personal(**parts))


def asked(*typed):
    return [read_condition(each) for each in typed]


def test_a_row_of_many_meets_all_conditions_or_none_does():
    data = packed(
        input=pack_text(b'[{"from":"JFK","n":1},{"from":"LAX","n":2}]'), output=pack_text(b'[{"late":0.9},null]')
    )
    assert meets(data, asked("/from=LAX", "/n=2"), [])
    assert not meets(data, asked("/from=JFK", "/n=2"), [])
    assert meets(data, asked("/n=1"), asked("/late>0.5"))
    assert not meets(data, asked("/n=2"), asked("/late>0.5"))
    assert meets(data, asked("/n=2"), asked("=null"))


def test_a_packed_ranking_is_one_row():
    call = {"visitor": "v", "items": [{"id": "a", "x": 1.5}, {"id": "b", "x": 2.5}]}
    ranked = [{"id": "b", "score": 0.2}, {"id": "a", "score": 0.1}]
    data = packed(input=pack_call(call, "/items", frozenset()), output=pack_ranking(ranked, ["a", "b"], "id"))
    assert meets(data, asked("/visitor=v", "/items/*/x>2"), asked("/0/id=b", "/*/score<0.15"))
    assert not meets(data, asked("/items/*/x>3"), [])
    assert not meets(data, [], asked("/0/id=a"))


def test_what_has_no_answer_is_seen_as_null():
    failed = packed(input=pack_text(b'[{"n":1}]'), failure="Traceback")
    assert meets(failed, asked("/n=1"), asked("=null"))
    assert not meets(failed, asked("/n=1"), asked("/score"))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x92", msgspec.msgpack.encode(["ann", b"no json"])])
def test_what_is_erased_or_damaged_meets_nothing(data):
    assert not meets(data, [Condition((), "exists")], [])
    assert not meets(data, asked("!/n"), [])
