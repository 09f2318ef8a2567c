"""Addresses, and how they are said without their secrets."""

from __future__ import annotations

import pytest

from cloche.secrets import is_reference, without_secrets

HIDDEN = ("sig", "api_key", "ApiKey", "access_token", "Token", "sslpassword", "X-Amz-Signature", "key", "client-secret")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite", "sqlite"),
        ("postgresql://ann:rosebud@db:5432/log?sslmode=require", "postgresql://db:5432/log?sslmode=require"),
        ("postgresql://ann:rosebud@one:1,two:2/log", "postgresql://one:1,two:2/log"),
        ("postgresql:///log?host=/run/postgresql&password=rosebud", "postgresql:///log?host=%2Frun%2Fpostgresql"),
        ("redis://:rosebud@cache/0?stream=a:b", "redis://cache/0?stream=a%3Ab"),
        ("redis://cache/0?stream=a:b", "redis://cache/0?stream=a:b"),
        ("https://rose%40bud@there/log?token=rosebud", "https://there/log"),
        ("rosebud@localhost:1/log", "localhost:1/log"),
        ("ann:rosebud@localhost:1/log?at=a://b", "localhost:1/log?at=a%3A%2F%2Fb"),
        ("sqlite,rosebud@localhost:1/log", "localhost:1/log"),
        ("localhost/log?password=rosebud", "localhost/log"),
        ("postgresql://ann:rose,bud@db:5432/log", "postgresql://db:5432/log"),
        ("postgresql://ann:rose/bud@db:5432/log", "postgresql://db:5432/log"),
        ("postgresql://ann:rose#bud@db:5432/log", "postgresql://db:5432/log"),
        ("postgresql://ann:rose?bud@db:5432/log", "postgresql://db:5432/log"),
        ("postgresql://ann:rose[bud@db:5432/log", "postgresql://db:5432/log"),
        ("postgresql://ann@db:1,[::1]:2/log?password=rosebud", "postgresql://db:1,[::1]:2/log"),
        ("https://ann:rose?bud=1@there/log", "https://there/log"),
        ("https://there?to=ann@home", "https://there?to=ann@home"),
        ("parquet+s3://bucket/a@b", "parquet+s3://bucket/a@b"),
        ("postgresql://[::1]:5432/log?at=a@b", "postgresql://[::1]:5432/log?at=a@b"),
        ("file:/run/secrets/log@home", "file:/run/secrets/log@home"),
        *((f"https://there/log?{name}=rosebud&at=1", "https://there/log?at=1") for name in HIDDEN),
        ("https://there/log?sslkey=/k&monkey=2", "https://there/log?sslkey=/k&monkey=2"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


@pytest.mark.parametrize(
    ("text", "refers"),
    [("env:LOG", True), ("file:/run/log", True), ("file:///folder", False), ("sqlite", False), ("redis://h", False)],
)
def test_what_refers_to_a_secret_is_told_from_what_is_one(text: str, refers: bool) -> None:
    assert is_reference(text) is refers
