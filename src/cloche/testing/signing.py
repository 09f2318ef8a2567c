"""What everything that signs promises, as tests."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloche.errors import KeyUnusable
from cloche.ports import Signing
from cloche.values import Signer, SigningKey

MANIFEST = b'{"format": 1, "name": "pricing", "version": "1.0.0"}\n'
SUBJECT = "pricing-1.0.0"

OTHER_MANIFESTS = (b"", MANIFEST[:-1], MANIFEST + b" ", MANIFEST.replace(b"1.0.0", b"1.0.1"))
NO_SIGNATURES = (b"", b"{}", b"null", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"mediaType": 1}')
"""What somebody may have put in the place of a signature."""

LONGEST_REASON = 500
_AT_ONCE = 8


class SigningContract:
    """What a `Signing` promises. Derive a test class, say how to open one, and how somebody comes to sign with it."""

    def open_signing(self, folder: Path) -> Signing:
        """Open one; `folder` is the test's own, and the one that files of signers are relative to."""
        raise NotImplementedError

    def join(self, folder: Path, name: str) -> tuple[SigningKey, Signer]:
        """Return what somebody new signs with, and what they are known by; `folder` is as above."""
        raise NotImplementedError

    def lost_key(self, folder: Path) -> SigningKey:
        """Return a key that nothing can be signed with."""
        return SigningKey(private_key=str(folder / "lost.key"))

    async def test_who_has_signed_is_known(self, tmp_path: Path) -> None:
        signing, (key, signer) = self.open_signing(tmp_path), self.join(tmp_path, "anna")
        first, again = [await signing.sign(MANIFEST, SUBJECT, key) for _ in range(2)]
        assert await signing.fault(MANIFEST, first, signer) is None
        assert await signing.fault(MANIFEST, again, signer) is None
        assert await self.open_signing(tmp_path).fault(MANIFEST, first, signer) is None

    async def test_nobody_is_taken_for_somebody_else(self, tmp_path: Path) -> None:
        signing, (key, anna) = self.open_signing(tmp_path), self.join(tmp_path, "anna")
        _, eve = self.join(tmp_path, "eve")
        signature = await signing.sign(MANIFEST, SUBJECT, key)
        assert _is_reason(await signing.fault(MANIFEST, signature, eve))
        assert await signing.fault(MANIFEST, signature, anna) is None

    @pytest.mark.parametrize("manifest", OTHER_MANIFESTS, ids=["none", "shorter", "longer", "another"])
    async def test_a_signature_is_of_one_manifest(self, tmp_path: Path, manifest: bytes) -> None:
        signing, (key, signer) = self.open_signing(tmp_path), self.join(tmp_path, "anna")
        signature = await signing.sign(MANIFEST, SUBJECT, key)
        assert _is_reason(await signing.fault(manifest, signature, signer))

    @pytest.mark.parametrize("stored", NO_SIGNATURES, ids=lambda stored: repr(stored[:9]))
    async def test_what_is_no_signature_is_said_to_be_none(self, tmp_path: Path, stored: bytes) -> None:
        signing, (_, signer) = self.open_signing(tmp_path), self.join(tmp_path, "anna")
        assert _is_reason(await signing.fault(MANIFEST, stored, signer))

    async def test_half_a_signature_is_none(self, tmp_path: Path) -> None:
        signing, (key, signer) = self.open_signing(tmp_path), self.join(tmp_path, "anna")
        signature = await signing.sign(MANIFEST, SUBJECT, key)
        for length in range(0, len(signature), max(1, len(signature) // 8)):
            assert _is_reason(await signing.fault(MANIFEST, signature[:length], signer))

    async def test_nothing_can_be_signed_with_what_is_no_key(self, tmp_path: Path) -> None:
        with pytest.raises(KeyUnusable):
            await self.open_signing(tmp_path).sign(MANIFEST, SUBJECT, self.lost_key(tmp_path))

    async def test_many_are_looked_at_at_once(self, tmp_path: Path) -> None:
        signing = self.open_signing(tmp_path)
        people = [self.join(tmp_path, f"person-{number}") for number in range(_AT_ONCE)]
        made = await asyncio.gather(*(signing.sign(MANIFEST, SUBJECT, key) for key, _ in people))
        signers = [signer for _, signer in people]
        found = await asyncio.gather(
            *(signing.fault(MANIFEST, each, signer) for each, signer in zip(made, signers, strict=True))
        )
        assert found == [None] * _AT_ONCE
        swapped = zip(made, [*signers[1:], signers[0]], strict=True)
        assert None not in await asyncio.gather(*(signing.fault(MANIFEST, each, signer) for each, signer in swapped))


def _is_reason(fault: str | None) -> bool:
    """Tell whether it is a reason that fits into a line."""
    return fault is not None and 0 < len(fault.strip()) <= LONGEST_REASON and "\n" not in fault
