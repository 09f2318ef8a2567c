"""Secrets: how settings refer to them, how a token is sent, and how an address is said without them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cloche.errors import InvalidSetting

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(\[[^]]*\]|[^:@]*)(:[0-9]*)?")
_QUERY = re.compile(r"\?\w+=")

HIDDEN_PARAMETER = (
    r"[\w.-]*(?:passw|pwd|token|secret|credential|signature)[\w.-]*|(?:[\w.-]*[-_.])?(?:sig|key|auth)|(?:api|access)key"
)
"""The name of a parameter of an address that is a secret, in any case; `sslkey` says where one is."""

_is_hidden = re.compile(HIDDEN_PARAMETER, re.IGNORECASE).fullmatch


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


def bearing(token: str | None) -> dict[str, str]:
    """Return the header that carries a token, for `http.client`, which makes a byte of a letter; none without one."""
    return {"Authorization": f"Bearer {token}".encode().decode("latin-1")} if token else {}


def without_secrets(address: str) -> str:
    """Return an address without user, password and what parameters hide: what may be shown to a person."""
    if is_reference(address):
        return address
    scheme, separator, rest = address.partition("://")
    start = f"{scheme.lower()}://" if separator and _SCHEME.fullmatch(scheme) else ""
    rest = rest if start else address
    shown = _without_user(rest) if start else rest.rpartition("@")[2]
    place, _, query = shown.partition("#")[0].partition("?")
    pairs = parse_qsl(query)
    kept = [pair for pair in pairs if not _is_hidden(pair[0])]
    if shown == rest and kept == pairs:
        return address
    return f"{start}{place}?{urlencode(kept)}" if kept else f"{start}{place}"


def _without_user(rest: str) -> str:
    """Return what follows user and password, also where those hold a `/`, `?` or `#` that should have been escaped."""
    first, slash, path = rest.partition("/")
    hosts = re.split(r"[?#]", first, maxsplit=1)[0]
    are_hosts = all(map(_HOST.fullmatch, hosts.split(",")))
    if "@" in first and not (are_hosts and _QUERY.match(first, len(hosts))):
        return first.rpartition("@")[2] + slash + path
    return rest if are_hosts else rest.rpartition("@")[2]


def _holds_secret(address: str) -> bool:
    scheme, _, rest = address.partition("://")
    user = rest.removesuffix(_without_user(rest))
    token = user and scheme.lower() in ("http", "https")  # a token alone is sent as a bearer's
    parameters = parse_qsl(rest.partition("?")[2])
    return bool(":" in user or token or any(_is_hidden(name) for name, _ in parameters))
