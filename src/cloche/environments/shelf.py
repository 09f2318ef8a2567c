"""The environments of one host, each whole or not there, and held by those who use it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

logger = logging.getLogger(__name__)

UNUSED_DAYS: Final = 30
"""An environment that nobody has used for longer is removed when another one is built."""

_WAIT_S = 0.2
_DRAFT = ".new-"
_NOTE = "used"
"""Its time is when the environment was last asked for."""

Build = Callable[[Path], Awaitable[None]]
"""Makes an environment in a folder that is there and empty, and is moved to its place afterwards."""


class OnShelf(msgspec.Struct, frozen=True):
    """An environment that is there."""

    folder: Path
    used_s: float
    """When it was last asked for, in seconds of Unix time."""
    size: int
    """Bytes on the disk."""


class Lock:
    """A lock on an environment. The system frees it when this process dies."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def share(self) -> bool:
        """Return whether it is ours now, together with others who share it."""
        return self._take(fcntl.LOCK_SH)

    def seize(self) -> bool:
        """Return whether it is ours alone now."""
        return self._take(fcntl.LOCK_EX)

    def _take(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)


class Shelf:
    """A folder of environments: `{name}/`, drafts of what is being built, and two locks of each.

    `{name}.making` is had by who builds or removes it, alone. `{name}.using` is shared by the processes that have asked
    for it, for as long as they live.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._using: dict[str, Lock] = {}

    async def get(self, name: str, build: Build, waits: Callable[[], None] = lambda: None) -> Path:
        """Return the folder of an environment, after it was built where it was not there. It stays while we live.

        Args:
            name: hexadecimal digits.
            build: makes it. Whoever else asks meanwhile, here or in another process, waits for that.
            waits: is called when somebody else is building it.

        Raises:
            OSError: the disk does not take it.
        """
        path = self._folder / name
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name not in self._using:
            self._using[name] = Lock(self._folder / f"{name}.using")
        while not (self._using[name].share() and _is_whole(path)):
            await self._make(name, build, waits)
        _touch(path)
        return path

    def close(self) -> None:
        """Use none of them any longer."""
        while self._using:
            self._using.popitem()[1].close()

    def there(self) -> list[OnShelf]:
        """Return the environments, the one that is unused for longest first."""
        found = [OnShelf(path, _used(path), _size(path)) for path in self._environments() if _is_whole(path)]
        return sorted(found, key=lambda each: each.used_s)

    def tidy(self) -> None:
        """Remove what builds that were killed have left, and what nobody uses and none has for `UNUSED_DAYS`."""
        oldest = time.time() - UNUSED_DAYS * 86_400
        for name in {path.name.split("-")[1] for path in self._folder.glob(f"{_DRAFT}*")}:
            with _opened(self._folder / f"{name}.making") as making:
                if making.seize():
                    self._remove_drafts(name)
        for path in [path for path in self._environments() if _used(path) < oldest]:
            with (
                _opened(self._folder / f"{path.name}.making") as making,
                _opened(self._folder / f"{path.name}.using") as using,
            ):
                if making.seize() and using.seize():
                    logger.info("removing the environment %s, unused for %d days", path.name, UNUSED_DAYS)
                    self._remove(path.name)

    async def _make(self, name: str, build: Build, waits: Callable[[], None]) -> None:
        """Build it, or wait until somebody else has."""
        with _opened(self._folder / f"{name}.making") as making:
            while not making.seize():
                waits()
                await asyncio.sleep(_WAIT_S)
            if not _is_whole(self._folder / name):
                await self._build(name, build)

    async def _build(self, name: str, build: Build) -> None:
        path = self._folder / name
        await asyncio.to_thread(self._remove, name)
        draft = Path(tempfile.mkdtemp(prefix=f"{_DRAFT}{name}-", dir=self._folder))
        try:
            await build(draft)
            (draft / _NOTE).touch()
            await asyncio.to_thread(os.sync)  # thousands of files; a rename must not reach the disk before they do
            draft.rename(path)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    def _remove(self, name: str) -> None:
        """Remove an environment and its drafts; whoever is making it owns them all."""
        path = self._folder / name
        if path.exists():
            path.rename(Path(tempfile.mkdtemp(prefix=f"{_DRAFT}{name}-", dir=self._folder)) / "removed")
        self._remove_drafts(name)

    def _remove_drafts(self, name: str) -> None:
        for draft in self._folder.glob(f"{_DRAFT}{name}-*"):
            shutil.rmtree(draft, ignore_errors=True)

    def _environments(self) -> list[Path]:
        return list(self._folder.glob("[0-9a-f]*/"))


def interpreter(environment: Path) -> Path:
    """Return where the interpreter of an environment is."""
    return environment / "bin" / "python"


@contextmanager
def _opened(path: Path) -> Iterator[Lock]:
    lock = Lock(path)
    try:
        yield lock
    finally:
        lock.close()


def _is_whole(path: Path) -> bool:
    """Tell whether it is there. The Python that it is made from may have been removed; then it is of no use."""
    return interpreter(path).exists()


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path / _NOTE)


def _used(path: Path) -> float:
    try:
        return (path / _NOTE).stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*"))
