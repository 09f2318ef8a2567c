"""Signatures as OpenSSF Model Signing makes them: an in-toto statement in a Sigstore bundle, as one JSON document.

What is signed is a folder with nothing but `manifest.json`: its digest is the identity of the version, and it names
every other file by its own. So the tool that comes with the library checks them, too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import tempfile
from pathlib import Path

import msgspec
from cryptography import x509
from model_signing import hashing, signing, verifying

from cloche.errors import KeyUnusable
from cloche.values import Signer, SigningKey

_MANIFEST = "manifest.json"
_LONGEST_REASON = 200


class OpenssfSigning:
    """Makes and checks them in a thread. Files of signers are relative to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def sign(self, manifest: bytes, subject: str, key: SigningKey) -> bytes:
        """Return a signature; see `cloche.ports.Signing`."""
        return await asyncio.to_thread(self._sign, manifest, subject, key)

    async def fault(self, manifest: bytes, signature: bytes, signer: Signer) -> str | None:
        """Return why it is no signature, or None; see `cloche.ports.Signing`."""
        return await asyncio.to_thread(self._fault, manifest, signature, signer)

    def _sign(self, manifest: bytes, subject: str, key: SigningKey) -> bytes:
        with tempfile.TemporaryDirectory(prefix="cloche-signature-") as scratch:
            made = Path(scratch, "signature.json")
            try:
                _signing_config(key).sign(_laid_out(Path(scratch, subject), manifest), made)
            except Exception as error:  # noqa: BLE001  what can go wrong with keys and identities shares no class
                named = key.private_key or "an identity of Sigstore"
                raise KeyUnusable(key=named, reason=_in_words(error)) from None
            return made.read_bytes()

    def _fault(self, manifest: bytes, signature: bytes, signer: Signer) -> str | None:
        with tempfile.TemporaryDirectory(prefix="cloche-signature-") as scratch:
            stored = Path(scratch, "signature.json")
            stored.write_bytes(signature)
            try:
                bundle = _decode(signature)
                _check_statement(bundle.dsse_envelope, manifest)
                self._verifying_config(signer).verify(_laid_out(Path(scratch, "version"), manifest), stored)
                if signer.certificates:
                    _check_identity(bundle.verification_material, signer.identity or "")
            except Exception as error:  # noqa: BLE001  whatever the library trips over is not a signature
                return _in_words(error)
        return None

    def _verifying_config(self, signer: Signer) -> verifying.Config:
        config = verifying.Config().set_hashing_config(_hashing())
        if signer.public_key is not None:
            return config.use_elliptic_key_verifier(public_key=self._folder / signer.public_key)
        if signer.certificates:
            roots = [self._folder / root for root in signer.certificates]
            return config.use_certificate_verifier(certificate_chain=roots)
        trust = None if signer.sigstore is None else self._folder / signer.sigstore
        return config.use_sigstore_verifier(identity=signer.identity, oidc_issuer=signer.issuer, trust_config=trust)


def _signing_config(key: SigningKey) -> signing.Config:
    config = signing.Config().set_hashing_config(_hashing())
    if key.private_key is None:
        trust = None if key.sigstore is None else Path(key.sigstore)
        return config.use_sigstore_signer(
            use_ambient_credentials=True, identity_token=key.identity_token, trust_config=trust
        )
    if key.certificate is None:
        password = None if key.password is None else key.password.encode()
        return config.use_elliptic_key_signer(private_key=key.private_key, password=password)
    chain = key.chain or (key.certificate,)  # the library takes no empty one
    return config.use_certificate_signer(
        private_key=key.private_key, signing_certificate=key.certificate, certificate_chain=chain
    )


def _hashing() -> hashing.Config:
    return hashing.Config().use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)


def _laid_out(folder: Path, manifest: bytes) -> Path:
    folder.mkdir()
    (folder / _MANIFEST).write_bytes(manifest)
    return folder


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The library also reads other spellings: what is looked at here has to be what it looked at."""


class _Envelope(_Strict):
    payload: str
    payload_type: str
    signatures: list[object]


class _Certificate(_Strict):
    raw_bytes: str


class _Chain(_Strict):
    certificates: list[_Certificate]


class _PublicKey(_Strict):
    hint: str


class _Material(_Strict):
    tlog_entries: list[object] = []
    public_key: _PublicKey | None = None
    x509_certificate_chain: _Chain | None = None
    certificate: _Certificate | None = None
    timestamp_verification_data: object = None


class _Bundle(_Strict):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


_decode = msgspec.json.Decoder(_Bundle).decode
"""Made on import, since signatures are looked at in threads: as in `registry/bundle.py`."""


def _check_statement(envelope: _Envelope, manifest: bytes) -> None:
    """Check that the statement is about this manifest, all of it. The library lets a statement leave files out."""
    statement = json.loads(base64.b64decode(envelope.payload))
    digest = hashlib.sha256(manifest).hexdigest()
    if statement["predicate"]["resources"] != [{"name": _MANIFEST, "algorithm": "sha256", "digest": digest}]:
        raise ValueError("it is a signature of something else")


def _check_identity(material: _Material, identity: str) -> None:
    """Check whose certificate it is. The library has checked that it leads to the roots."""
    assert material.x509_certificate_chain is not None
    encoded = base64.b64decode(material.x509_certificate_chain.certificates[0].raw_bytes)
    found = _names(x509.load_der_x509_certificate(encoded))
    if identity not in found:
        raise ValueError(f"its certificate is of {', '.join(sorted(found)) or 'nobody'}")


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {str(name.value) for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    return {str(found) for kind in kinds for found in names.get_values_for_type(kind)}


def _in_words(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:_LONGEST_REASON]
