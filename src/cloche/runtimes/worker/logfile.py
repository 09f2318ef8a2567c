"""The file that the output of a version's workers goes to: the newest megabytes, and as many again beside it.

Standard library only: the worker turns its own file while it runs, and the host looks after it before one starts.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cloche.runtimes.worker.plain import NotPlain, open_plain

MOST_BYTES = 10_000_000
"""How large a file may be before a new one is begun; it may be larger by what one call writes."""

_STDOUT, _STDERR = 1, 2

_ADDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def log_of(logs: Path, model: str, version: str) -> Path:
    """Return the file of a version. It has a folder of its own, the only one here that its workers may write to."""
    return logs / f"{model}-{version}" / "output.log"


def older(path: Path) -> Path:
    """Return where the file is kept that the present one followed."""
    return path.with_name(f"{path.name}.1")


def outputs_in(logs: Path) -> list[Path]:
    """Return what there is of all versions, be it a link that a worker has put there."""
    return sorted(logs.glob("*/output.log*"))


def turn(path: Path) -> None:
    """Begin anew where the file is too large and nobody writes to it. Where that fails, it goes on as it is."""
    with suppress(OSError):
        if path.lstat().st_size > MOST_BYTES:
            path.replace(older(path))


def open_log(path: Path) -> int:
    """Open the file to add what a worker says, and return its descriptor.

    The worker writes to what it is given here, with the rights of its host. So where an earlier one has put something
    else in the place of the file, or a second name of a file that lies elsewhere, that goes.

    Raises:
        OSError: it can't be opened.
    """
    with suppress(NotPlain):
        opened = open_plain(path, _ADDING)
        if os.fstat(opened).st_nlink <= 1:
            return opened
        os.close(opened)
    path.unlink(missing_ok=True)
    return open_plain(path, _ADDING | os.O_EXCL)


def turn_own(path: Path) -> None:
    """Begin anew where the output of this process goes to the file, and it is too large.

    Every byte goes to one file or the other, also what other threads write meanwhile. Where that fails, it goes on as
    it is.
    """
    with suppress(OSError):
        present = os.fstat(_STDERR)
        if present.st_size <= MOST_BYTES or not os.path.samestat(present, path.stat()):
            return
        draft = path.with_name(f"{path.name}.new")
        opened = open_plain(draft, _ADDING)
        path.replace(older(path))
        draft.replace(path)
        for stream in (_STDOUT, _STDERR):
            os.dup2(opened, stream)
        os.close(opened)


def tail(path: Path, size: int) -> str:
    """Return the last `size` bytes that were written, as text; nothing where there is no file, or something else."""
    present = _end(path, size)
    before = _end(older(path), size - len(present)) if len(present) < size else b""
    return (before + present).decode("utf-8", "replace")


def _end(path: Path, size: int) -> bytes:
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except (FileNotFoundError, NotPlain):
        return b""
