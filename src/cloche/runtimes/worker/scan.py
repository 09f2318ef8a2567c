"""A look at pickles that does not open them: what would be called if somebody did. Advice, and never proof."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

_COMPRESSED = (b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18")
_CODE = "cloudpickle.cloudpickle"
_MOST_NAMES = 8


def findings(row: dict[str, Any]) -> dict[str, list[str]]:
    """Let picklescan read files.

    Args:
        row: `paths`, of files of a bundle, relative to it.

    Returns:
        `findings`: one sentence for each file that there is something to say of.
    """
    found = ((path, _finding(Path(path))) for path in row["paths"])
    return {"findings": [f"picklescan on {path}: {finding}." for path, finding in found if finding]}


def _finding(path: Path) -> str:
    from picklescan.scanner import SafetyLevel, scan_bytes

    data = path.read_bytes()
    if data.startswith(_COMPRESSED):
        return "it is compressed, which it can't look into"
    try:
        result = scan_bytes(io.BytesIO(data), path.name, path.suffix)
    except Exception as error:  # noqa: BLE001  a file that a scanner trips over is worth a look
        return f"it can't be read ({type(error).__name__})"
    called = {(each.module, each.name) for each in result.globals if each.safety is SafetyLevel.Dangerous}
    names = sorted(f"{module}.{name}" for module, name in called if module != _CODE)
    told = [f"opening it uses {', '.join(names[:_MOST_NAMES])}, with which it can do anything"] if names else []
    told += ["it carries functions as code (cloudpickle)"] if any(module == _CODE for module, _ in called) else []
    told += ["a part of it can't be read"] if result.scan_err else []
    return "; ".join(told)
