"""Copying a registry to another store: every version, whatever belongs to it, and every release.

Only what is absent is written, each thing after what it needs, so a copy that was cut short is continued by the next.
All that is copied is checked on the way, and what was there before is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from cloche.errors import BundleCorrupt, RegistryDiffers
from cloche.ports import ObjectStore
from cloche.registry.audit import MANIFEST_KEY, RELEASE_KEY, ROOMS, blob_key, documents, named_files, objects
from cloche.registry.bundle import decode_manifest
from cloche.registry.release import decode_release


class Copied(msgspec.Struct, frozen=True):
    """What a copy has done."""

    source: str
    target: str
    versions: int
    releases: int
    written: int
    """Objects that were not there yet."""
    size: int
    """Bytes of those."""
    present: int
    """Objects that were there, with the same content."""


async def copy_registry(
    source: ObjectStore, target: ObjectStore, done: Callable[[int], None] = lambda _: None
) -> Copied:
    """Copy what `target` lacks. Again changes nothing.

    Blobs that nothing names are left behind.

    Args:
        source: the store of the registry to copy.
        target: an empty store, or one that holds a part of the same registry.
        done: is told how many objects have been seen to so far.

    Raises:
        RegistryDiffers: the target has other releases, or other content under one of the keys. Of the releases that is
            found before anything is written.
        BundleCorrupt, NewerFormat: something in the source can't be read, or is not what its digest says.
        StoreUnavailable, OSError: one of the stores can't be used. What was copied stays, and the next copy goes on.
    """
    return await _Copier(source, target, done).run()


class _Copier:
    def __init__(self, source: ObjectStore, target: ObjectStore, done: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._done = done
        self._written = self._present = self._size = 0

    async def run(self) -> Copied:
        keys = {room: [key async for key in self._source.list(room)] for room in ROOMS}
        releases = [key for key in keys["releases"] if RELEASE_KEY.fullmatch(key)]
        await self._compare_releases(releases)
        manifests = [key for key in keys["models"] if MANIFEST_KEY.fullmatch(key)]
        await self._copy(keys["erasures"])
        erased = {key.rpartition("/")[2].removesuffix(".json") for key in keys["erasures"]}
        for digest in await self._named(manifests, releases):
            if digest not in erased:
                await self._copy_blob(digest)
        beside = sorted(set(keys["models"]) - set(manifests))  # signatures, which are there before what they sign
        await self._copy(beside)
        await self._copy(manifests)
        await self._copy(releases)
        return Copied(
            source=self._source.where,
            target=self._target.where,
            versions=len(manifests),
            releases=len(releases),
            written=self._written,
            size=self._size,
            present=self._present,
        )

    async def _compare_releases(self, releases: list[str]) -> None:
        """Check that the target's releases are the beginning of the source's."""
        theirs = [key async for key in self._target.list("releases")]
        if strange := sorted(set(theirs) - set(releases)):
            raise self._differs(strange[0], "is not here")
        async for key, data in objects(self._target, theirs):
            if data != await self._source.get(key):
                raise self._differs(key, "is another one")

    async def _named(self, manifests: Iterable[str], releases: Iterable[str]) -> list[str]:
        """Return the SHA-256 of every blob that something names, each once."""
        found: dict[str, None] = {}
        async for key, data in objects(self._source, manifests):
            manifest = decode_manifest(_there(key, data), key)
            found |= {file.sha256: None for file in named_files(manifest)}
        async for key, data in objects(self._source, releases):
            match = RELEASE_KEY.fullmatch(key)
            assert match is not None
            found |= dict.fromkeys(sorted(documents(decode_release(_there(key, data), int(match["number"])))))
        return list(found)

    async def _copy_blob(self, sha256: str) -> None:
        key = blob_key(sha256)
        data = _there(key, await self._source.get(key))
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise BundleCorrupt(what=key, expected=sha256, found=found)
        await self._put(key, data)

    async def _copy(self, keys: Iterable[str]) -> None:
        async for key, data in objects(self._source, keys):
            await self._put(key, _there(key, data))

    async def _put(self, key: str, data: bytes) -> None:
        if await self._target.put_if_absent(key, data):
            self._written += 1
            self._size += len(data)
        elif await self._target.get(key) == data:
            self._present += 1
        else:
            raise self._differs(key, "has other content")
        self._done(self._written + self._present)

    def _differs(self, key: str, how: str) -> RegistryDiffers:
        return RegistryDiffers(where=self._target.where, what=f"{key} there {how}")


def _there(key: str, data: bytes | None) -> bytes:
    if data is None:
        raise BundleCorrupt(what=key, expected="an object", found="nothing in the store")
    return data
