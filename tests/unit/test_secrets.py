"""Addresses, and how they are said without their secrets."""

from __future__ import annotations

import pytest

from cloche.secrets import is_reference, without_secrets


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
