"""When a worker's row is the author's."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import numpy as np
import pandas as pd
import pytest

from cloche.authoring.same import first_difference

Color = StrEnum("Color", ["RED"])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Row:
    x: object


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (1, 1.0),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (Color.RED, "red"),
        (math.nan, math.nan),
        (pd.NaT, pd.NaT),
        (pd.NA, pd.NA),
        (np.array([1.5, 2.5]), np.array([1.5, 2.5])),
        ({"a": [Row(1)]}, {"a": [Row(1)]}),
        (Decimal("1.10"), Decimal("1.1")),
    ],
)
def test_the_same(there, here):
    assert first_difference(there, here) is None


@pytest.mark.parametrize(
    ("there", "here", "pointer"),
    [
        (True, 1, ""),
        (NOON, NOON.astimezone(timezone(timedelta(hours=2))), ""),
        (NOON, NOON.replace(tzinfo=None), ""),
        (pd.Timestamp(NOON), NOON, ""),
        (date(2026, 1, 1), "2026-01-01", ""),
        (math.nan, None, ""),
        (None, math.nan, ""),
        ((1, 2), [1, 2], ""),
        ([1, 2], [1], ""),
        (np.array([1.5], dtype=np.float32), np.array([1.5]), ""),
        (np.array([1.5]), [1.5], ""),
        ({"a/b": [0, Row({"c": 1})]}, {"a/b": [0, Row({"c": "1"})]}, "/a~1b/1/x/c"),
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        (Decimal(1), 1.5, ""),
    ],
)
def test_not_the_same_and_where(there, here, pointer):
    difference = first_difference(there, here)
    assert difference is not None
    assert difference[0] == pointer
