import json

import pytest
from shell import put_version

from signers import make_key

POLICY = '[signatures.pricing]\nrequire = "signed"\n[signers.anna]\npublic_key = "anna.pub"\n'


@pytest.fixture
def anna(folder):
    return make_key(folder, "anna")


@pytest.fixture
def published(home):
    put_version(home, "pricing", "1.0.0")


def test_a_version_is_signed_and_verified(run, published, anna, folder):
    (folder / "cloche.toml").write_text(POLICY)
    before = run("models", "verify", "pricing", "1.0.0")
    assert before.exit_code == 1
    assert "NO: pricing 1.0.0 is not loaded: unsigned" in before.stdout
    signed = json.loads(run("models", "sign", "pricing", "1.*", "--key", "anna.key", "--json").stdout)
    assert signed["stored"].startswith("models/pricing/1.0.0/signatures/")
    after = run("models", "verify", "pricing", "1.0.0")
    assert after.exit_code == 0
    assert "yes: signed by anna, and every file is what the manifest says" in after.stdout
    assert json.loads(run("models", "verify", "pricing", "1.0.0", "--json").stdout)["signed_by"] == ["anna"]
    assert "signatures\n    of anna\n" in run("models", "show", "pricing", "1.0.0").stdout
    assert json.loads(run("models", "show", "pricing", "1.0.0", "--json").stdout)["signatures"] == ["of anna"]


def test_a_signature_of_somebody_else_is_shown_and_does_not_count(run, published, anna, folder):
    make_key(folder, "eve")
    (folder / "cloche.toml").write_text(POLICY)
    assert run("models", "sign", "pricing", "1.0.0", "--key", "eve.key").exit_code == 0
    found = run("models", "verify", "pricing", "1.0.0")
    assert found.exit_code == 1
    assert "signer not known" in found.stdout
    assert "not of anna (Key mismatch" in found.stdout


def test_without_a_policy_it_is_loaded_and_nobody_is_known(run, published, anna):
    run("models", "sign", "pricing", "1.0.0", "--key", "anna.key")
    found = run("models", "verify", "pricing", "1.0.0")
    assert found.exit_code == 1
    assert "yes: no policy here asks for a signature" in found.stdout
    assert "this host knows no signer" in found.stdout


def test_a_password_is_read_from_a_file(run, published, folder):
    make_key(folder, "ben", password="hush")
    (folder / "password").write_text("hush\n")
    refused = run("models", "sign", "pricing", "1.0.0", "--key", "ben.key")
    assert refused.exit_code == 1
    assert "Nothing can be signed with ben.key: Password was not given" in refused.stderr
    assert run("models", "sign", "pricing", "1.0.0", "--key", "ben.key", "--password-file", "password").exit_code == 0


def test_one_says_what_to_sign_with(run, published, anna):
    assert "Say what to sign with" in run("models", "sign", "pricing", "1.0.0").stderr
    assert run("models", "sign", "pricing", "1.0.0", "--sigstore", "--key", "anna.key").exit_code == 2


def test_a_version_that_is_not_there_can_not_be_signed(run, published, anna):
    assert "has no version 3.0.0" in run("models", "sign", "pricing", "3.0.0", "--key", "anna.key").stderr
