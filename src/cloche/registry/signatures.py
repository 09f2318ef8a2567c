"""The signatures of versions, which lie beside their manifests, and whether they let a version be loaded here.

Keys: `models/{name}/{version}/signatures/{SHA-256 of the signature}.json`. They are added, and never changed.
"""

from __future__ import annotations

import hashlib

from cloche.errors import SignerNotKnown, Unsigned
from cloche.ports import ObjectStore
from cloche.registry.bundle import digest_of
from cloche.registry.cache import Cache
from cloche.registry.trust import Trust, Verdict
from cloche.values import SigningKey

MOST = 64
"""How many signatures of a version are looked at."""

LARGEST_BYTES = 256 * 1024
"""How large one may be that is looked at."""


class Signatures:
    """Those of all versions of a registry, as one host judges them."""

    def __init__(self, store: ObjectStore, cache: Cache, trust: Trust) -> None:
        self._store = store
        self._cache = cache
        self.trust = trust

    async def make(self, name: str, version: str, manifest: bytes, key: SigningKey) -> bytes:
        """Return a signature that is not stored; see `sign`."""
        return await (await self.trust.signing()).sign(manifest, f"{name}-{version}", key)

    async def sign(self, name: str, version: str, manifest: bytes, key: SigningKey) -> str:
        """Sign a version, and return the key of the store where the signature lies.

        Raises:
            KeyUnusable: it can't be signed with that.
            MissingExtra: what makes signatures is not installed.
        """
        signature = await self.make(name, version, manifest, key)
        place = f"{_folder(name, version)}/{hashlib.sha256(signature).hexdigest()}.json"
        await self._store.put_if_absent(place, signature)
        return place

    async def stored(self, name: str, version: str) -> list[bytes]:
        """Return the signatures of a version, in the order of their keys."""
        found: list[bytes] = []
        async for place in self._store.list(_folder(name, version)):
            signature = await self._store.get(place)
            if signature is not None and len(signature) <= LARGEST_BYTES:
                found.append(signature)
            if len(found) == MOST:
                break
        return found

    async def verdicts(self, name: str, version: str, manifest: bytes) -> list[Verdict]:
        """Return what is found of each signature of a version, whether one is wanted or not.

        Raises:
            MissingExtra: what checks signatures is not installed.
        """
        signers, signatures = self.trust.known(name), await self.stored(name, version)
        return [await self.trust.judge(manifest, [signature], signers) for signature in signatures]

    async def check(self, name: str, version: str, manifest: bytes) -> Verdict:
        """Check that a version may be loaded here. The host keeps a signature that counts, for when the store is away.

        Args:
            name: the model.
            version: exact.
            manifest: the bytes of its manifest, as they will be loaded.

        Raises:
            Unsigned, SignerNotKnown: it may not.
            MissingExtra: what checks signatures is not installed.
        """
        signers = self.trust.wanted(name)
        if not signers:
            return Verdict()
        digest = digest_of(manifest)
        kept = await self._cache.find_signature(digest)
        if kept is not None:
            verdict = await self.trust.judge(manifest, [kept], signers)
            if verdict.signer is not None:
                return verdict
        wanted, signatures = " or ".join(signers), await self.stored(name, version)
        if not signatures:
            raise Unsigned(name=name, version=version, signers=wanted)
        verdict = await self.trust.judge(manifest, signatures, signers)
        if verdict.signer is None:
            raise SignerNotKnown(name=name, version=version, signers=wanted, report="\n".join(verdict.faults))
        await self._cache.keep_signature(digest, verdict.signature)
        return verdict


def _folder(name: str, version: str) -> str:
    return f"models/{name}/{version}/signatures"
