"""From an object to a published version, with real workers."""

import json
import os
import random
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cloche.authoring.draft import Draft
from cloche.authoring.publish import EXAMPLES, GOLDEN, prepare, publish
from cloche.drivers import open_objects
from cloche.errors import DoesNotLoad, GoldenMismatch, InvalidExamples, InvalidName, NotPublishable, VersionExists
from cloche.registry.bundle import Each
from cloche.registry.catalog import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes an importable module of the author's own."""

    def make(source, **others):
        folder = tmp_path / f"author{uuid.uuid4().hex[:8]}"
        name = f"shop{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        for other, text in others.items():
            (folder / f"{other}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(folder)
        return __import__(name)

    return make


def draft(model, examples, **options):
    return Draft(**({"name": "flights", "version": "1.0.0"} | options), model=model, examples=examples)


def golden(prepared):
    return [json.loads(line) for line in prepared.contents[GOLDEN].decode().splitlines()]


@pytest.fixture(scope="module")
def flights():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "distance": rng.integers(100, 3000, 60).astype(float),
            "carrier": rng.choice(["UA", "AA", None], 60),
            "hour": rng.integers(0, 24, 60),
            "origin": pd.Categorical(rng.choice(["EWR", "JFK"], 60)),
        }
    )
    frame.loc[3, "distance"] = np.nan
    return frame, rng.random(60) > 0.5


def test_a_classifier_with_all_kinds_of_columns(flights):
    frame, late = flights
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]), ("passthrough", ["hour"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, late)
    prepared = prepare(draft(model, frame.head(20), training=frame))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.takes, manifest.answers) == ("sklearn", "frame", "label")
    assert manifest.classes == [False, True]
    assert manifest.score == "/probabilities/true"
    assert [column.dtype for column in manifest.frame.columns] == ["float64", "str", "int64", "category"]
    assert manifest.input_schema["properties"]["carrier"]["type"] == ["string", "null"]
    assert manifest.golden.cases == 20
    cases = golden(prepared)
    probabilities = model.predict_proba(frame.head(20))
    assert [case["output"]["probabilities"]["true"] for case in cases] == pytest.approx(list(probabilities[:, 1]))
    assert json.loads(prepared.contents[EXAMPLES]) == [case["input"] for case in cases]
    assert cases[3]["input"]["distance"] is None
    assert manifest.environment.distributions["scikit-learn"]
    assert "cloche" not in manifest.environment.distributions


def test_plain_numbers_are_asked_as_arrays(flights):
    frame = flights[0][["distance", "hour"]].fillna(0.0).astype(float)
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(frame, frame["distance"] * 2)
    manifest = prepare(draft(model, frame.head(5), training=frame)).manifest
    assert (manifest.takes, manifest.answers, manifest.score) == ("array", "number", "")
    mixed = prepare(draft(LinearRegression().fit(flights[0][["hour"]], frame["hour"]), flights[0][["hour"]].head(5)))
    assert mixed.manifest.takes == "frame"


def test_a_numpy_array_has_columns_by_position():
    rows = np.arange(12.0).reshape(6, 2)
    model = RandomForestClassifier(3, random_state=1).fit(rows, ["a", "b", "c"] * 2)
    prepared = prepare(draft(model, rows))
    assert (prepared.manifest.takes, prepared.manifest.classes, prepared.manifest.score) == (
        "array",
        ["a", "b", "c"],
        None,
    )
    assert golden(prepared)[1]["input"] == {"x0": 2.0, "x1": 3.0}


def test_another_method_gives_what_it_gives():
    rows = np.arange(12.0).reshape(6, 2)
    model = LogisticRegression().fit(rows, [0, 1] * 3)
    prepared = prepare(draft(model, rows, method="predict_proba"))
    assert (prepared.manifest.method, prepared.manifest.answers) == ("predict_proba", "any")
    assert golden(prepared)[0]["output"] == pytest.approx(model.predict_proba(rows[:1])[0].tolist())


def test_a_model_beside_the_script_with_objects_and_files(module, tmp_path):
    (tmp_path / "words.txt").write_text("hello")
    shop = module(
        """
        from cloche import Model, Refusal
        import prices

        class Pricing(Model):
            def load(self, bundle):
                self.base = bundle.joblib("base.joblib")["base"]
                self.words = bundle.text("words.txt") + bundle.text("more.txt")

            def predict(self, rows):
                return [
                    {"price": prices.double(self.base + row["age"]), "words": self.words} if row["age"] > 17
                    else Refusal("too_young", "No", path="/age")
                    for row in rows
                ]
        """,
        prices="def double(x): return 2 * x",
    )
    files = {"base.joblib": {"base": 10}, "words.txt": tmp_path / "words.txt", "more.txt": " world"}
    prepared = prepare(draft(shop.Pricing, [{"age": 20}, {"age": 5}, {"age": 30}], files=files))
    assert [case["output"] for case in golden(prepared)] == [
        {"price": 60, "words": "hello world"},
        None,
        {"price": 80, "words": "hello world"},
    ]
    assert golden(prepared)[1]["refusal"] == {"code": "too_young", "message": "No", "path": "/age"}
    assert {path for path in prepared.contents if path.startswith("code/")} == {
        f"code/{shop.__name__}.py",
        "code/prices.py",
    }
    assert f"prices.py, {shop.__name__}.py" in prepared.notices[0]


def test_an_instance_is_not_changed_by_publishing_it(module):
    shop = module(
        """
        from cloche import Model

        class Counting(Model):
            def __init__(self, start):
                self.start = start
                self.loads = 0

            def load(self, bundle):
                self.loads += 1

            def predict_one(self, row):
                return self.start + self.loads + row["x"]
        """
    )
    model = shop.Counting(5)
    prepared = prepare(draft(model, [{"x": 1}, {"x": 2}]))
    assert [case["output"] for case in golden(prepared)] == [7, 8]
    assert model.loads == 0
    assert (prepared.manifest.flavor, prepared.manifest.answers) == ("python", "number")


def test_a_function_of_a_row_or_of_rows():
    one = prepare(draft(lambda row: row["delay"] > 15, [{"delay": 20}, {"delay": 3}])).manifest
    assert (one.flavor, one.takes, one.answers) == ("heuristic", "row", "any")
    many = prepare(draft(lambda rows: [row["delay"] * 2.0 for row in rows], [{"delay": 20}, {"delay": 3}])).manifest
    assert (many.takes, many.answers) == ("rows", "number")


def test_an_onnx_graph_by_path_bytes_and_object(tmp_path):
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    rows = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    model = LogisticRegression().fit(rows, ["no", "yes"] * 3)
    graph = to_onnx(model, rows[:1], options={"zipmap": False})
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    for given in (path, str(path), path.read_bytes(), graph):
        prepared = prepare(draft(given, rows))
        manifest = prepared.manifest
        assert (manifest.flavor, manifest.entry, manifest.runs_code) == ("onnx", "files/model.onnx", False)
        assert (manifest.answers, manifest.classes, manifest.score) == ("label", ["no", "yes"], "/probabilities/yes")
    probabilities = [case["output"]["probabilities"]["yes"] for case in golden(prepared)]
    assert probabilities == pytest.approx(model.predict_proba(rows)[:, 1].tolist(), rel=1e-5)


class Canary:
    """Writes down which process opened it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        code = f"open({str(self.path)!r}, 'a').write(str(__import__('os').getpid()) + ' ')"
        return (eval, (f"[{code}, __import__('sklearn.dummy').dummy.DummyRegressor(strategy='constant', constant=3)"
                       ".fit([[0]], [3])][1]",))  # fmt: skip


async def test_a_pickle_is_opened_by_workers_alone(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(Canary(tmp_path / "pids")))
    registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
    published = publish(draft(path, np.ones((3, 1))), registry)
    assert published.manifest.flavor == "sklearn"
    assert published.manifest.answers == "number"
    await registry.fetch("flights", "1.0.0", published.digest)
    pids = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
    assert len(pids) >= 2
    assert os.getpid() not in pids


def test_a_pickle_among_the_files_is_opened_by_workers_alone(tmp_path, module):
    (tmp_path / "inner.pkl").write_bytes(cloudpickle.dumps(Canary(tmp_path / "pids")))
    shop = module(
        """
        from cloche import Model

        class Around(Model):
            def load(self, bundle):
                self.inner = bundle.joblib("inner.pkl")

            def predict_one(self, row):
                return self.inner.predict([[row["x"]]])[0]
        """
    )
    prepared = prepare(draft(shop.Around, [{"x": 1}], files={"inner.pkl": tmp_path / "inner.pkl"}))
    assert golden(prepared)[0]["output"] == 3
    assert str(os.getpid()) not in (tmp_path / "pids").read_text().split()


def test_a_pickle_that_changes_its_answers_is_refused(tmp_path, module):
    shop = module(
        "import os\nfrom cloche import Model\nclass Pid(Model):\n    def predict_one(self, row): return os.getpid()"
    )
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(shop.Pid))
    with pytest.raises(GoldenMismatch, match="row 0: your object answers"):
        prepare(draft(tmp_path / "model.pkl", [{"x": 1}]))


# ── rankings ──

CALLS = [
    {"market": "de", "items": [{"id": f"p{number}", "price": number / 7, "stock": number % 5} for number in range(6)]},
    {"market": "at", "items": [{"id": "a", "price": 1.1, "stock": 1}, {"id": "b", "price": 9.9, "stock": 0}]},
]
EACH = Each(path="/items", item_id="id", max_items=10)


def ranker(calls=CALLS, **step):
    frame = pd.DataFrame([{"market": call["market"], **item} for call in calls for item in call["items"]])
    columns = make_column_transformer((OneHotEncoder(), ["market"]), ("passthrough", ["price", "stock"]))
    return make_pipeline(columns, LinearRegression()).fit(frame[["market", "price", "stock"]], frame["price"])


def test_a_ranking_by_an_estimator_reads_items_in_single_precision():
    prepared = prepare(draft(ranker(), CALLS, each=EACH))
    manifest = prepared.manifest
    assert manifest.each == EACH
    assert [(column.name, column.float32) for column in manifest.frame.columns] == [
        ("market", False),
        ("price", True),
        ("stock", False),
    ]
    properties = manifest.input_schema["properties"]
    assert set(properties) == {"market", "items"}
    assert properties["items"]["items"]["required"] == ["id", "stock"]
    assert [item["id"] for item in golden(prepared)[1]["output"]] == ["b", "a"]
    assert prepared.notices == []


def test_a_ranking_that_needs_double_precision_gets_it_and_says_so(module):
    shop = module(
        """
        from sklearn.base import BaseEstimator, RegressorMixin

        class Fine(RegressorMixin, BaseEstimator):
            def fit(self, X, y): return self
            def predict(self, X): return ((X["price"] * 1e9) % 1000).to_numpy()
        """
    )
    prepared = prepare(draft(shop.Fine(), CALLS, each=EACH))
    assert not any(column.float32 for column in prepared.manifest.frame.columns)
    assert any("double precision" in notice for notice in prepared.notices)


def test_a_ranking_by_a_function_and_by_a_model(module):
    function = prepare(draft(lambda row: -row["price"] if row["market"] == "de" else row["stock"], CALLS, each=EACH))
    assert [item["id"] for item in golden(function)[0]["output"]][:2] == ["p0", "p1"]
    shop = module(
        """
        from cloche import Model, Refusal

        class Rank(Model):
            def predict(self, rows):
                return [row["price"] if row["stock"] else Refusal("sold_out", "none left") for row in rows]
        """
    )
    model = prepare(draft(shop.Rank, CALLS, each=EACH, version="2.0.0"))
    assert [item["id"] for item in golden(model)[1]["output"]] == ["a"]
    for prepared in (function, model):
        assert [(column.name, column.float32) for column in prepared.manifest.frame.columns] == [("price", True)]
        assert prepared.manifest.takes in ("row", "rows")


def test_a_ranking_by_a_function_that_needs_double_precision_gets_it():
    prepared = prepare(draft(lambda row: (row["price"] * 1e9) % 1000, CALLS, each=EACH))
    assert prepared.manifest.frame is None
    assert any("double precision" in notice for notice in prepared.notices)
    random = prepare(draft(lambda row: (row["price"] * 1e9) % 1000, CALLS, each=EACH, golden="schema"))
    assert random.manifest.frame is None


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([{"market": "de"}], "example 0 has no list of items"),
        ([{"items": []}], "example 0 has no list of items"),
        ([{"items": [{"id": 1}, {"price": 1}]}], "item 1 of example 0 has no id"),
        (pd.DataFrame({"a": [1]}), "they are a DataFrame; give"),
        ([{"items": [{"id": number} for number in range(11)]}], "/items"),
    ],
)
def test_calls_that_are_no_rankings_are_refused(calls, message):
    with pytest.raises(InvalidExamples, match=message):
        prepare(draft(lambda row: 1, calls, each=EACH))


# ── what is refused ──


def test_a_model_whose_answer_depends_on_dtype_is_refused_with_row_and_column(module):
    shop = module(
        """
        from cloche import Model

        class ByType(Model):
            def predict_one(self, row):
                return 0.84 if type(row["departure"]).__name__ == "Timestamp" else 0.56
        """
    )
    frame = pd.DataFrame({"departure": pd.to_datetime(["2013-01-01", "2013-01-02"]), "n": [1, 2]})
    with pytest.raises(GoldenMismatch) as caught:
        prepare(draft(shop.ByType, frame))
    report = str(caught.value)
    assert "2 of 2 examples differ" in report
    assert "row 0: your object answers 0.84, the worker 0.56" in report
    assert "column 'departure': Timestamp('2013-01-01 00:00:00') (Timestamp) there" in report
    assert "'2013-01-01T00:00:00Z' (str) here" in report
    assert "column 'n'" not in report


def test_a_model_that_looks_at_its_neighbors_is_refused(module):
    shop = module(
        "from cloche import Model\nclass Mean(Model):\n    def predict(self, rows): return [len(rows) for _ in rows]"
    )
    with pytest.raises(GoldenMismatch, match="row 0: your object answers 3, the worker 1"):
        prepare(draft(shop.Mean, [{"x": 1}, {"x": 2}, {"x": 3}]))


def test_a_random_model_is_compared_by_its_shape(module):
    shop = module(
        "import random\nfrom cloche import Model\n"
        "class Dice(Model):\n    def predict_one(self, row): return {'eye': random.random()}"
    )
    with pytest.raises(GoldenMismatch, match="first at /eye"):
        prepare(draft(shop.Dice, [{"x": 1}]))
    assert prepare(draft(shop.Dice, [{"x": 1}], golden="schema")).manifest.golden.mode == "schema"


def test_what_fails_in_the_worker_alone_shows_the_authors_traceback(module):
    shop = module(
        """
        import os
        from cloche import Model

        HERE = os.getpid()

        class Homesick(Model):
            def __init__(self):
                self.born = os.getpid()

            def predict_one(self, row):
                if self.born != os.getpid():
                    raise ValueError("where am I?")
                return 1
        """
    )
    with pytest.raises(DoesNotLoad) as caught:
        prepare(draft(shop.Homesick(), [{"x": 1}]))
    assert 'raise ValueError("where am I?")' in str(caught.value)
    assert "ValueError: where am I?" in str(caught.value)


def test_one_example_tells_a_function_of_a_row_from_one_of_rows():
    assert prepare(draft(sorted, [{"a": 1.5, "b": "x"}])).manifest.takes == "row"
    assert prepare(draft(lambda row: [1], [{"a": 1.5}])).manifest.takes == "row"
    assert prepare(draft(lambda rows: [row["a"] for row in rows], [{"a": 1.5}])).manifest.takes == "rows"


def test_what_fails_at_home_is_not_sent_to_a_worker():
    with pytest.raises(
        NotPublishable, match="LogisticRegression: asked with its own examples, it raises NotFittedError"
    ):
        prepare(draft(LogisticRegression(), np.ones((2, 2))))
    with pytest.raises(NotPublishable, match="the model returned a float"):
        prepare(draft(lambda rows: 1.0, [{"x": 1}], takes="rows"))
    with pytest.raises(NotPublishable, match="NaN"):
        prepare(draft(lambda row: float("nan"), [{"x": 1}]))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), "it has no method predict; give an estimator"),
        (LogisticRegression, "it is a class; publish the fitted object"),
        ({"a": 1}, "it has no method predict"),
        (type("Booster", (), {"predict": lambda self, rows: rows})(), "wrap it in a cloche.Model"),
        ("nowhere.pkl", "there is no file nowhere.pkl"),
        (Path(__file__), "name it .onnx, or .pkl"),
        (b"not onnx", "ONNX Runtime can't open it"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_do(model, message):
    with pytest.raises(NotPublishable, match=message):
        prepare(draft(model, [{"x": 1}]))


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "there are none"),
        (pd.DataFrame({"x": []}), "there are none"),
        ("rows", "they are a str; give a DataFrame"),
        ([{"x": float("nan")}], "NaN"),
        ([{"x": object()}], "a object, which JSON does not have, at /x"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name"),
        (pd.DataFrame({1: [2]}), "column names must be strings"),
        (pd.Series([1, 2]), "they are a Series"),
    ],
)
def test_examples_that_can_not_be_used_are_refused(examples, message):
    model = (lambda row: 1) if isinstance(examples, list) else LinearRegression()
    with pytest.raises(InvalidExamples, match=message):
        prepare(draft(model, examples))


def test_examples_must_fit_a_schema_given_by_hand():
    schema = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 5}}, "required": ["x"]}
    assert prepare(draft(lambda row: 1, [{"x": 6}], schema=schema)).manifest.input_schema == schema
    with pytest.raises(InvalidExamples, match="/inputs/0/x does not fit the schema"):
        prepare(draft(lambda row: 1, [{"x": 4}], schema=schema))


@pytest.mark.parametrize("name", ["../x", "/abs", "a\\b", "", "a//b", "./a", "model.pkl", "a\nb"])
def test_files_with_other_names_are_refused(name):
    with pytest.raises(NotPublishable, match="file "):
        prepare(draft(lambda row: 1, [{"x": 1}], files={name: b""}))


def test_text_that_names_a_file_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("content")
    with pytest.raises(NotPublishable, match="also names a file; give Path"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a.txt": str(tmp_path / "a.txt")}))
    with pytest.raises(NotPublishable, match="there is no file"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a.txt": tmp_path / "b.txt"}))
    with pytest.raises(NotPublishable, match="can't be pickled"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a": iter([]), "b": sys.stdout.buffer}))


@pytest.mark.parametrize(
    "options",
    [
        {"golden": "Equal"},
        {"takes": "frames"},
        {"unknown_fields": "refused"},
        {"deadline_ms": 0},
        {"deadline_ms": "500"},
        {"deadline_ms": 0.5},
        {"deadline_ms": True},
        {"hang_after_ms": 10**30},
        {"message": 3},
        {"description": b"text"},
        {"method": 1},
        {"files": ["clf.joblib"]},
        {"each": Each("items", "sku")},
        {"each": Each("/", "sku")},
        {"each": Each("/items/all", "sku")},
        {"each": Each("/items", 3)},
        {"each": Each("/items", "sku", "up")},
        {"each": Each("/items", "sku", max_items=0)},
    ],
)
def test_options_that_mean_nothing_are_refused_before_they_are_written_down(options):
    (name,) = options
    with pytest.raises(NotPublishable, match=f"with {name}="):
        prepare(draft(lambda row: 1, [{"a": 1, "items": [{"sku": 1}]}], **options))


def test_a_bad_name_is_refused_before_anything_is_asked():
    with pytest.raises(InvalidName):
        prepare(draft(lambda row: pytest.fail("asked"), [{"x": 1}], name="No Such"))


# ── the registry ──


async def test_the_first_version_is_live_and_the_next_is_not(registry):
    first = publish(draft(lambda row: 1, [{"x": 1}]), registry)
    second = publish(draft(lambda row: 2, [{"x": 1}], version="1.1.0"), registry)
    assert (first.live, second.live) == (True, False)
    routing = (await registry.releases.live()).models["flights"]
    assert (routing.default, routing.active) == ("1.0.0", {"1.0.0": first.digest})
    assert (await registry.releases.read(1)).command == "publish"


def test_the_same_again_is_nothing_new_and_other_content_is_refused(registry):
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    first = publish(draft(model, np.ones((2, 1))), registry)
    again = publish(draft(model, np.ones((2, 1))), registry)
    assert (again.is_new, again.digest, again.live) == (False, first.digest, True)
    with pytest.raises(VersionExists, match=r"next free one is 1\.0\.1"):
        publish(draft(LinearRegression().fit([[1.0], [2.0]], [5.0, 9.0]), np.ones((2, 1))), registry)


def test_a_random_number_generator_is_none_of_its_business():
    random.seed(1)
    before = random.getstate()
    prepare(draft(lambda row: 1, [{"x": 1}]))
    assert random.getstate() == before


# ── scripts and notebooks ──


def run(script, folder, *arguments):
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    environ = os.environ | {"CLOCHE_HOME": str(folder / "home")}
    return subprocess.run([sys.executable, path, *arguments], cwd=folder, env=environ, capture_output=True, text=True)


SCRIPT = """
    import asyncio, sys
    from cloche import Model, publish
    import beside

    class Mine(Model):
        def predict_one(self, row):
            return beside.double(row["x"]) + OFFSET

    OFFSET = 3

    async def in_a_notebook():
        return publish(Mine, name="mine", version="1.0.0", examples=[{"x": 1}, {"x": 2}])

    published = asyncio.run(in_a_notebook())
    print(published.digest, published.is_new)
"""


def test_a_class_of_a_script_or_notebook_inside_a_running_loop(tmp_path):
    (tmp_path / "beside.py").write_text("import deeper.inner\ndef double(x): return deeper.inner.times(2, x)\n")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "__init__.py").write_text("")
    (tmp_path / "deeper" / "inner.py").write_text("def times(a, b): return a * b\n")
    (tmp_path / "deeper" / "secrets_of_the_house.py").write_text("PASSWORD = 1\n")
    (tmp_path / "deeper" / ".env").write_text("PASSWORD=1\n")
    (tmp_path / "deeper" / "tests").mkdir()
    (tmp_path / "deeper" / "tests" / "test_inner.py").write_text("")
    (tmp_path / "deeper" / "customers.csv").write_text("ada")
    done = run(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-4].startswith("Published mine 1.0.0 (sha256:")
    assert lines[-4].endswith(f"in {tmp_path / 'home' / 'registry'}")
    assert lines[-3:] == [
        "  x: integer",
        "  Your own modules went in as source: beside.py, deeper/__init__.py, deeper/inner.py",
        "  It is live: calls to mine get it.",
    ]


def test_publishing_the_same_script_again_is_nothing_new(tmp_path):
    script = """
        from cloche import publish
        published = publish(lambda row: row["x"] * 2, name="m", version="1.0.0", examples=[{"x": 1}], quiet=True)
        print(published.digest)
    """
    outputs = [run(script, tmp_path) for _ in range(2)]
    assert outputs[0].returncode == outputs[1].returncode == 0, outputs[1].stderr
    assert outputs[0].stdout == outputs[1].stdout
    assert outputs[0].stderr == ""
