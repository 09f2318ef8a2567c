"""Keys and certificates for the tests of signatures, made anew each time."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cloche.values import Signer, SigningKey

_LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_FAR_AWAY = datetime.datetime(2046, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """What somebody signs with, and what their signatures are known by."""

    key: SigningKey
    signer: Signer


def make_key(folder: Path, name: str, password: str | None = None, curve: ec.EllipticCurve | None = None) -> Pair:
    """Make `{name}.key` and `{name}.pub`; the signer names its file relative to the folder."""
    made = ec.generate_private_key(curve or ec.SECP256R1())
    closed = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private = _write_private(folder / f"{name}.key", made, closed)
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)
    return Pair(SigningKey(private_key=private, password=password), Signer(public_key=f"{name}.pub"))


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey, closed: KeySerializationEncryption) -> str:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
    return str(path)


class Authority:
    """Gives out certificates, all from one root."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.root = f"{name}.pem"
        self._write(self.root, certificate)

    def issue(self, identity: str, until: datetime.datetime = _FAR_AWAY) -> Pair:
        """Make a key, and a certificate that says whose it is."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a person")])
        usage = x509.KeyUsage(True, *[False] * 8)
        certificate = (
            self._certificate(subject, key, until)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), False)
            .add_extension(usage, True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), False)
        )
        self._write(f"{identity}.pem", certificate)
        private = _write_private(self._folder / f"{identity}.key", key, NoEncryption())
        return Pair(
            SigningKey(private_key=private, certificate=str(self._folder / f"{identity}.pem")),
            Signer(certificates=(self.root,), identity=identity),
        )

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.datetime = _FAR_AWAY
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_LONG_AGO)
            .not_valid_after(until)
        )

    def _write(self, name: str, certificate: x509.CertificateBuilder) -> None:
        signed = certificate.sign(self._key, hashes.SHA256())
        (self._folder / name).write_bytes(signed.public_bytes(Encoding.PEM))
