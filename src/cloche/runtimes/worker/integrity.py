"""Whether a bundle is still what was checked when it was copied, looked at before anything of it is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

_CHUNK = 1 << 20
_NOT_LOADED = "personal"


def check_bundle(folder: Path, digest: str) -> None:
    """Hash every file that can be loaded.

    Args:
        folder: the bundle.
        digest: `sha256:` and the hexadecimal SHA-256 of its manifest, which names all others.

    Raises:
        ValueError: a file is changed, gone, or too many.
    """
    manifest = folder / "manifest.json"
    if manifest.is_symlink() or f"sha256:{_sha256(manifest)}" != digest:
        raise ValueError("the manifest of this bundle has changed since it was checked")
    files = {file["path"]: file["sha256"] for file in json.loads(manifest.read_text(encoding="utf-8"))["files"]}
    present = {path.relative_to(folder).as_posix() for path in _files_below(folder)} - {"manifest.json"}
    for path in sorted(present ^ files.keys()):
        raise ValueError(f"{path} of this bundle is {'new' if path in present else 'gone'} since it was checked")
    for path, expected in files.items():
        if (folder / path).is_symlink() or _sha256(folder / path) != expected:
            raise ValueError(f"{path} of this bundle has changed since it was checked")


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        if Path(parent) == folder and _NOT_LOADED in folders:
            folders.remove(_NOT_LOADED)
        found += [Path(parent, name) for name in names]
        found += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
    return found


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
