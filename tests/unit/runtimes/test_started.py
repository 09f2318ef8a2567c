"""A version that is started for one who waits: an ensemble is its steps and what combines them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cloche.errors import DoesNotLoad, ModelFailed, SchemaMismatch
from cloche.registry.bundle import Column, Environment, Frame, Manifest, Provenance
from cloche.registry.optimized import Agreement, Optimized, Spread, Timed
from cloche.runtimes.copies import Copy, pinned
from cloche.runtimes.started import form_for, start_version
from cloche.values import Ask, CallContext

CONTEXT = CallContext(id="c", now_us=0)
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def copy_in(folder: Path, name: str, source: str = "", **fields: Any) -> Copy:
    """Lay a function out as a version."""
    (folder / name / "code").mkdir(parents=True)
    (folder / name / "code" / f"{name}.py").write_text(source)
    made = Provenance("me", 0), Environment("3.11", "cpython", "linux", {})
    traits = {"flavor": "heuristic", "entry": f"{name}:answer", "takes": "row"} | fields
    manifest = Manifest(
        format=1, name=name, version="1.0.0", files=[], input_schema=SCHEMA, provenance=made[0], environment=made[1],
        **traits,
    )  # fmt: skip
    (folder / name / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return Copy(folder / name, manifest, "sha256:" + "0" * 64)


def ensemble(folder: Path, source: str, **steps: Copy) -> Copy:
    named: dict[str, Any] = {"flavor": "ensemble", "steps": pinned(steps)}
    if not source:
        named |= {"entry": "", "combine": "mean", "answers": "number"}
    return msgspec.structs.replace(copy_in(folder, "both", source, **named), steps=steps)


def ask(copy: Copy, *rows: dict[str, Any]) -> list[Any]:
    with start_version(copy) as version:
        assert version.wait_loaded(60) > 0
        found = version.predict(json.dumps(rows).encode(), len(rows), True, CONTEXT)
        assert version.describe().python
    outputs: list[Any] = json.loads(found.outputs)
    return outputs


ONE = "def answer(row): return row['x']"
TEN = "def answer(row):\n    print('ten')\n    return 10 * row['x']"
BOTH = "def answer(row): return [row['row']['x'], row['a'], row['b']]"


def test_it_answers_with_the_answers_of_its_steps(tmp_path: Path) -> None:
    copy = ensemble(tmp_path, BOTH, a=copy_in(tmp_path, "one", ONE), b=copy_in(tmp_path, "ten", TEN))
    assert ask(copy, {"x": 1}, {"x": 2}) == [[1, 1, 10], [2, 2, 20]]


def test_without_code_it_needs_no_worker_of_its_own(tmp_path: Path) -> None:
    copy = ensemble(tmp_path, "", a=copy_in(tmp_path, "one", ONE), b=copy_in(tmp_path, "ten", TEN))
    assert ask(copy, {"x": 1}, {"x": 2}) == [5.5, 11]


def test_what_a_step_prints_is_part_of_what_is_printed(tmp_path: Path) -> None:
    copy = ensemble(tmp_path, BOTH, a=copy_in(tmp_path, "one", ONE), b=copy_in(tmp_path, "ten", TEN))
    with start_version(copy) as version:
        version.wait_loaded(60)
        assert version.predict(b'[{"x": 1}]', 1, False, CONTEXT).printed == "b: ten\n"


def test_a_step_that_does_not_load_is_named(tmp_path: Path) -> None:
    broken = copy_in(tmp_path, "broken", "raise RuntimeError('no such table')")
    copy = ensemble(tmp_path, BOTH, a=copy_in(tmp_path, "one", ONE), b=broken)
    with start_version(copy) as version, pytest.raises(DoesNotLoad, match=r"Its step b \(broken 1\.0\.0\)") as raised:
        version.wait_loaded(60)
    assert "no such table" in str(raised.value)


def test_a_step_that_fails_and_one_that_takes_no_such_row_are_named(tmp_path: Path) -> None:
    fails = copy_in(tmp_path, "fails", "def answer(row): return 1 // row['x']")
    copy = ensemble(tmp_path, BOTH, a=copy_in(tmp_path, "one", ONE), b=fails)
    with start_version(copy) as version:
        version.wait_loaded(60)
        with pytest.raises(ModelFailed) as raised:
            version.predict(b'[{"x": 0}]', 1, False, CONTEXT)
        assert raised.value.private["traceback"].startswith("The step b (fails 1.0.0) failed.")
        with pytest.raises(SchemaMismatch) as refused:
            version.predict(b'[{"x": "1"}]', 1, False, CONTEXT)
        assert refused.value.faults[0]["pointer"] == "/input/x"


def optimized(folder: Path, *table: tuple[int, str]) -> Copy:
    """Lay out a function whose second form, a graph, says twice of what it says: so it is seen who has answered."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs cloche[optimize]")
    linear = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    spread = Spread(1.0, 1.0, 1.0)
    lines = [Timed(rows, spread, spread, faster) for rows, faster in table]  # type: ignore[arg-type]
    second = Optimized("onnx", "twice.onnx", "onnx-double", lines, Agreement(1, 0, 0, 1e-5, 0.0))
    frame = Frame([Column("x", "int64", "integer")])
    copy = copy_in(folder, "once", ONE, optimized=second, frame=frame, answers="number")
    graph = skl2onnx.to_onnx(linear, np.zeros((1, 1)), target_opset=18)
    (copy.folder / "twice.onnx").write_bytes(graph.SerializeToString())
    return copy


def test_each_form_of_an_optimized_version_answers_what_it_answers_in_a_gateway(tmp_path: Path) -> None:
    copy = optimized(tmp_path, (1, "converted"), (2, "original"))
    assert ask(copy, {"x": 3}) == [pytest.approx(6.0)]
    assert ask(copy, {"x": 3}, {"x": 4}) == [3, 4]
    asks = [Ask(b"[]", rows, True, CONTEXT, 0) for rows in (1, 2)]
    assert [form_for(copy.manifest, each) for each in asks] == ["onnx-double", "original"]
    assert form_for(copy_in(tmp_path, "plain").manifest, asks[0]) is None


def test_where_the_original_answers_nothing_it_has_no_worker(tmp_path: Path) -> None:
    copy = optimized(tmp_path, (1, "converted"))
    (copy.folder / "code" / "once.py").write_text("raise SystemExit")
    assert ask(copy, {"x": 3}, {"x": 4}) == [pytest.approx(6.0), pytest.approx(8.0)]
