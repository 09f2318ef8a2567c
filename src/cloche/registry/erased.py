"""Golden cases and examples of versions in which somebody was who is forgotten now.

They are stored by their content, named by a manifest that is never changed, and signed with it. So nothing takes their
place: `erasures/blobs/{sha256}.json` says that they were erased, when and why, and from then on they are empty, and the
version loads without them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from cloche.ports import ObjectStore
from cloche.registry.audit import MANIFEST_KEY, blob_key, named_files, objects
from cloche.registry.bundle import File, Manifest, decode_manifest
from cloche.registry.cache import Cache, is_personal

ERASED_FORMAT = 1

_ROOM = "erasures/blobs"


class ErasedFile(msgspec.Struct, frozen=True):
    """Why a personal file is empty."""

    order: int
    by: str
    reason: str
    time_us: int
    format: int = ERASED_FORMAT


def erased_key(sha256: str) -> str:
    """Return the key that says of a file that it was erased."""
    return f"{_ROOM}/{sha256}.json"


class PersonalFiles:
    """The golden cases and examples of all versions in a store, and this host's copies of them."""

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def about(self, is_meant: Callable[[str, str], bool]) -> AsyncIterator[tuple[Manifest, File]]:
        """Yield those with a text or whole number that is meant, each with the version that names it.

        Args:
            is_meant: is given a value as text, and the model.
        """
        keys = [key async for key in self._store.list("models") if MANIFEST_KEY.fullmatch(key)]
        async for key, data in objects(self._store, keys):
            manifest = decode_manifest(data or b"", key)
            for file in filter(is_personal, named_files(manifest)):
                rows = await self._store.get(blob_key(file.sha256)) or b""
                if any(is_meant(text, manifest.name) for text in _texts_in(rows)):
                    yield manifest, file

    async def erase(self, file: File, order: int, by: str, reason: str) -> None:
        """Empty one for ever, wherever it is named."""
        said = msgspec.json.encode(ErasedFile(order, by, reason, time.time_ns() // 1000))
        await self._store.put_if_absent(erased_key(file.sha256), said)

    async def settle(self) -> int:
        """Delete what was erased from the store, and from this host's copies; return how many files there were."""
        emptied = 0
        for key in [key async for key in self._store.list(_ROOM)]:
            sha256 = key.rpartition("/")[2].removesuffix(".json")
            if await self._store.get(blob_key(sha256)) is not None:
                await self._store.delete(blob_key(sha256))
                emptied += 1
            emptied += await self._cache.empty(sha256)
        return emptied


def _texts_in(data: bytes) -> Iterator[str]:
    """Yield the values in JSON, or in lines of it."""
    return (text for line in data.splitlines() for text in _texts(_read(line)))


def _read(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line) if line.strip() else None
    except msgspec.DecodeError:
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)
