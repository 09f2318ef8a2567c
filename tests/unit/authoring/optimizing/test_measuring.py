"""How long both forms take, and which of them is to answer which calls."""

import time

import pytest
from manifests import manifest

from cloche.authoring.optimizing.asking import Asker
from cloche.authoring.optimizing.measuring import measure, sizes_of, speed
from cloche.registry.bundle import Each
from cloche.values import Prediction

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}


class Taking:
    """A form that takes so long for a call, and for each row of it."""

    def __init__(self, call_us, row_us):
        self._call_us = call_us
        self._row_us = row_us
        self.asked = []

    def answer(self, ask):
        self.asked.append(ask)
        until = time.perf_counter() + (self._call_us + ask.rows * self._row_us) / 1e6
        while time.perf_counter() < until:
            pass
        return Prediction(b"[]")


def test_the_table_names_the_faster_one_for_so_many_rows():
    original, converted = Taking(1000, 0), Taking(20, 30)
    told = []
    asker = Asker(manifest(input_schema=SCHEMA))
    table = measure(asker, (original, converted), [{"x": 1.0}, {"x": 2.0}], [1, 8, 200], told.append)
    assert [(line.rows, line.faster) for line in table] == [(1, "converted"), (8, "converted"), (200, "original")]
    first = table[0]
    assert 40 < first.converted.low_us < 500 < first.original.low_us
    assert first.original.low_us <= first.original.median_us <= first.original.high_us
    assert told == [f"measuring calls of {size} row{'s' * (size > 1)}" for size in (1, 8, 200)]
    assert {ask.payload for ask in converted.asked if ask.rows == 1} == {b'[{"x":1.0}]', b'[{"x":2.0}]'}, (
        "distinct rows"
    )
    assert speed(table[:1]) == pytest.approx(first.converted.low_us)


def test_a_worker_is_not_kept_for_a_little():
    form = Taking(300, 0)
    (line,) = measure(Asker(manifest(input_schema=SCHEMA)), (form, form), [{"x": 1.0}], [1], lambda _: None)
    assert line.faster == "converted"


def test_rankings_are_measured_by_their_items():
    each = Each("/items", "id")
    item = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    calls = [{"items": [{"id": 1}, {"id": 2}]}, {"items": [{"id": 3}]}]
    form = Taking(10, 0)
    measure(Asker(manifest(input_schema=schema, each=each)), (form, form), calls, [5], lambda _: None)
    assert {ask.rows for ask in form.asked} == {1}
    assert form.asked[0].payload == b'[{"items":[{"id":1},{"id":2},{"id":3},{"id":1},{"id":2}]}]'


@pytest.mark.parametrize(
    ("seen", "most", "sizes"),
    [
        ([], None, [1, 8, 64, 1024]),
        ([], 200, [1, 8, 64, 200]),
        ([3] * 99, None, [1, 8, 64, 1024]),
        ([1] * 200, None, [1]),
        ([20] * 180 + [30] * 15 + [500] * 5, None, [1, 20, 30, 500]),
    ],
)
def test_what_callers_send_is_measured_where_it_is_known(seen, most, sizes):
    assert sizes_of(seen, most) == sizes
