"""From an object to a published version, with real workers."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from drafts import draft, golden
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cloche.authoring.preparing import EXAMPLES, prepare
from cloche.authoring.publish import publish
from cloche.drivers import open_objects
from cloche.errors import FileUnusable, GoldenMismatch, InvalidExamples, InvalidSchema, NotPublishable, VersionExists
from cloche.registry.catalog import Registry


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
    assert manifest.output_schema == {
        "type": "object",
        "properties": {
            "label": {"type": "boolean"},
            "probabilities": {
                "type": "object",
                "properties": {"false": {"type": "number"}, "true": {"type": "number"}},
            },
        },
    }
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
    assert manifest.output_schema == {"type": "number"}
    mixed = prepare(draft(LinearRegression().fit(flights[0][["hour"]], frame["hour"]), flights[0][["hour"]].head(5)))
    assert mixed.manifest.takes == "frame"


def test_what_is_in_a_file_is_asked_as_arrays_too(tmp_path):
    rows = [{"a": float(n), "b": 2.0 * n} for n in range(6)]
    frame = pd.DataFrame(rows)
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(LinearRegression().fit(frame.to_numpy(), frame["a"])))
    assert prepare(draft(path, rows)).manifest.takes == "array"
    by_name = make_pipeline(make_column_transformer(("passthrough", ["a"])), LinearRegression())
    path.write_bytes(cloudpickle.dumps(by_name.fit(frame, frame["a"])))
    assert prepare(draft(path, rows)).manifest.takes == "frame", "it has names for its columns"


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
    assert prepared.manifest.output_schema == {
        "type": "object",
        "properties": {"price": {"type": "number"}, "words": {"type": "string"}},
    }
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


def test_a_module_that_only_has_the_name_of_a_field_stays_behind(author):
    author({"price.py": "DB_PASSWORD = 'hunter2'", "rates.py": "RATE = 2", "lazily.py": "RATE = 2"}, "rates")
    source = """
        import rates
        def total(rows):
            from lazily import RATE
            return [row["price"] * RATE * rates.RATE for row in rows], (lambda row: row.price)
        def first(rows): return total(rows)[0]
    """
    namespace = {"__name__": "__main__"}
    exec(textwrap.dedent(source), namespace)
    prepared = prepare(draft(namespace["first"], [{"price": 1.0}, {"price": 2.0}]))
    code = {path for path in prepared.contents if path.startswith("code/") and "__main__" not in path}
    assert code == {"code/rates.py", "code/lazily.py"}


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


def test_an_onnx_graph_with_a_zipmap_keeps_its_probabilities():
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    rows = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    model = LogisticRegression().fit(rows, ["no", "yes"] * 3)
    graph = to_onnx(model, rows[:1])
    assert [node.op_type for node in graph.graph.node][-1] == "ZipMap"
    prepared = prepare(draft(graph, rows))
    assert (prepared.manifest.answers, prepared.manifest.classes) == ("label", ["no", "yes"])
    answers = [case["output"] for case in golden(prepared)]
    assert [answer["label"] for answer in answers] == model.predict(rows).tolist()
    shares = [[answer["probabilities"][name] for name in ("no", "yes")] for answer in answers]
    assert shares == [pytest.approx(row, rel=1e-5) for row in model.predict_proba(rows).tolist()]


def test_what_only_transforms_is_asked_by_that_method(tmp_path):
    rows = np.arange(12.0).reshape(6, 2)
    model = PCA(1).fit(rows)
    prepared = prepare(draft(model, rows, method="transform"))
    assert (prepared.manifest.method, prepared.manifest.answers) == ("transform", "number")
    assert [case["output"] for case in golden(prepared)] == pytest.approx(model.transform(rows)[:, 0].tolist())
    path = tmp_path / "encoder.pkl"
    words = pd.DataFrame({"word": ["a", "b", "a"]})
    path.write_bytes(cloudpickle.dumps(OneHotEncoder().fit(words)))
    sparse = prepare(draft(path, words, method="transform"))
    assert [case["output"] for case in golden(sparse)] == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


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


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"model": lambda row: row["y"]}, NotPublishable),
        ({"model": lambda row: {"price": row["x"]}, "score": "/prize"}, NotPublishable),
        ({"examples": [{"x": object()}]}, InvalidExamples),
        ({"schema": {"type": "nothing"}}, InvalidSchema),
        ({"files": {"data": Path("/dev/null/nothing")}}, NotPublishable),
        ({"deadline_ms": 0}, NotPublishable),
    ],
)
async def test_what_fails_leaves_its_version_free(registry, broken, error):
    sound = {"model": lambda row: row["x"], "examples": [{"x": 1}]}
    with pytest.raises(error):
        publish(draft(**(sound | broken)), registry)
    assert await registry.models() == []
    published = publish(draft(**sound), registry)
    assert (published.manifest.version, published.is_new, published.live) == ("1.0.0", True, True)


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "home").write_text("no folder")
    registry = Registry(open_objects((tmp_path / "home" / "registry").as_uri()), tmp_path / "cache")
    with pytest.raises(FileUnusable, match=r"home/registry.* can.t be used: Not a directory"):
        publish(draft(lambda row: 1, [{"x": 1}]), registry)


def test_a_full_disk_is_named(tmp_path):
    script = """
        import resource
        from cloche import publish
        from cloche.errors import FileUnusable
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            publish(lambda row: 1, name="m", version="1.0.0", examples=[{"x": 1}], files={"big": b"x" * 20_000})
        except FileUnusable as error:
            print(error)
    """
    done = run(script, tmp_path)
    assert "can't be used: File too large. See to that, and publish again" in done.stdout, done.stderr


def test_a_random_number_generator_is_none_of_its_business():
    random.seed(1)
    before = random.getstate()
    prepare(draft(lambda row: 1, [{"x": 1}]))
    assert random.getstate() == before


def test_a_model_that_reads_the_clock_is_told_of():
    """Within the tolerance of golden cases all moments of a day are the same."""
    (told,) = prepare(draft(lambda row: time.time(), [{"x": 1}])).notices
    assert told.startswith("Asked the same twice, one worker gave two answers")
    assert prepare(draft(lambda row: time.time(), [{"x": 1}], golden="schema")).notices == []


def test_the_time_of_a_call_is_no_clock(module):
    shop = module("""
        from cloche import Model

        class Aged(Model):
            def predict_one(self, row, info):
                return info.now_us - row["born_us"]
    """)
    assert not any("twice" in said for said in prepare(draft(shop.Aged, [{"born_us": 1}])).notices)


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


@pytest.mark.parametrize(
    ("deadline_ms", "said"),
    [
        (50, ["Its quickest example took 0.1 s, and a call has 50 ms: callers will get status 504. "]),
        (None, []),
    ],
)
def test_a_model_that_no_caller_will_wait_for_is_told_so(deadline_ms, said):
    def slow(row):
        time.sleep(0.1)
        return row["a"]

    notices = prepare(draft(slow, [{"a": 1.0}, {"a": 2.0}], deadline_ms=deadline_ms)).notices
    assert [notice.partition("Publish it")[0] for notice in notices] == said
