import base64
import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloche.drivers import open_signing
from cloche.errors import KeyUnusable
from cloche.ports import Signing
from cloche.testing import SigningContract
from cloche.values import Signer, SigningKey
from signers import Authority, make_key

MANIFEST = b'{"format": 1, "name": "pricing", "version": "1.0.0"}\n'


class TestKeys(SigningContract):
    def open_signing(self, folder: Path) -> Signing:
        return open_signing(folder)

    def join(self, folder: Path, name: str) -> tuple[SigningKey, Signer]:
        pair = make_key(folder, name)
        return pair.key, pair.signer


class TestCertificates(TestKeys):
    def join(self, folder: Path, name: str) -> tuple[SigningKey, Signer]:
        pair = Authority(folder, f"root-of-{name}").issue(f"{name}@example.com")
        return pair.key, pair.signer


@pytest.fixture
def signing(tmp_path):
    return open_signing(tmp_path)


@pytest.fixture
def anna(tmp_path):
    return make_key(tmp_path, "anna")


@pytest.fixture
async def signature(signing, anna):
    return await signing.sign(MANIFEST, "pricing-1.0.0", anna.key)


def payload_of(signature):
    return json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
async def test_a_key_signs_and_its_public_part_checks(signing, tmp_path, curve):
    ben = make_key(tmp_path, "ben", curve=curve)
    signature = await signing.sign(MANIFEST, "pricing-1.0.0", ben.key)
    assert await signing.fault(MANIFEST, signature, ben.signer) is None


async def test_what_is_signed_names_the_version(signature):
    statement = payload_of(signature)
    assert statement["subject"][0]["name"] == "pricing-1.0.0"
    assert [resource["name"] for resource in statement["predicate"]["resources"]] == ["manifest.json"]


async def test_the_tool_of_the_library_agrees(signature, tmp_path):
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "manifest.json").write_bytes(MANIFEST)
    (tmp_path / "stored.json").write_bytes(signature)
    command = ["verify", "key", "version", "--signature", "stored.json", "--public_key", "anna.pub"]
    done = subprocess.run([sys.executable, "-m", "model_signing", *command], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr


async def test_why_it_does_not_count_is_said(signing, signature, anna, tmp_path):
    assert "something else" in await signing.fault(MANIFEST + b" ", signature, anna.signer)
    assert "Key mismatch" in await signing.fault(MANIFEST, signature, make_key(tmp_path, "eve").signer)
    assert "No such file" in await signing.fault(MANIFEST, signature, Signer(public_key="gone.pub"))


async def test_nothing_of_it_can_be_changed(signing, signature, anna):
    bundle = json.loads(signature)
    for changed in (
        bundle | {"more": 1},
        bundle | {"verificationMaterial": {"tlogEntries": []}},
        bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payloadType": "text/plain"}},
        bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": []}},
        bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": [{"sig": "AAAA"}]}},
    ):
        assert await signing.fault(MANIFEST, json.dumps(changed).encode(), anna.signer)


async def test_a_statement_that_leaves_the_manifest_out_is_of_something_else(signing, anna, tmp_path):
    """The library takes it: what is to be ignored is in what was signed."""
    from model_signing import hashing
    from model_signing.signing import Config

    empty = tmp_path / "empty"
    empty.mkdir()
    ignoring = hashing.Config().use_file_serialization().set_ignored_paths(paths=["manifest.json"])
    config = Config().set_hashing_config(ignoring).use_elliptic_key_signer(private_key=anna.key.private_key)
    config.sign(empty, tmp_path / "of-nothing.json")
    stored = (tmp_path / "of-nothing.json").read_bytes()
    assert payload_of(stored)["predicate"].get("resources", []) == []
    assert await signing.fault(MANIFEST, stored, anna.signer)


async def test_an_encrypted_key_needs_its_password(signing, tmp_path):
    ben = make_key(tmp_path, "ben", password="hush")
    assert await signing.fault(MANIFEST, await signing.sign(MANIFEST, "p", ben.key), ben.signer) is None
    for password in (None, "loud"):
        with pytest.raises(KeyUnusable, match=r"ben.key: .*assword"):
            await signing.sign(MANIFEST, "p", SigningKey(private_key=ben.key.private_key, password=password))


@pytest.mark.parametrize("name", ["gone.key", "anna.pub"])
async def test_what_is_no_private_key_is_named(signing, anna, tmp_path, name):
    with pytest.raises(KeyUnusable, match=name):
        await signing.sign(MANIFEST, "p", SigningKey(private_key=str(tmp_path / name)))


async def test_a_certificate_counts_for_its_root_and_its_identity(signing, tmp_path):
    authority = Authority(tmp_path)
    anna, ben = authority.issue("anna@example.com"), authority.issue("ben@example.com")
    signature = await signing.sign(MANIFEST, "p", anna.key)
    assert await signing.fault(MANIFEST, signature, anna.signer) is None
    assert "is of anna@example.com" in await signing.fault(MANIFEST, signature, ben.signer)
    elsewhere = Authority(tmp_path, "elsewhere").issue("anna@example.com").signer
    assert await signing.fault(MANIFEST, signature, elsewhere)
    assert "something else" in await signing.fault(b"{}", signature, anna.signer)


async def test_a_certificate_counts_whenever_it_was_valid(signing, tmp_path):
    """A version answers for years, and nothing that could be trusted says when it was signed."""
    old = Authority(tmp_path).issue("old@example.com", until=datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC))
    assert await signing.fault(MANIFEST, await signing.sign(MANIFEST, "p", old.key), old.signer) is None


async def test_a_second_spelling_does_not_hide_another_certificate(signing, tmp_path):
    authority = Authority(tmp_path)
    anna, eve = authority.issue("anna@example.com"), authority.issue("eve@example.com")
    hers = json.loads(await signing.sign(MANIFEST, "p", anna.key))["verificationMaterial"]["x509CertificateChain"]
    stored = json.loads(await signing.sign(MANIFEST, "p", eve.key))
    material = stored["verificationMaterial"]
    material["x509_certificate_chain"] = material["x509CertificateChain"]
    material["x509CertificateChain"] = hers
    assert await signing.fault(MANIFEST, json.dumps(stored).encode(), anna.signer)


async def test_a_key_and_a_certificate_are_not_taken_for_each_other(signing, signature, anna, tmp_path):
    ben = Authority(tmp_path).issue("ben@example.com")
    assert await signing.fault(MANIFEST, signature, ben.signer)
    assert await signing.fault(MANIFEST, await signing.sign(MANIFEST, "p", ben.key), anna.signer)


async def test_what_was_signed_in_2026_counts_still():
    stored = Path(__file__).parents[2] / "fixtures" / "signed"
    manifest, signature = (stored / "manifest.json").read_bytes(), (stored / "signature.json").read_bytes()
    assert await open_signing(stored).fault(manifest, signature, Signer(public_key="anna.pub")) is None
