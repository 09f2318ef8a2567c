"""Opening what a bundle holds. Unpickling runs the author's code: it happens in worker processes and nowhere else."""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import pickle
import platform
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_COMPRESSED = (b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18")
"""How files of zlib, gzip, bzip2, xz, lzma and lz4 begin."""

_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7zXZ": lzma.open}
"""What opens those that `dill.dump` may have been given."""

_NAME_OF_DILL = "__builtin__"
"""The module that only dill knows how to find."""

_WRITERS = ("dill", "cloudpickle", "joblib")
"""Packages that read what they have written."""


_CARRIES_CODE = (b"CodeType", b"_create_code")
"""What cloudpickle and dill name in a pickle that carries functions, and does not merely refer to them."""


class Damaged(ValueError):
    """A file is no pickle, or not all of one."""


class CodeOfAnotherPython(RuntimeError):
    """A pickle carries functions as byte code, which only the Python that made it can run."""


def unpickle(path: Path) -> Any:
    """Return the object of a file that pickle, cloudpickle, dill or joblib wrote, compressed or not.

    Raises:
        Damaged: it is no pickle, or not all of one.
        ModuleNotFoundError: the package that wrote it is not installed here; with how to install it.
    """
    if not path.stat().st_size:
        raise Damaged(f"{path.name} is empty")
    try:
        return _reader(path)(path)
    except (pickle.UnpicklingError, EOFError) as error:
        raise Damaged(f"{path.name} is no pickle, or not all of one: {error}") from None
    except ModuleNotFoundError as error:
        if error.name in _WRITERS:
            message = f"{error.name} has written this file and is not installed here. Run: pip install {error.name}"
            raise ModuleNotFoundError(message, name=error.name) from None
        raise


def _reader(path: Path) -> Callable[[Path], Any]:
    """Return what reads the file: joblib what is compressed or has arrays beside the pickle, dill what names it."""
    with path.open("rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            return _read_joblib
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"joblib.numpy_pickle") >= 0:
                return _read_joblib
            return _read_dill if content.find(b"dill._dill") >= 0 else _read_pickle


def _read_joblib(path: Path) -> Any:
    import joblib

    try:
        return joblib.load(path)
    except ModuleNotFoundError as error:
        if error.name != _NAME_OF_DILL:
            raise
    return _read_dill(path)


def _read_dill(path: Path) -> Any:
    """Read a file with names that only dill understands, such as that of the `__main__` which it was written in."""
    import dill

    with path.open("rb") as file:
        head = file.read(6)
    opened = next((opener for start, opener in _OPENERS.items() if head.startswith(start)), open)
    with opened(path, "rb") as file:
        return dill.load(file)  # noqa: S301  in a worker, of a file whose digest was checked


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  in a worker, of a file whose digest was checked


def check_byte_code(folder: Path, python: str) -> None:
    """Check that this Python can run the functions in a bundle's pickles: another would crash, or answer anything.

    Args:
        folder: of the bundle.
        python: which made it, `3.11.7`; empty where nobody has looked.

    Raises:
        CodeOfAnotherPython: it can't; with what to do.
    """
    made, here = (".".join(version.split(".")[:2]) for version in (python, platform.python_version()))
    if made in ("", here):
        return
    for path in sorted((folder / "files").rglob("*")):
        if path.is_file() and path.stat().st_size and _carries_code(path):
            said = f"{path.name} carries functions as byte code of Python {made}, and this is Python {here}"
            raise CodeOfAnotherPython(f'{said}. Have its environment built: workers.environments = "build"')


def _carries_code(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(name) >= 0 for name in _CARRIES_CODE)


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
