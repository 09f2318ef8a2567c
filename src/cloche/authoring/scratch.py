"""A private folder for the time of a trial. What publishers left behind that were killed goes with the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "cloche-trial-"
_LOCK = "lock"
_ABANDONED_S = 3600
"""A folder without a lock may be one that is being made; after this long nobody is making it."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that nobody else reads, and remove it at the end with all that is in it.

    Raises:
        OSError: it can't be made.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path) -> int:
    """Hold the folder's lock, which the system frees when this process dies. It appears there locked."""
    draft = folder / f"{_LOCK}.new"
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder / _LOCK)
    return lock


def _sweep(parent: Path) -> None:
    """Remove the folders of this user whose publishers are dead."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                _remove_if_dead(folder, found.st_mtime)


def _remove_if_dead(folder: Path, changed: float) -> None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if changed < time.time() - _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is in use
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
