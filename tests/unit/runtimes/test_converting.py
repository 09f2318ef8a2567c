"""Converting a version from outside: what comes back, and what is said where nothing does."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cloche.errors import ConversionFailed, DoesNotLoad, MissingExtra
from cloche.registry.bundle import Column, Environment, Frame, Manifest, Provenance
from cloche.runtimes import converting
from cloche.runtimes.confinement import Confinement
from cloche.runtimes.converting import ConvertOptions, convert, with_converters
from cloche.runtimes.copies import Copy
from cloche.runtimes.load import RuntimeOptions, load_runtime
from cloche.runtimes.worker.converting import REPORT
from cloche.values import Ask, CallContext

MakeCopy = Callable[..., Copy]


@pytest.fixture
def make_copy(tmp_path: Path) -> MakeCopy:
    """Lay a version out."""

    def make(flavor: str = "heuristic", code: str = "def answer(row): ...", model: Any = None, **fields: Any) -> Copy:
        folder = tmp_path / "bundle"
        (folder / "files").mkdir(parents=True)
        (folder / "code").mkdir()
        (folder / "code" / "model.py").write_text(code)
        (folder / "files" / "model.pkl").write_bytes(pickle.dumps(model))
        entry = "model:answer" if model is None else "files/model.pkl"
        environment = Environment("3.11", "cpython", "linux", {})
        told = {"entry": entry, "files": [], "input_schema": {}, "environment": environment} | fields
        manifest = Manifest(
            format=1, name="price", version="1.0.0", flavor=flavor, provenance=Provenance("ada", 0), **told
        )
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        return Copy(folder, manifest, digest="")

    return make


async def test_a_converted_model_is_answered_by_a_gateway(make_copy, tmp_path):
    model = LinearRegression().fit(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), [1.0, 3.0, 11.0])
    frame = Frame([Column(name, "float64", "number", nullable=False) for name in ("x0", "x1")])
    copy = make_copy("sklearn", model=model, takes="array", answers="number", frame=frame)
    walls = Confinement(network=False, writable=())
    made = convert(copy, tmp_path / "out", ConvertOptions(trees=3), log=tmp_path / "logs" / "log", confinement=walls)
    assert [one.name for one in made.candidates] == ["onnx-double", "onnx-single"]
    assert [one.form for one in made.reasons] == ["3-trees"]
    assert made.packages["onnx"] == metadata.version("onnx")
    for candidate in made.candidates:
        assert candidate.size == (tmp_path / "out" / candidate.file).stat().st_size
        runtime = load_runtime(
            tmp_path / "out", candidate.manifest(copy.manifest, candidate.file), "", None, RuntimeOptions(tmp_path)
        )
        ask = Ask(b'[{"x0": 2, "x1": 0.5}]', 1, True, CallContext(id="1", now_us=0), 1000)
        (answer,) = msgspec.json.decode((await runtime.predict(ask, 0.0)).outputs)
        assert answer == pytest.approx(10.0, rel=1e-5)


def test_code_is_not_converted_and_says_what_could_be(make_copy, tmp_path):
    made = convert(make_copy(), tmp_path / "out")
    assert made.candidates == []
    (reason,) = made.reasons
    assert reason.reason.startswith("It is a function, and code has no faster form. Estimators and pipelines of scikit")


def test_a_model_that_does_not_load_shows_its_author_why(make_copy, tmp_path):
    copy = make_copy("python", code="1 / 0")
    (copy.folder / "files" / "model.pkl").write_bytes(b"cmodel\nanswer\n.")
    copy = Copy(copy.folder, copy.manifest, digest="")
    manifest = msgspec.structs.replace(copy.manifest, flavor="sklearn", entry="files/model.pkl")
    (copy.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(DoesNotLoad, match="ZeroDivisionError"):
        convert(copy, tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "timeout_s", "reason"),
    [
        ("import os; print('so long', flush=True); os.abort()", 60.0, "it was killed by SIGABRT"),
        ("import os; print('so long', flush=True); os._exit(7)", 60.0, "it exited with status 7"),
        ("import time; print('so long', flush=True); time.sleep(60)", 1.0, "it took longer than 1 s"),
    ],
)
def test_a_process_that_dies_or_hangs_is_told(code, timeout_s, reason, make_copy, tmp_path):
    copy = make_copy("sklearn", code=code, entry="model:answer")
    with pytest.raises(ConversionFailed, match=reason) as raised:
        convert(copy, tmp_path / "out", timeout_s=timeout_s)
    assert "so long" in str(raised.value)


@pytest.mark.parametrize("report", [None, b"{", b'{"packages": {"\xff": ""}}'], ids=["fifo", "cut", "damaged"])
def test_what_a_model_puts_in_the_place_of_the_report_is_none(report, make_copy, tmp_path):
    put = "os.mkfifo(out)" if report is None else f"open(out, 'wb').write({report!r})"
    code = f"import os\nout = {str(tmp_path / 'out' / REPORT)!r}\n{put}\nprint('so long', flush=True)\nos._exit(0)"
    with pytest.raises(ConversionFailed, match="it exited with status 0") as raised:
        convert(make_copy("sklearn", code=code, entry="model:answer"), tmp_path / "out")
    assert "so long" in str(raised.value)


@pytest.mark.parametrize("file", ["../secret", "link", "none"])
def test_a_candidate_is_a_file_of_its_folder(file, make_copy, tmp_path):
    (tmp_path / "secret").write_text("of somebody else")
    candidate = {"name": "onnx-double", "flavor": "onnx", "file": file, "width": "float64", "size": 1}
    report = json.dumps({"packages": {}, "candidates": [candidate]})
    out = str(tmp_path / "out")
    code = (
        f"import os\nos.symlink('../secret', {out!r} + '/link')\nopen({out!r} + '/{REPORT}', 'w').write({report!r})\n"
    )
    with pytest.raises(ConversionFailed):
        convert(make_copy("sklearn", code=f"{code}os._exit(0)", entry="model:answer"), tmp_path / "out")


async def test_the_environment_of_a_version_is_widened_by_what_converts(make_copy):
    asked: list[Manifest] = []

    async def python_of(manifest: Manifest, tell: Any) -> str:
        asked.append(manifest)
        return "python"

    environment = Environment("3.11.2", "cpython", "linux", {"scikit-learn": "1.5.2"}, {"onnx": "1.17.0"})
    manifest = msgspec.structs.replace(make_copy().manifest, environment=environment)
    assert await with_converters(python_of)(manifest, print) == "python"
    (wider,) = asked
    converters = {name: metadata.version(name) for name in ("onnxruntime", "skl2onnx")}
    assert wider.environment.distributions == {"scikit-learn": "1.5.2", "onnx": "1.17.0"} | converters


async def test_without_the_packages_it_says_what_to_install(make_copy, monkeypatch):
    monkeypatch.setattr(converting, "_CONVERTERS", ("skl2onnx-of-nobody",))
    with pytest.raises(MissingExtra, match=r"pip install 'cloche\[optimize\]'"):
        await with_converters(None)(make_copy().manifest, print)
