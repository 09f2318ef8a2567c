from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloche.runtimes.process import WorkerProcess

MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a bundle folder; `code` is the source of its module `model`."""

    def make(
        code: str = "",
        files: Mapping[str, bytes] | None = None,
        modules: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Path:
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        (folder / "files").mkdir(parents=True)
        (folder / "code").mkdir()
        for name, data in (files or {}).items():
            (folder / "files" / name).write_bytes(data)
        for name, source in {"model.py": code, **(modules or {})}.items():
            (folder / "code" / name).write_text(textwrap.dedent(source))
        manifest = {"format": 1, "name": "tried", "version": "1.0.0", "flavor": "python", "entry": "model:M"} | fields
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def run(make_bundle: MakeBundle) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a worker of a new bundle, and wait until it has loaded."""
    started: list[WorkerProcess] = []

    def start(code: str = "", python: str | None = None, **fields: Any) -> WorkerProcess:
        options = {} if python is None else {"python": python}
        worker = WorkerProcess.start(make_bundle(code, **fields), **options)
        started.append(worker)
        worker.wait_loaded(60)
        return worker

    yield start
    for worker in started:
        worker.stop(1)
