from __future__ import annotations

import json
import pickle
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import pytest

from cloche.runtimes.worker.flavors import load_predict
from cloche.runtimes.worker.loading import CodeOfAnotherPython, check_byte_code
from cloche.runtimes.worker.manifest import read_manifest


def bundle(folder: Path, content: bytes) -> Path:
    (folder / "files").mkdir()
    (folder / "files" / "model.pkl").write_bytes(content)
    return folder


@pytest.mark.parametrize("dumps", [cloudpickle.dumps, dill.dumps])
def test_functions_as_byte_code_of_another_python_are_not_run(tmp_path: Path, dumps: Callable[[Any], bytes]) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def double(rows): return [2 * row['x'] for row in rows]", namespace)
    folder = bundle(tmp_path, dumps(namespace["double"]))
    with pytest.raises(CodeOfAnotherPython, match=r"model\.pkl .* Python 3\.9, .*workers\.environments"):
        check_byte_code(folder, "3.9.18")
    check_byte_code(folder, platform.python_version())
    check_byte_code(folder, "")


def test_a_worker_looks_before_it_opens_them(tmp_path: Path) -> None:
    folder = bundle(tmp_path, b"no pickle, but with a CodeType")
    manifest = {"format": 1, "flavor": "heuristic", "entry": "files/model.pkl", "environment": {"python": "3.9.18"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CodeOfAnotherPython):
        load_predict(folder, read_manifest(folder))


@pytest.mark.parametrize("content", [pickle.dumps({"of": pickle.dumps}), b""])
def test_what_only_refers_to_functions_is_for_any_python(tmp_path: Path, content: bytes) -> None:
    check_byte_code(bundle(tmp_path, content), "3.9.18")
