from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.worker.instants import format_instant, parse_instant

FIRST, LAST = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1


@given(st.integers(FIRST, LAST))
def test_text_and_back(moment: int) -> None:
    assert parse_instant(format_instant(moment)) == moment


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-05-10T08:30:00+02:00", "2026-05-10T06:30:00Z"),
        ("2026-05-10t08:30:00.5z", "2026-05-10T08:30:00.500Z"),
        ("2026-05-10 08:30:00.1234567899-00:30", "2026-05-10T09:00:00.123456789Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_one_form(text: str, same: str) -> None:
    assert format_instant(parse_instant(text)) == same


@pytest.mark.parametrize(
    "text", ["2026-05-10T08:30:00", "2026-05-10", "yesterday", "2026-13-10T08:30:00Z", "2026-05-10T25:30:00Z", "", 7]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the module of dates says some of it
        parse_instant(text)


@pytest.mark.parametrize("moment", [FIRST - 1, LAST + 1])
def test_years_have_four_digits(moment: int) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_instant(moment)
