"""Secrets: how settings refer to them, and how an address is said without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from cloche.errors import InvalidSetting

_SECRET_PARAMETERS = frozenset({"password", "passwd", "token", "secret", "key", "sslpassword"})


def is_reference(text: str) -> bool:
    """Return whether it says where a secret is, as `env:NAME` or `file:PATH`, and is none itself."""
    kind, _, place = text.partition(":")
    return kind in ("env", "file") and not place.startswith("//")


def reveal(name: str, reference: object, file: Path, environ: Mapping[str, str]) -> str:
    """Return the secret that a setting refers to.

    Args:
        name: of the setting.
        reference: what is written there.
        file: where it is written.
        environ: the environment.

    Raises:
        InvalidSetting: it is no reference, or what it refers to does not exist.
    """
    kind, _, place = str(reference).partition(":")
    if kind == "env" and place in environ:
        return environ[place]
    if kind == "file" and Path(place).is_file():
        return Path(place).read_text(encoding="utf-8").strip()
    reason = "a secret is given as env:NAME or file:PATH, of something that exists, never as it is"
    raise InvalidSetting(name=name, source=file, reason=reason)


def reveal_address(name: str, address: str, file: Path, environ: Mapping[str, str], secrets: bool = True) -> str:
    """Return an address whole: what a reference refers to, or `address` itself where it holds no secret.

    Without `secrets` a reference stays what it is.

    Raises:
        InvalidSetting: as `reveal`, or there is a secret in an address that is written into a file.
    """
    if is_reference(address):
        return reveal(name, address, file, environ) if secrets else address
    return reveal(name, "", file, environ) if _holds_secret(address) else address


def without_secrets(address: str) -> str:
    """Return a URL without user, password and what parameters hide: what may be shown to a person."""
    parts = urlsplit(address)
    shown = [pair for pair in parse_qsl(parts.query) if pair[0] not in _SECRET_PARAMETERS]
    if "@" not in parts.netloc and len(shown) == len(parse_qsl(parts.query)):
        return address
    query = f"?{urlencode(shown)}" if shown else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def _holds_secret(address: str) -> bool:
    parts = urlsplit(address)
    token = parts.scheme in ("http", "https") and parts.username  # a token alone is sent as a bearer's
    return bool(parts.password or token or any(name in _SECRET_PARAMETERS for name, _ in parse_qsl(parts.query)))
