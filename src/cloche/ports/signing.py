"""Signatures of manifests."""

from __future__ import annotations

from typing import Protocol

from cloche.values import Signer, SigningKey


class Signing(Protocol):
    """Makes and checks signatures of manifests, and thereby of every file that a manifest names."""

    async def sign(self, manifest: bytes, subject: str, key: SigningKey) -> bytes:
        """Return a signature.

        Args:
            manifest: as it is stored.
            subject: what it is of, for people who look at the signature.
            key: what it is made with.

        Raises:
            KeyUnusable: it can't be made with that.
        """
        ...

    async def fault(self, manifest: bytes, signature: bytes, signer: Signer) -> str | None:
        """Return why this is no signature of the manifest by the signer, in words; None where it is one."""
        ...
