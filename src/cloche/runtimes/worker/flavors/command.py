"""`command`: a program of any language that answers JSON Lines with JSON Lines, a line for a row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloche.model import CallInfo, Refusal
from cloche.runtimes.worker.flavors.asking import Ask, Rows
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.program import Program

_HANG_AFTER_MS = 5_000
_SHARE = 0.8
"""Of the time after which a worker counts as hung: the program is given up before, and the call fails with a reason."""


def load(folder: Path, manifest: Manifest) -> Program:
    """Start the program, in the folder of the bundle's files."""
    assert manifest.command is not None
    patience_s = _SHARE * (manifest.hang_after_ms or _HANG_AFTER_MS) / 1000
    files = folder / "files"
    program = Program(manifest.command, files if files.is_dir() else folder, patience_s)
    program.start()
    return program


def ask_of(model: Program, manifest: Manifest) -> Ask:
    """Return the function that writes rows and reads answers; `{"refusal": {…}}` is the refusal of a row."""
    del manifest

    def ask(rows: Rows, _: Sequence[CallInfo]) -> list[Any]:
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in rows]
        return [_item(model, line) for line in model.ask(lines)]

    return ask


def _item(program: Program, line: bytes) -> Any:
    try:
        item = json.loads(line)
    except ValueError:
        shown = line[:200].decode("utf-8", "replace")
        raise program.fail(f"answered what is no JSON: {shown!r}") from None
    if not isinstance(item, dict) or item.keys() != {"refusal"}:
        return item
    said = item["refusal"]
    if not isinstance(said, Mapping) or not _is_refusal(said):
        raise program.fail("refused a row without saying code and message, as in " + _REFUSAL)
    return Refusal(said["code"], said["message"], said.get("path"))


_REFUSAL = '{"refusal": {"code": "unknown_vehicle", "message": "We do not price it yet", "path": "/vehicle"}}'


def _is_refusal(said: Mapping[str, Any]) -> bool:
    texts = [said.get("code"), said.get("message"), said.get("path", "")]
    return said.keys() <= {"code", "message", "path"} and all(isinstance(text, str) for text in texts)
