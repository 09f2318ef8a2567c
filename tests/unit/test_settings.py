"""Settings: where they come from, and what is said where one is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche.errors import InvalidSetting
from cloche.settings import Settings, Token, declared, load_settings


def test_nothing_said_is_the_defaults() -> None:
    assert load_settings() == Settings()


def test_flags_go_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text('[server]\nport = 1\ncontrol_port = 2\nhost = "10.0.0.1"\n[log]\nmode = "os"\n')
    environ = {
        "CLOCHE_SERVER_PORT": "3",
        "CLOCHE_SERVER_CONTROL_PORT": "4",
        "CLOCHE_SERVER_ALLOWED_HOSTS": "a.example, b",
    }
    settings = load_settings(file, environ, {"server.port": 5, "log.mode": None})
    assert settings.server.host == "10.0.0.1"
    assert settings.server.control_port == 4
    assert settings.server.port == 5
    assert settings.server.allowed_hosts == ["a.example", "b"]
    assert settings.log.mode == "os"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[server]\nport = 70000", "server.port"),
        ('[server]\nport = "8000"', "server.port"),
        ("[server]\nprot = 1", "server"),
        ('[log]\nmode = "sometimes"', "log.mode"),
        ("[limits]\nmax_rows = 0", "limits.max_rows"),
        ("token", "file"),
        ('token = "written here"', "token"),
        ('token = "env:NOT_THERE"', "token"),
        ('token = "file:/not/there"', "token"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, name: str) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting) as refused:
        load_settings(file, {})
    assert refused.value.details["name"] == name
    assert str(file) in str(refused.value)
    assert "written here" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CLOCHE_SERVER_PORT", "http"), ("CLOCHE_LOG_MODE", "x"), ("CLOCHE_TOKEN", ""), ("CLOCHE_LIMITS_MAX_ROWS", "-1")],
)
def test_what_is_wrong_in_the_environment_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        load_settings(environ={variable: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nport = 1\n", "there is no serve; did you mean server?"),
        ("[server]\nprot = 1\n", "there is no prot; did you mean port?"),
        ("[server]\nsomething_else = 1\n", "there is no something_else."),
    ],
)
def test_an_unknown_name_is_said_with_the_nearest_that_is_known(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        load_settings(file)


def test_a_mark_that_editors_write_at_the_beginning_means_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 9000\r\n")
    assert load_settings(file).server.port == 9000


def test_a_secret_is_read_from_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("rosebud\n")
    file = tmp_path / "cloche.toml"
    file.write_text(f'token = "file:{tmp_path / "secret"}"')
    assert load_settings(file, {}).token == "rosebud"
    file.write_text('token = "env:MY_TOKEN"')
    assert load_settings(file, {"MY_TOKEN": "tulip"}).token == "tulip"
    assert load_settings(file, {"MY_TOKEN": "tulip", "CLOCHE_TOKEN": "daisy"}).token == "daisy"


def test_every_setting_says_what_it_means() -> None:
    found = list(declared())
    assert all(setting.description for setting in found)
    named = [setting for setting in found if not setting.is_table]
    assert len({setting.variable for setting in named}) == len(named)


TOKENS = """
[tokens.shop-de]
secret = "env:SHOP_DE"
claims = { market = "de" }

[tokens.ci]
secret = "env:CI"
may = ["manage"]
"""


def test_tokens_have_names_claims_and_permissions(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(TOKENS)
    settings = load_settings(file, {"SHOP_DE": "rose", "CI": "tulip"})
    assert settings.tokens == {
        "shop-de": Token(secret="rose", claims={"market": "de"}, may=("predict",)),
        "ci": Token(secret="tulip", may=("manage",)),
    }
    assert settings.secured
    assert (settings.token_to("predict"), settings.token_to("manage")) == ("rose", "tulip")
    assert settings.token_to("history") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TOKENS.replace("env:CI", "tulip"), r"tokens\.ci\.secret.*never as it is"),
        (TOKENS.replace('"manage"', '"everything"'), "everything"),
        ("[tokens]\nci = 3", "tokens"),
        ("[tokens.ci]\nmay = []", "secret"),
    ],
)
def test_what_is_wrong_with_a_token_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting, match=said):
        load_settings(file, {"SHOP_DE": "rose", "CI": "tulip"})


@pytest.mark.parametrize("url", ["s3://team/models", "gs://team/models", "az://models/here", "file:///mnt/models"])
def test_a_registry_is_an_address(url: str) -> None:
    assert load_settings(environ={"CLOCHE_REGISTRY": url}).registry == url


@pytest.mark.parametrize(
    "url",
    ["/mnt/models", "s3:team", "s3://", "s3://key:secret@team/models", "s3://team?sig=x", "ftp://a/b", "memory:///"],
)
def test_a_registry_with_anything_else_in_it_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidSetting, match="keys come from the environment") as caught:
        load_settings(environ={"CLOCHE_REGISTRY": url})
    assert "secret" not in str(caught.value)


def test_who_does_without_secrets_need_not_have_them(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    text = 'token = "env:NOT_SET"\nregistry = "s3://team/models"\n[tokens.shop]\nsecret = "env:NOT_SET"\n'
    file.write_text(text)
    with pytest.raises(InvalidSetting):
        load_settings(file)
    settings = load_settings(file, secrets=False)
    assert (settings.registry, settings.token, settings.tokens) == ("s3://team/models", None, {})


SIGNERS = """
[signers.ci]
public_key = "keys/ci.pub"
[signers.anna]
certificates = ["keys/root.pem"]
identity = "anna@example.com"
[signers.build]
identity = "https://example.com/build"
issuer = "https://issuer.example.com"

[signatures."*"]
require = "signed"
[signatures.pricing]
require = "signed"
signers = ["ci", "anna"]
"""


def test_signers_have_names_and_policies_name_them(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(SIGNERS)
    settings = load_settings(file)
    assert settings.signatures["pricing"].signers == ("ci", "anna")
    assert settings.signers["anna"].certificates == ("keys/root.pem",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[signatures.pricing]\nrequire = "signed"', r"requires a signature, and there is no table \[signers.NAME\]"),
        (SIGNERS.replace('"ci", "anna"', '"ci", "ann"'), r"names the signer ann, and there is no \[signers.ann\]"),
        ("[signatures.pricing]\nsigners = []", "require"),
        ('[signatures."pricing-*"]\nrequire = "none"', r"'pricing-\*'\] is the name of no model"),
        ('[signatures.pricing]\nrequire = "maybe"', "maybe"),
        ("[signers.ci]", "a signer has a public_key; or"),
        ('[signers.ci]\nidentity = "anna@example.com"', "a signer has a public_key; or"),
        ('[signers.ci]\ncertificates = ["root.pem"]', "a signer has a public_key; or"),
        ('[signers.ci]\npublic_key = "a"\nissuer = "b"\nidentity = "c"', "a signer has a public_key; or"),
        ('[signers.ci]\npublic_key = "a"\nsigstore = "b"', "sigstore goes with"),
    ],
)
def test_what_is_wrong_with_a_policy_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting, match=said):
        load_settings(file)


def sinks_of(tmp_path: Path, text: str, environ: dict[str, str] | None = None, secrets: bool = True) -> list[str]:
    file = tmp_path / "cloche.toml"
    file.write_text(f"[log]\n{text}\n")
    return load_settings(file, environ or {}, secrets=secrets).log.sinks


def test_sinks_are_addresses_and_those_with_secrets_are_referred_to(tmp_path: Path) -> None:
    (tmp_path / "stream").write_text("redis://:rosebud@cache/0\n")
    text = f'sinks = ["env:LOG_URL", "file:{tmp_path / "stream"}", "https://there/log"]'
    address = "postgresql://ann:rosebud@one,two/log"
    assert sinks_of(tmp_path, text, {"LOG_URL": address}) == [address, "redis://:rosebud@cache/0", "https://there/log"]
    assert sinks_of(tmp_path, 'sinks = ["env:LOG_URL"]', secrets=False) == ["env:LOG_URL"]
    given = load_settings(environ={"CLOCHE_LOG_SINKS": "sqlite, redis://:rosebud@cache/0"})
    assert given.log.sinks == ["sqlite", "redis://:rosebud@cache/0"]


@pytest.mark.parametrize(
    "sinks",
    [
        ["postgresql://ann:rose,bud@db/log"],
        ["postgresql://ann:rose,,bud,@db/log", "sqlite"],
        ["postgresql://ann@[::1]:1,127.0.0.1:2/log", "parquet+s3://bucket/log", "redis://cache/0"],
        ["sqlite", "mysql://ann:rose,bud@db/log"],
        ["env:LOG_URL", "file:/run/stream", "https://there/log"],
        ["redis://cache/0", "sqlite"],
    ],
)
def test_a_comma_within_an_address_of_the_environment_is_part_of_it(sinks: list[str]) -> None:
    for between in (",", ", ", " ,\n", ",,"):
        assert load_settings(environ={"CLOCHE_LOG_SINKS": between.join(sinks) + ","}).log.sinks == sinks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sinks = ["postgresql://ann:rosebud@db/log"]', "never as it is"),
        ('sinks = ["postgresql://ann:rose/bud@db/log"]', "never as it is"),
        ('sinks = ["postgresql://ann:rose[bud@db/log"]', "never as it is"),
        ('sinks = ["https://rosebud@there/log"]', "never as it is"),
        ('sinks = ["redis://cache/0?password=rosebud"]', "never as it is"),
        ('sinks = ["env:NOT_SET"]', "something that exists"),
        ("sinks = []", "the first is the log"),
        ('sinks = ["sqlite", "sqlite"]', "one twice"),
        ('sinks = "sqlite"', "log.sinks"),
        ('mode = "sink"', "one that is elsewhere"),
        ('mode = "sink"\nsinks = ["postgresql://db/log", "redis://cache/0"]', "name one sink"),
    ],
)
def test_sinks_that_can_not_be_are_refused_without_showing_a_secret(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as refused:
        sinks_of(tmp_path, text)
    assert "rosebud" not in str(refused.value)


def test_a_secret_in_an_address_is_refused_even_where_secrets_are_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="never as it is"):
        sinks_of(tmp_path, 'sinks = ["postgresql://ann:rosebud@db/log"]', secrets=False)


def test_the_place_of_idempotency_keys_holds_no_password_as_it_is(tmp_path):
    file = tmp_path / "cloche.toml"
    file.write_text('idempotency = "env:KEYS"')
    assert load_settings(file, {"KEYS": "redis://:rosebud@there/0"}).idempotency == "redis://:rosebud@there/0"
    file.write_text('idempotency = "redis://:rosebud@there/0"')
    with pytest.raises(InvalidSetting, match="idempotency") as caught:
        load_settings(file, {})
    assert "rosebud" not in str(caught.value)
