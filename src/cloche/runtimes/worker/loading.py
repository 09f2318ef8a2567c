"""Opening what a bundle holds. Unpickling runs the author's code: it happens in worker processes and nowhere else."""

from __future__ import annotations

import mmap
import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_COMPRESSED = (b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18")
"""How files of zlib, gzip, bzip2, xz, lzma and lz4 begin."""


def unpickle(path: Path) -> Any:
    """Return the object of a file that pickle, cloudpickle, dill or joblib wrote, compressed or not."""
    if _is_joblib(path):
        import joblib

        return joblib.load(path)
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  in a worker, of a file whose digest was checked


def _is_joblib(path: Path) -> bool:
    """Tell whether only joblib can read the file: a compressed one, or one with arrays beside the pickle."""
    with path.open("rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            return True
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"joblib.numpy_pickle") >= 0


def import_code(folder: Path) -> None:
    """Make the author's own modules in `code/` importable, before any others."""
    code = folder / "code"
    if code.is_dir():
        sys.path.insert(0, str(code))


def open_entry(folder: Path, entry: str) -> Any:
    """Return the object that a manifest's `entry` names: a pickle in `files/`, or `module:name` in `code/`."""
    module, colon, name = entry.partition(":")
    if not colon:
        return unpickle(folder / entry)
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
