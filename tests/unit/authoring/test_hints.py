"""What type hints say of rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
import pytest

from cloche.authoring.hints import RowHint, row_hint
from cloche.errors import NotPublishable
from cloche.model import Model

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclass
class Quote:
    x: int


class Packed(msgspec.Struct):
    x: int


def one(row: Quote, info: Unknown = None) -> Unknown:
    return row


def many(rows: Sequence[Quote]) -> list[int]:
    return [row.x for row in rows]


def unknown(row: Unknown) -> int:
    return 1


def frame(rows: pd.DataFrame) -> int:
    return 1


def plain(row: dict[str, Any]) -> int:
    return 1


def scaled(factor: float, row: Quote) -> float:
    return factor * row.x


class One(Model):
    def predict_one(self, row: Quote):
        return row.x


class Many(Model):
    def predict(self, rows: list[Quote]):
        return rows


class Other:
    def predict(self, rows: list[Packed]):
        return rows

    @staticmethod
    def score(row: Quote):
        return row


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (one, RowHint(Quote, single=True)),
        (many, RowHint(Quote, single=False)),
        (One, RowHint(Quote, single=True)),
        (One(), RowHint(Quote, single=True)),
        (Many, RowHint(Quote, single=False)),
        (Other(), RowHint(Packed, single=False)),
        (functools.partial(scaled, 2.0), RowHint(Quote, single=True)),
        (One().predict_one, RowHint(Quote, single=True)),
        *((nothing, None) for nothing in (unknown, frame, plain, lambda row: 1, len, Model(), 3, None)),
    ],
)
def test_the_first_parameter_says_what_a_row_is(model, hint):
    assert row_hint(model) == hint


def test_another_method_has_a_hint_of_its_own():
    assert row_hint(Many(), "predict_one") is None
    assert row_hint(Many(), "nothing") is None


def test_a_class_that_only_a_function_knows():
    @dataclass
    class Local:
        x: int

    def local(row: Local):
        return Local(row.x)

    assert row_hint(local) == RowHint(Local, single=True)


def test_a_class_whose_own_hints_lead_nowhere_is_refused():
    @dataclass
    class Lost:
        x: Unknown

    def lost(row: Lost):
        return Lost(row.x)

    with pytest.raises(NotPublishable, match="a model whose rows are of type Lost: name 'Unknown' is not defined"):
        row_hint(lost)
