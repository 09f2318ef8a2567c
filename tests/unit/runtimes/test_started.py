"""A version that is started for one who waits: an ensemble is its steps and what combines them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche.errors import DoesNotLoad, ModelFailed, SchemaMismatch
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.runtimes.copies import Copy, pinned
from cloche.runtimes.started import start_version
from cloche.values import CallContext

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
