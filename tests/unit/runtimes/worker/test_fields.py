"""Dicts with more in them than JSON has."""

import pytest

from cloche.runtimes.worker.fields import row_reader
from cloche.runtimes.worker.manifest import Field, fields_of
from cloche.runtimes.worker.values import InvalidRow

DEEP = {
    "trips": {"items": {"fields": {"day": {"kind": "date"}, "legs": {"kind": "tuple", "items": {"kind": "bytes"}}}}},
    "~x": {"kind": "timestamp"},
}


def test_only_what_is_named_is_changed():
    row = {"trips": [{"day": "2026-01-01", "note": "2026-01-01"}], "other": [{"day": "2026-01-01"}]}
    made = row_reader(fields_of(DEEP))(row)
    assert made["trips"][0]["day"].year == 2026
    assert made["trips"][0]["note"] == "2026-01-01"
    assert made["other"] is row["other"]
    assert row["trips"][0]["day"] == "2026-01-01", "the row that came is left alone"


@pytest.mark.parametrize(
    ("row", "pointer", "message"),
    [
        ({"trips": [{}, {"day": "2026-02-30"}]}, "/trips/1/day", "'2026-02-30' is no date"),
        ({"trips": [{"legs": ["AAEC", "AAE"]}]}, "/trips/0/legs/1", "'AAE' is no bytes"),
        ({"~x": "3000-01-01T00:00:00Z"}, "/~0x", "is no time that pandas can hold"),
    ],
)
def test_what_a_field_can_not_hold_names_its_place(row, pointer, message):
    with pytest.raises(InvalidRow, match=message) as caught:
        row_reader(fields_of(DEEP))(row)
    assert caught.value.pointer == pointer


def test_values_of_other_types_that_the_schema_takes_stay():
    read = row_reader({"x": Field(items=Field("date")), "y": Field("decimal")})
    assert read({"x": "text", "y": None}) == {"x": "text", "y": None}
