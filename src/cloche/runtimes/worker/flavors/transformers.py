"""`transformers`: a pipeline of Hugging Face, with its weights in the bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, Rows
from cloche.runtimes.worker.manifest import Manifest

TASK = "files/task.txt"


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the pipeline. Nothing is fetched: all of it is in the bundle, and code in it is not run."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    task = (folder / TASK).read_text(encoding="utf-8")
    return transformers.pipeline(task, model=str((folder / manifest.entry).parent), device=-1)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that gives it the rows: of one field the value, of more the row as a dict."""
    del manifest

    def ask(rows: Rows, _: Any) -> list[Any]:
        return list(model([next(iter(row.values())) if len(row) == 1 else dict(row) for row in rows]))

    return ask
