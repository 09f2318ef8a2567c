"""The catalog: which versions exist. A version exists once its manifest does, and never changes.

Keys: `blobs/sha256/ab/abcdef…` (content-addressed, shared by versions) and `models/{name}/{version}/manifest.json`,
which is written last and only where it is absent. Whoever dies on the way leaves blobs that nobody sees.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from cloche.errors import BlobCorrupt, BundleCorrupt, InvalidVersion, ModelNotFound, VersionExists, VersionNotFound
from cloche.ports import ObjectStore
from cloche.registry.bundle import (
    Environment,
    File,
    Manifest,
    Provenance,
    check_name,
    check_version,
    decode_manifest,
    digest_of,
    encode_manifest,
    precedence,
)
from cloche.registry.cache import Cache, check_file, check_paths, is_personal, stored_files
from cloche.registry.erased import PersonalFiles, erased_key
from cloche.registry.last_seen import LastSeen
from cloche.registry.release import Releases
from cloche.registry.signatures import Signatures
from cloche.registry.trust import ANYBODY, Trust, Verdict
from cloche.schema.dialect import Schema
from cloche.schema.meant import meant

_PATTERN = re.compile(r"(?:\d+\.){0,2}\*")
_MANIFEST_KEY = re.compile(r"models/(?P<name>[^/]+)/(?P<version>[^/]+)/manifest\.json")
NOWHERE = Environment(python="", implementation="", platform="", distributions={})
_NO_DOCUMENTS: Final[Mapping[str, bytes]] = {}
_NOBODY = Provenance(author="", created_us=0)


class Added(msgspec.Struct, frozen=True):
    """A version that is in the registry."""

    manifest: Manifest
    digest: str
    is_new: bool
    """False where the same content had been published before: then the manifest is the one of that time."""


class Registry:
    """One object store with bundles and releases, and this host's copies of bundles."""

    def __init__(self, store: ObjectStore, cache_folder: Path, trust: Trust = ANYBODY) -> None:
        self._store = store
        self._cache = Cache(cache_folder)
        self.releases = Releases(store)
        self.signatures = Signatures(store, self._cache, trust)
        self.last_seen = LastSeen(cache_folder, store.where)
        self.personal = PersonalFiles(store, self._cache)

    @property
    def where(self) -> str:
        """The store, in words for a person."""
        return self._store.where

    async def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted(await self._published())

    async def versions(self, name: str) -> list[str]:
        """Return the versions of a model, the lowest first; none where there is no such model."""
        found = await self._published(check_name(name))
        return found.get(name, [])

    async def manifest(self, name: str, version: str) -> tuple[Manifest, str]:
        """Return the manifest of a version, and its digest.

        Raises:
            ModelNotFound, VersionNotFound: there is none; the message names those nearest.
            BundleCorrupt, NewerFormat: it can't be read.
        """
        manifest, encoded = await self._manifest(name, version)
        return manifest, digest_of(encoded)

    async def digest(self, name: str, version: str) -> str | None:
        """Return the digest of a version, or None where it is not published. One look at one key."""
        encoded = await self._store.get(_manifest_key(check_name(name), check_version(version)))
        return None if encoded is None else digest_of(encoded)

    async def resolve(self, name: str, wanted: str) -> tuple[str, str]:
        """Return the version that `wanted` means, and its digest: itself, or the highest that fits `2.*` or `2.1.*`.

        A pattern matches no pre-release.

        Raises:
            ModelNotFound, VersionNotFound: nothing fits.
            BundleCorrupt, NewerFormat: its manifest can't be read.
        """
        version = wanted
        if _PATTERN.fullmatch(wanted):
            fitting = [found for found in await self.versions(name) if fits(found, wanted)]
            if not fitting:
                raise await self._not_found(name, wanted)
            version = fitting[-1]
        _, digest = await self.manifest(name, version)
        return version, digest

    async def add(self, manifest: Manifest, contents: Mapping[str, bytes]) -> Added:
        """Publish a version: all of it or nothing. The same content again changes nothing.

        Args:
            manifest: what it says of each file has to be so.
            contents: path in the bundle -> bytes, for every file of the manifest.

        Raises:
            VersionExists: other content is published under this version.
            BlobCorrupt: the store holds a damaged object in the place of one of the files.
        """
        what = f"{check_name(manifest.name)} {check_version(manifest.version)}"
        check_paths(manifest, what)
        for file in stored_files(manifest):
            check_file(file, contents[file.path], what)
        earlier = await self._earlier(manifest)
        for file in stored_files(manifest):
            await self._keep_blob(file, contents[file.path])  # also where published earlier: it brings back lost ones
        if earlier is not None:
            return earlier
        encoded = encode_manifest(manifest)
        if await self._store.put_if_absent(_manifest_key(manifest.name, manifest.version), encoded):
            return Added(manifest, digest_of(encoded), is_new=True)
        faster = await self._earlier(manifest)
        assert faster is not None, "a manifest that is taken can be read"
        return faster

    async def fetch(self, name: str, version: str, digest: str) -> Path:
        """Return the folder of this host's own copy of a version: the only place to load it from.

        Every file is hashed, while it is copied and again whenever the copy is asked for, and so are signatures looked
        at where this host wants one. Who loads a version comes by here.

        Raises:
            Unsigned, SignerNotKnown: it may not be loaded here.
            ModelNotFound, VersionNotFound: there is no such version.
            BundleCorrupt: something in the store is not what `digest` stands for. Nothing of it is kept.
            NewerFormat: a later Cloche published it.
        """
        if (copy := await self._cache.find(digest)) is not None:
            path, manifest = copy
            _check_identity(manifest, name, version)
            await self.verdict(name, version, digest)
            return path
        manifest, encoded = await self._manifest(name, version, digest)
        await self.signatures.check(name, version, encoded)
        return await self._cache.keep(manifest, encoded, self._blob)

    async def verdict(self, name: str, version: str, digest: str) -> Verdict:
        """Return whose signature lets a version be loaded here, if one is wanted.

        Raises:
            Unsigned, SignerNotKnown: it may not be loaded.
            ModelNotFound, VersionNotFound, BundleCorrupt, NewerFormat: it can't be looked at.
        """
        return await self.signatures.check(name, version, await self.encoded(name, version, digest))

    async def encoded(self, name: str, version: str, digest: str) -> bytes:
        """Return the manifest of a version as it is stored, and signed.

        Raises:
            ModelNotFound, VersionNotFound, BundleCorrupt, NewerFormat: it can't be looked at.
        """
        found = await self._cache.find_manifest(digest)
        return (await self._manifest(name, version, digest))[1] if found is None else found

    async def read(self, file: File, what: str) -> bytes:
        """Return a file of a version from the store, checked.

        Args:
            file: as its manifest names it.
            what: the version, for messages.

        Returns:
            Its content; none of golden cases and examples that were erased.

        Raises:
            BundleCorrupt: it is gone, or not what the manifest says.
        """
        data = await self._blob(file)
        if data or not is_personal(file):
            check_file(file, data, what)
        return data

    async def described(self, name: str, version: str, digest: str) -> Manifest:
        """Return the manifest of a version to look at: this host's copy of it, else the one in the store.

        Raises:
            ModelNotFound, VersionNotFound: there is no such version.
            BundleCorrupt, NewerFormat: it can't be read.
        """
        encoded = await self._cache.find_manifest(digest)
        if encoded is None:
            manifest, _ = await self._manifest(name, version, digest)
            return manifest
        return decode_manifest(encoded, f"{name} {version}", digest)

    async def keep(self, data: bytes) -> str:
        """Store a document beside the bundles, by its content, and return its digest. Again changes nothing.

        Raises:
            BlobCorrupt: the store holds a damaged object in its place.
        """
        digest = digest_of(data)
        await self._keep_blob(File("", digest.removeprefix("sha256:"), len(data)), data)
        return digest

    async def kept(self, digest: str) -> bytes:
        """Return a document that `keep` has stored; this host keeps a copy.

        Raises:
            BundleCorrupt: it is gone, or not what its digest says.
        """
        if (copy := await self._cache.find_document(digest)) is not None:
            return copy
        data = await self._blob(File(f"document {digest}", digest.removeprefix("sha256:"), 0))
        if digest_of(data) != digest:
            raise BundleCorrupt(what=f"document {digest}", expected=digest, found=digest_of(data))
        await self._cache.keep_document(digest, data)
        return data

    async def _manifest(self, name: str, version: str, digest: str | None = None) -> tuple[Manifest, bytes]:
        encoded = await self._store.get(_manifest_key(check_name(name), check_version(version)))
        if encoded is None:
            raise await self._not_found(name, version)
        manifest = decode_manifest(encoded, f"{name} {version}", digest)
        _check_identity(manifest, name, version)
        return manifest, encoded

    async def _published(self, name: str | None = None) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async for key in self._store.list(f"models/{name}" if name else "models"):
            if match := _MANIFEST_KEY.fullmatch(key):
                with suppress(InvalidVersion):
                    found.setdefault(match["name"], []).append(check_version(match["version"]))
        return {model: sorted(versions, key=precedence) for model, versions in found.items()}

    async def _earlier(self, manifest: Manifest) -> Added | None:
        """Return what is published under this version, where that has the same content."""
        encoded = await self._store.get(_manifest_key(manifest.name, manifest.version))
        if encoded is None:
            return None
        stored = decode_manifest(encoded, f"{manifest.name} {manifest.version}")
        if content_digest(stored) == content_digest(manifest):
            return Added(stored, digest_of(encoded), is_new=False)
        free = next_free(manifest.version, await self.versions(manifest.name))
        raise VersionExists(name=manifest.name, version=manifest.version, free=free)

    async def _keep_blob(self, file: File, data: bytes) -> None:
        key = _blob_key(file)
        if is_personal(file) and await self._is_erased(file):
            return
        if await self._store.put_if_absent(key, data):
            return
        found = hashlib.sha256(await self._store.get(key) or b"").hexdigest()
        if found != file.sha256:
            raise BlobCorrupt(where=self.where, key=key, found=found)

    async def _blob(self, file: File) -> bytes:
        data = await self._store.get(_blob_key(file))
        if not data and is_personal(file) and await self._is_erased(file):
            return b""
        if data is None or (not data and is_personal(file)):
            raise BundleCorrupt(what=file.path, expected=file.sha256, found="nothing in the store")
        return data

    async def _is_erased(self, file: File) -> bool:
        return await self._store.get(erased_key(file.sha256)) is not None

    async def _not_found(self, name: str, version: str) -> ModelNotFound | VersionNotFound:
        published = await self._published()
        if name not in published:
            known = _nearest(name, list(published)) or "Nothing is published there yet."
            return ModelNotFound(name=name, where=self.where, known=known)
        known = _nearest(version, published[name], counted=True)
        return VersionNotFound(name=name, version=version, where=self.where, known=known)


async def schema_taken(
    registry: Registry,
    name: str,
    version: str,
    schemas: Mapping[str, str],
    fresh: Mapping[str, bytes] = _NO_DOCUMENTS,
) -> Schema:
    """Return the schema that calls to a version are held to, as it can be compared with another one's.

    Args:
        registry: where the version is.
        name: the model.
        version: exact.
        schemas: those of its routing: version -> digest of the document that counts in the place of the published one.
        fresh: digest -> documents that are not stored yet.

    Raises:
        ModelNotFound, VersionNotFound: there is no such version.
        BundleCorrupt, NewerFormat: something of it can't be read.
    """
    manifest, _ = await registry.manifest(name, version)
    schema, given = manifest.input_schema, schemas.get(version)
    if given is not None:
        schema = msgspec.json.decode(fresh[given] if given in fresh else await registry.kept(given))
    return meant(schema, manifest.unknown_fields, manifest.each)


def content_digest(manifest: Manifest) -> str:
    """Return the digest of what a version does: everything but who made it, when, where and with which packages.

    How fast its forms were is no part of that either.
    """
    content = msgspec.structs.replace(manifest, provenance=_NOBODY, environment=NOWHERE, vendored=[], optimized=None)
    return digest_of(msgspec.json.encode(content, order="sorted"))


def next_free(version: str, taken: list[str]) -> str:
    """Return the version after the highest taken one of the same major and minor."""
    major, minor, patch, _ = precedence(version)
    patches = [found[2] for found in map(precedence, taken) if found[:2] == (major, minor)]
    return f"{major}.{minor}.{max([patch, *patches]) + 1}"


def fits(version: str, wanted: str) -> bool:
    """Tell whether `wanted` means this version: itself, or a pattern such as `2.1.*`, which fits no pre-release."""
    if not _PATTERN.fullmatch(wanted):
        return version == wanted
    return "-" not in version and version.startswith(wanted.removesuffix("*"))


def _nearest(wanted: str, known: list[str], *, counted: bool = False) -> str:
    """Return what there is that is most like it; the others are `counted`, where they are of interest, too."""
    near = difflib.get_close_matches(wanted, known, n=5, cutoff=0.5) or known[-5:]
    more = f" and {len(known) - len(near):,} more" if counted and len(known) > len(near) else ""
    return f"There is {', '.join(near)}{more}." if near else ""


def _check_identity(manifest: Manifest, name: str, version: str) -> None:
    if (manifest.name, manifest.version) != (name, version):
        found = f"the manifest of {manifest.name} {manifest.version}"
        raise BundleCorrupt(what=f"{name} {version}", expected="its own manifest", found=found)


def _manifest_key(name: str, version: str) -> str:
    return f"models/{name}/{version}/manifest.json"


def _blob_key(file: File) -> str:
    return f"blobs/sha256/{file.sha256[:2]}/{file.sha256}"
