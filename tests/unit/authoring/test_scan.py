"""What is said of pickles that somebody else made. Nothing is said where picklescan is not installed."""

import importlib.util
import io
import os
import pickle

import cloudpickle
import joblib
import pytest
from drafts import draft
from sklearn.linear_model import LinearRegression

from cloche.authoring import trial
from cloche.authoring.preparing import prepare
from cloche.model import Model

pytest.importorskip("picklescan", reason="picklescan is not installed (cloche[scan])")

ROWS = [{"x": 1.0}, {"x": 2.0}]


class Sums(Model):
    def predict_one(self, row):
        return row["x"] + 1


class Calls:
    """A pickle of it calls `os.getpid`, and then is a number."""

    def __reduce__(self):
        return os.getpid, ()


@pytest.fixture
def given(tmp_path):
    """Files as somebody hands them over."""
    fitted = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    packed = io.BytesIO()
    joblib.dump(fitted, packed, compress=3)
    contents = {
        "calls.pkl": pickle.dumps(Calls()),
        "code.dill": cloudpickle.dumps(lambda row: 1.0),
        "packed.joblib": packed.getvalue(),
        "fitted.pkl": pickle.dumps(fitted),
        "table.csv": b"a,b\n",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def notices(**files):
    return prepare(draft(Sums, ROWS, files=files)).notices


def test_what_a_scanner_finds_is_said_and_nothing_is_called_safe(given):
    told = notices(**given, **{"own.pkl": Calls()})
    assert [notice for notice in told if notice.startswith("picklescan")] == [
        "picklescan on files/calls.pkl: opening it uses posix.getpid, with which it can do anything.",
        "picklescan on files/code.dill: it carries functions as code (cloudpickle).",
        "picklescan on files/packed.joblib: it is compressed, which it can't look into.",
    ]
    assert not any("safe" in notice for notice in told)


def test_nothing_is_said_without_the_scanner(given, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(trial, "find_spec", lambda name: None if name == "picklescan" else find(name))
    assert not any("picklescan" in notice for notice in notices(**given))
