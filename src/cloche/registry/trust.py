"""Whose signature a version needs before it is loaded here.

The settings of this host say so, and nothing else: neither the registry nor what is in it has a say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from cloche.errors import MissingExtra
from cloche.ports import Signing
from cloche.values import SignaturePolicy, Signer

ALL_OTHERS: Final = "*"
"""The policy of the models that have none of their own. No model can be called so."""


class Verdict(msgspec.Struct, frozen=True):
    """What is found of the signatures of a version."""

    signer: str | None = None
    """Who signed it, of those that count."""
    signature: bytes = b""
    """The signature that shows it."""
    faults: tuple[str, ...] = ()
    """Why the others do not count, one sentence a signature."""


class Trust:
    """The policy of a host."""

    def __init__(
        self,
        policies: Mapping[str, SignaturePolicy],
        signers: Mapping[str, Signer],
        open_signing: Callable[[], Signing],
    ) -> None:
        self._policies = policies
        self._signers = signers
        self._open_signing = open_signing
        self._signing: Signing | None = None

    def wanted(self, model: str) -> dict[str, Signer]:
        """Return those of whom one has to have signed a version; none where it needs no signature."""
        policy = self._policies.get(model) or self._policies.get(ALL_OTHERS)
        if policy is None or policy.require != "signed":
            return {}
        return {name: self._signers[name] for name in policy.signers or self._signers}

    def known(self, model: str) -> dict[str, Signer]:
        """Return those whose signatures count, whether one is wanted or not."""
        return self.wanted(model) or dict(self._signers)

    async def judge(self, manifest: bytes, signatures: Sequence[bytes], signers: Mapping[str, Signer]) -> Verdict:
        """Look for a signature of a manifest by one of some signers.

        Raises:
            MissingExtra: what checks signatures is not installed.
        """
        faults = []
        for number, signature in enumerate(signatures, 1):
            reasons = []
            for name, signer in signers.items():
                fault = await (await self.signing()).fault(manifest, signature, signer)
                if fault is None:
                    return Verdict(name, signature)
                reasons.append(f"not of {name} ({fault})")
            faults.append(f"Signature {number}: {'; '.join(reasons) or 'this host knows no signer'}.")
        return Verdict(faults=tuple(faults))

    async def signing(self) -> Signing:
        """Return what makes and checks signatures. The library is imported in a thread: it takes half a second.

        Raises:
            MissingExtra: it is not installed.
        """
        if self._signing is None:
            self._signing = await asyncio.to_thread(self._open_signing)
        return self._signing


def _nothing_signs() -> Signing:
    raise MissingExtra(what="A signature", module="model_signing", requirement="cloche[signing]")


ANYBODY: Final = Trust({}, {}, _nothing_signs)
"""Of a registry that is put together without settings: whatever is in it is loaded."""
