"""What becomes of a value that is none of its column's categories."""

import numpy as np
import pytest

from cloche.model import CallInfo, Refusal
from cloche.runtimes.worker.manifest import Column, Manifest
from cloche.runtimes.worker.unseen import without_unseen

COLUMNS = [
    Column("class", "category", "string", categories=["eco", "first"], categories_dtype="str"),
    Column("at/x", "category", "datetime", categories=["2026-01-01T00:00:00Z"], categories_dtype="datetime64[us, UTC]"),
    Column("miles", "float64", "number"),
]
KNOWN = {"class": "eco", "at/x": "2026-01-01T01:00:00+01:00", "miles": 1.0}
ROYAL, MISSING = KNOWN | {"class": "royal"}, {"miles": 2.0}
LATER = KNOWN | {"at/x": "2026-01-02T00:00:00Z"}


def asked(on_unseen, rows, columns=COLUMNS, answers="any"):
    """The answers, and what the model was asked."""
    seen = []

    def predict(rows, infos):
        seen.append([row.get("class", "-") for row in rows])
        assert len(rows) == len(infos)
        return [index for index, _ in enumerate(rows)]

    manifest = Manifest(1, "sklearn", "x", columns=columns, on_unseen=on_unseen, answers=answers)
    infos = [CallInfo(str(row), 0) for row in range(len(rows))]
    return without_unseen(predict, manifest)(rows, infos), seen


def test_pass_leaves_it_to_the_model():
    assert asked("pass", [KNOWN, ROYAL]) == ([0, 1], [["eco", "royal"]])


def test_null_makes_it_null():
    assert asked("null", [KNOWN, ROYAL, MISSING]) == ([0, 1, 2], [["eco", None, "-"]])


def test_refuse_refuses_the_row_and_asks_for_the_others_together():
    answers, seen = asked("refuse", [KNOWN, ROYAL, MISSING, LATER])
    assert seen == [["eco", "-"]]
    assert (answers[0], answers[2]) == (0, 1)
    said = [(refusal.code, refusal.path) for refusal in answers if isinstance(refusal, Refusal)]
    assert said == [("unseen_category", "/class"), ("unseen_category", "/at~1x")]
    assert answers[1].message == "'royal' is none of the values that class had in training"


@pytest.mark.parametrize(("answers", "item"), [("number", 1.5), ("any", [1.5])])
def test_a_column_of_numbers_is_what_it_is_without(answers, item):
    def predict(rows, infos):
        return np.array([[1.5] for _ in rows])

    manifest = Manifest(1, "sklearn", "x", columns=COLUMNS, on_unseen="refuse", answers=answers)
    infos = [CallInfo("", 0)] * 2
    assert without_unseen(predict, manifest)([ROYAL, KNOWN], infos)[1] == item


def test_where_all_are_refused_nothing_is_asked():
    answers, seen = asked("refuse", [ROYAL])
    assert isinstance(answers[0], Refusal)
    assert seen == []


def test_categories_of_numbers_and_booleans_are_told_apart():
    columns = [Column("x", "category", "any", categories=[1, 2], categories_dtype="object")]
    answers, _ = asked("refuse", [{"x": 1}, {"x": 1.0}, {"x": True}, {"x": 3}, {"x": None}], columns)
    assert [isinstance(answer, Refusal) for answer in answers] == [False, False, True, True, False]


def test_without_categories_nothing_changes():
    assert asked("refuse", [ROYAL], columns=[COLUMNS[2]]) == ([0], [["royal"]])
    assert asked("refuse", [ROYAL], columns=None) == ([0], [["royal"]])
