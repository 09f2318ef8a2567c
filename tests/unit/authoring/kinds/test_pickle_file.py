"""Files that somebody pickled once: opened by a worker, looked at there, and asked in the way that works."""

import subprocess
import sys
import textwrap

import cloudpickle
import joblib
import pytest
from drafts import draft, golden

from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad, NotPublishable

ROWS = [{"distance": 100.0, "hour": 3}, {"distance": 250.0, "hour": 9}]


def dilled(path, source, name):
    """Write a file as a script did once: what it holds was defined in that script's `__main__`."""
    pytest.importorskip("dill", reason="dill is not installed")
    script = textwrap.dedent(source) + f"\nimport dill\ndill.dump({name}, open({str(path)!r}, 'wb'))\n"
    subprocess.run([sys.executable, "-c", script], check=True)
    return path


@pytest.mark.parametrize(
    ("source", "name", "flavor", "takes"),
    [
        ("def price(row): return row['distance'] * 2", "price", "heuristic", "row"),
        ("def price(rows): return [row['distance'] * 2 for row in rows]", "price", "heuristic", "rows"),
        ("price = lambda row: row['distance'] * 2", "price", "heuristic", "row"),
        (
            "class Price:\n    def predict(self, rows): return [row['distance'] * 2 for row in rows]",
            "Price",
            "python",
            "rows",
        ),
        ("class Price:\n    def predict_one(self, row): return row['distance'] * 2", "Price()", "python", "row"),
        ("class Price:\n    def predict(self, frame): return frame['distance'] * 2", "Price()", "object", "frame"),
        ("class Price:\n    def __call__(self, row): return row['distance'] * 2", "Price()", "heuristic", "row"),
        (
            "from sklearn.dummy import DummyRegressor\n"
            "price = DummyRegressor(strategy='constant', constant=200.0).fit([[1, 2]], [3])",
            "price",
            "sklearn",
            "frame",
        ),
    ],
    ids=["row", "rows", "lambda", "class", "predict_one", "frame", "call", "estimator"],
)
def test_a_dill_file_is_published_with_one_call(source, name, flavor, takes, tmp_path):
    path = dilled(tmp_path / "old.dill", source, name)
    prepared = prepare(draft(path, ROWS))
    assert (prepared.manifest.flavor, prepared.manifest.takes) == (flavor, takes)
    assert golden(prepared)[0]["output"] == 200.0
    assert prepared.contents["files/model.pkl"] == path.read_bytes()
    assert "dill" in prepared.manifest.environment.distributions


def test_a_function_that_looks_at_its_script_keeps_what_dill_kept_of_it(tmp_path):
    source = "import dill\ndill.settings['recurse'] = True\nFACTOR = 3\ndef price(row): return row['distance'] * FACTOR"
    path = dilled(tmp_path / "old.pkl", source, "price")
    assert golden(prepare(draft(path, ROWS)))[0]["output"] == 300.0


@pytest.mark.parametrize("write", [cloudpickle.dump, joblib.dump], ids=["cloudpickle", "joblib"])
def test_other_writers(write, tmp_path):
    def price(row):
        return row["distance"] * 2

    path = tmp_path / "price.pkl"
    if write is joblib.dump:
        joblib.dump({"not": "a model"}, path)
        with pytest.raises(NotPublishable, match="dict"):
            prepare(draft(path, ROWS))
        return
    with path.open("wb") as file:
        write(price, file)
    assert golden(prepare(draft(path, ROWS)))[0]["output"] == 200.0


def test_what_works_in_no_way_says_what_was_tried_with_the_traceback(tmp_path):
    path = tmp_path / "price.pkl"
    path.write_bytes(cloudpickle.dumps(lambda row: row["nothing"]))
    with pytest.raises(DoesNotLoad) as caught:
        prepare(draft(path, ROWS))
    message = str(caught.value)
    assert "KeyError: 'nothing'" in message
    assert "given one row as a dict: KeyError: 'nothing'" in message
    assert "given all rows as dicts: TypeError: list indices must be integers or slices, not str" in message
