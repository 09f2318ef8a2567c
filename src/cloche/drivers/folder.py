"""An object store in a local folder.

Written with the standard library: an object is whole and on the disk, its folders too, before it can be seen. The local
store of obstore is atomic and syncs nothing, so a power cut could leave an empty manifest that can never be replaced.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cloche.ports import check_key

_counter = itertools.count()


class FolderObjects:
    """Keeps the promise `ObjectStore`: keys are paths below a folder, which is made when it is first written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def from_url(cls, url: str) -> FolderObjects:
        """Return the store at `file:///folder`."""
        return cls(Path(url2pathname(urlsplit(url).path)))

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        return await asyncio.to_thread(_read, self._folder / check_key(key))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole, synced to the disk, or not at all; False where the key was taken."""
        return await asyncio.to_thread(_create, self._folder, check_key(key), data)

    async def delete(self, key: str) -> None:
        """Delete the object; where there is none, that is as well."""
        await asyncio.to_thread(_delete, self._folder / check_key(key))

    async def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        keys = await asyncio.to_thread(lambda: sorted(_keys(self._folder, check_key(prefix))))
        for key in keys:
            if key > after:
                yield key


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _create(folder: Path, key: str, data: bytes) -> bool:
    path = folder / key
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # "#" is in no key, so what a killed process leaves behind is never listed
    draft = path.with_name(f"{path.name}#{os.getpid()}.{next(_counter)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    except OSError as error:
        error.filename = str(path)  # people know it by that name
        raise
    finally:
        with suppress(OSError):
            draft.unlink()
    for parent in path.parents:
        _sync_folder(parent)
        if parent == folder.parent:
            break
    return True


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keys(folder: Path, prefix: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder / prefix, onerror=_refuse):
        below = Path(parent).relative_to(folder).as_posix()
        yield from (f"{below}/{name}" for name in names if "#" not in name)


def _refuse(error: OSError) -> None:
    """Raise what keeps a folder from being read: it is not the same as one in which nothing is."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
