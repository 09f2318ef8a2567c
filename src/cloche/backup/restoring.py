"""Restoring a backup into an empty home: all of it is checked and in its place before anything of it is seen."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Final

from cloche.backup.place import Backup, BackupPlace, Dump, Kept
from cloche.errors import BackupDamaged, HomeNotEmpty, RestoreUnderWay
from cloche.home import Home

_TOGETHER = 4
_OF_NO_ACCOUNT: Final = frozenset({".gitignore"})
"""What an empty home may hold: `cloche init` makes it."""

Progress = Callable[[int, str], None]
"""Is told how many megabytes were written so far, and which file it is at."""


def check_empty(home: Home) -> None:
    """See that nothing is in a home.

    Raises:
        HomeNotEmpty: something is.
    """
    if home.path.exists() and not (home.path.is_dir() and _names(home.path) <= _OF_NO_ACCOUNT):
        raise HomeNotEmpty(home=home.path)


@asynccontextmanager
async def restored(place: BackupPlace, backup: Backup, home: Home, progress: Progress) -> AsyncIterator[Home]:
    """Yield a home beside `home` with all that a backup holds; it becomes `home` when the caller is done with it.

    Who dies on the way, or fails, leaves no home: what is left of the work is hidden, and the next one clears it away.

    Args:
        place: where the backup is.
        backup: which one.
        home: has to be empty.
        progress: is told how far it is.

    Raises:
        HomeNotEmpty: it is not.
        RestoreUnderWay: another process restores there.
        BackupDamaged: a piece is not there, or is not what it was.
        StoreUnavailable, OSError: the place or the disk can't be used.
    """
    check_empty(home)
    with _alone(home) as folder:
        await _Writer(place, folder, progress).write(backup.files)
        yield Home(folder)
        check_empty(home)
        await asyncio.to_thread(_put, folder, home.path)


async def dumped(place: BackupPlace, dump: Dump, progress: Progress) -> AsyncGenerator[bytes]:
    """Yield the log of a backup, as a database wrote it, each part checked.

    Args:
        place: where the backup is.
        dump: of the backup.
        progress: is told how far it is.

    Raises:
        BackupDamaged: a piece is not there, or is not what it was.
        StoreUnavailable, OSError: the place can't be used.
    """
    read = 0
    for first in range(0, len(dump.pieces), _TOGETHER):
        for piece in await asyncio.gather(*map(place.piece, dump.pieces[first : first + _TOGETHER])):
            yield piece
            read += len(piece)
            progress(read // 1_000_000, f"the log of {dump.where}")
    if read != dump.size:
        raise BackupDamaged(where=place.where, what=f"the log of {dump.where} is not of its size")


async def settings_of(place: BackupPlace, backup: Backup) -> bytes:
    """Return the `cloche.toml` of a backup; nothing where it has none.

    Raises:
        BackupDamaged: it is not what it was.
        StoreUnavailable, OSError: the place can't be used.
    """
    pieces = backup.settings.pieces if backup.settings else ()
    return b"".join([await place.piece(sha256) for sha256 in pieces])


@contextmanager
def settings_file(data: bytes, home: Home) -> Iterator[Path]:
    """Yield the `cloche.toml` that a home will have: its own where there is one, else that of the backup, for now."""
    if home.settings_file.exists():
        yield home.settings_file
        return
    with tempfile.TemporaryDirectory(prefix="cloche-") as folder:
        file = Path(folder, home.settings_file.name)
        file.write_bytes(data)
        yield file


async def restore_settings(place: BackupPlace, backup: Backup, home: Home) -> Path | None:
    """Put `cloche.toml` where it was; beside one that differs, as `cloche.toml.restored`. Return where, if it is there.

    Raises:
        BackupDamaged: it is not what it was.
        StoreUnavailable, OSError: the place or the disk can't be used.
    """
    if backup.settings is None:
        return None
    data = await settings_of(place, backup)
    file = home.settings_file
    if file.exists() and file.read_bytes() != data:
        file = file.with_name(f"{file.name}.restored")
    draft = file.with_name(f".{file.name}.new")
    draft.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(_write, draft, [data])
    draft.replace(file)
    return file


class _Writer:
    """Writes the files of a backup into a folder."""

    def __init__(self, place: BackupPlace, folder: Path, progress: Progress) -> None:
        self._place = place
        self._folder = folder
        self._progress = progress
        self._written = 0

    async def write(self, files: Iterable[Kept]) -> None:
        """Write all, on the disk when it returns."""
        for kept in files:
            await self._write_file(kept)
        folders = [self._folder, *(path for path in self._folder.rglob("*") if path.is_dir())]
        for folder in folders:
            await asyncio.to_thread(_sync, folder)

    async def _write_file(self, kept: Kept) -> None:
        path = self._folder / kept.path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("xb") as file:
            path.chmod(0o600)
            for first in range(0, len(kept.pieces), _TOGETHER):
                wanted = kept.pieces[first : first + _TOGETHER]
                for piece in await asyncio.gather(*map(self._place.piece, wanted)):
                    await asyncio.to_thread(file.write, piece)
                    self._written += len(piece)
                self._progress(self._written // 1_000_000, kept.path)
            await asyncio.to_thread(_flush, file)
            if file.tell() != kept.size:
                raise BackupDamaged(where=self._place.where, what=f"{kept.path} is not of its size")


@contextmanager
def _alone(home: Home) -> Iterator[Path]:
    """Yield an empty folder beside the home that no other process works in; what of it is not a home then, goes."""
    folder = home.path.with_name(f".{home.path.name.lstrip('.')}.restoring")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RestoreUnderWay(home=home.path) from None
        _clear(folder)
        try:
            yield folder
        finally:
            if folder.exists():
                _clear(folder)
                folder.rmdir()
    finally:
        os.close(held)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _put(folder: Path, target: Path) -> None:
    """Let a folder take the place of an empty one, or of none, durably."""
    for name in _OF_NO_ACCOUNT & (_names(target) if target.exists() else set()):
        (target / name).replace(folder / name)
    folder.replace(target)
    _sync(target.parent)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        path.chmod(0o600)
        file.writelines(pieces)
        _flush(file)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
