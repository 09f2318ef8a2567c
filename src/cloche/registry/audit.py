"""Looking through a whole registry: whether everything that it names is there, and is what its digest says."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

import msgspec

from cloche.errors import BundleCorrupt, RegistryError
from cloche.ports import ObjectStore
from cloche.registry.bundle import File, Manifest, decode_manifest, digest_of
from cloche.registry.release import Release, decode_release, is_as_written

Kind = Literal["missing", "damaged", "unreadable"]

BLOB_KEY = re.compile(r"blobs/sha256/(?P<folder>[0-9a-f]{2})/(?P<digest>(?P=folder)[0-9a-f]{62})")
MANIFEST_KEY = re.compile(r"models/(?P<name>[^/]+)/(?P<version>[^/]+)/manifest\.json")
RELEASE_KEY = re.compile(r"releases/(?P<number>\d{12})\.json")
ROOMS = ("releases", "models", "blobs", "erasures")
"""All there is in a registry: the first part of its keys. What needs something is listed before what it needs, since
others may publish meanwhile."""

_TOGETHER = 8


class Fault(msgspec.Struct, frozen=True):
    """One object that is not as it has to be."""

    key: str
    kind: Kind
    what: str
    """What it is for, and what is wrong, in words."""


class Audit(msgspec.Struct, frozen=True):
    """What was found."""

    where: str
    versions: int
    blobs: int
    releases: int
    size: int
    """Bytes that were read."""
    faults: list[Fault]
    orphans: list[str]
    """Blobs that nothing names: what a publisher that died has left, or one that is at work just now."""


async def audit(store: ObjectStore, seen: Callable[[int], None] = lambda _: None) -> Audit:
    """Read all that a registry holds, and return what is wrong with it.

    Args:
        store: where it is.
        seen: is told how many objects have been read so far.

    Raises:
        StoreUnavailable, OSError: it can't be read through to its end.
    """
    return await _Auditor(store, seen).run()


class _Auditor:
    def __init__(self, store: ObjectStore, seen: Callable[[int], None]) -> None:
        self._store = store
        self._seen = seen
        self._read = self._size = 0
        self._faults: list[Fault] = []
        self._wanted: dict[str, tuple[int | None, str]] = {}
        """SHA-256 -> size in bytes, where that is stated, and what it is for."""
        self._versions: dict[tuple[str, str], str] = {}
        self._needed: list[tuple[str, str, str, str]] = []
        """Who needs a version, and its model, number and digest."""

    async def run(self) -> Audit:
        keys = {room: [key async for key in self._store.list(room)] for room in ROOMS}
        async for key, data in self._objects(filter(MANIFEST_KEY.fullmatch, keys["models"])):
            self._look_at_version(key, data)
        async for key, data in self._objects(filter(RELEASE_KEY.fullmatch, keys["releases"])):
            self._look_at_release(key, data)
        self._look_for_gaps(keys["releases"])
        self._look_for_versions()
        blobs = [key for key in keys["blobs"] if BLOB_KEY.fullmatch(key)]
        async for key, data in self._objects(blobs):
            self._look_at_blob(key, data)
        held = {key.rpartition("/")[2] for key in blobs} | set(map(_sha256, keys["erasures"]))
        for digest in sorted(self._wanted.keys() - held):
            self._note(blob_key(digest), "missing", f"{self._wanted[digest][1]}: it is not there")
        return Audit(
            where=self._store.where,
            versions=len(self._versions),
            blobs=len(blobs),
            releases=sum(1 for key in keys["releases"] if RELEASE_KEY.fullmatch(key)),
            size=self._size,
            faults=self._faults,
            orphans=[key for key in blobs if key.rpartition("/")[2] not in self._wanted],
        )

    async def _objects(self, keys: Iterable[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what the keys hold, a few read at a time; one that is gone meanwhile is noted."""
        async for key, data in objects(self._store, keys):
            self._read += 1
            self._seen(self._read)
            if data is None:
                self._note(key, "missing", "it was listed, and is not there")
            else:
                self._size += len(data)
                yield key, data

    def _note(self, key: str, kind: Kind, what: str) -> None:
        self._faults.append(Fault(key, kind, what))

    def _look_at_version(self, key: str, data: bytes) -> None:
        match = MANIFEST_KEY.fullmatch(key)
        assert match is not None
        name, version = match["name"], match["version"]
        try:
            manifest = decode_manifest(data, f"{name} {version}")
        except RegistryError as error:
            self._note(key, _kind(error), str(error))
            return
        if (manifest.name, manifest.version) != (name, version):
            self._note(key, "damaged", f"it is the manifest of {manifest.name} {manifest.version}")
            return
        self._versions[name, version] = digest_of(data)
        for file in named_files(manifest):
            self._wanted.setdefault(file.sha256, (file.size, f"{name} {version}: {file.path}"))
        for step in (manifest.steps or {}).values():
            self._needed.append((f"{name} {version}", step.model, step.version, step.digest))

    def _look_at_release(self, key: str, data: bytes) -> None:
        match = RELEASE_KEY.fullmatch(key)
        assert match is not None
        try:
            release = decode_release(data, int(match["number"]))
        except RegistryError as error:
            self._note(key, _kind(error), str(error))
            return
        if not is_as_written(data):
            self._note(key, "damaged", f"release {release.number}: it is not what its seal says")
        for name, routing in release.models.items():
            for version, digest in routing.active.items():
                self._needed.append((f"release {release.number}", name, version, digest))
        for digest in documents(release):
            self._wanted.setdefault(digest, (None, f"release {release.number}: a schema"))

    def _look_for_versions(self) -> None:
        for who, name, version, digest in self._needed:
            if self._versions.get((name, version)) != digest:
                found = "other content" if (name, version) in self._versions else "nothing sound"
                what = f"{who} needs {name} {version}, and there is {found} under that"
                self._note(f"models/{name}/{version}/manifest.json", "missing", what)

    def _look_for_gaps(self, keys: list[str]) -> None:
        numbers = {int(match["number"]) for match in map(RELEASE_KEY.fullmatch, keys) if match}
        for number in sorted(set(range(1, max(numbers, default=0) + 1)) - numbers):
            self._note(f"releases/{number:012d}.json", "missing", f"release {number}: it is not there")

    def _look_at_blob(self, key: str, data: bytes) -> None:
        digest = key.rpartition("/")[2]
        size, what = self._wanted.get(digest, (None, "nothing names it"))
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            self._note(key, "damaged", f"{what}: it has the SHA-256 {found}")
        elif size is not None and size != len(data):
            self._note(key, "damaged", f"{what}: the manifest says {size} bytes, and it has {len(data)}")


def _sha256(erased: str) -> str:
    """Return the SHA-256 that the key of an erased file has."""
    return erased.rpartition("/")[2].removesuffix(".json")


def blob_key(sha256: str) -> str:
    """Return the key of what is stored by its content."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


async def objects(store: ObjectStore, keys: Iterable[str]) -> AsyncIterator[tuple[str, bytes | None]]:
    """Yield what each key holds, None where it holds nothing, in their order; a few are read at a time."""
    left = iter(keys)
    while batch := list(islice(left, _TOGETHER)):
        for key, data in zip(batch, await asyncio.gather(*map(store.get, batch)), strict=True):
            yield key, data


def named_files(manifest: Manifest) -> Iterator[File]:
    """Yield every file that a manifest names, in whatever field."""
    yield from _files_in(manifest)


def documents(release: Release) -> set[str]:
    """Return the SHA-256 of every document that a release names."""
    return {
        digest.removeprefix("sha256:") for routing in release.models.values() for digest in routing.schemas.values()
    }


def _files_in(value: object) -> Iterator[File]:
    if isinstance(value, File):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _files_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _files_in(each)
    elif isinstance(value, dict):
        yield from _files_in(list(value.values()))


def _kind(error: RegistryError) -> Kind:
    return "damaged" if isinstance(error, BundleCorrupt) else "unreadable"
