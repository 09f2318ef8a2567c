"""Who may call: the Host allow-list, the Origin check and the bearer token, for every address alike."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec

from cloche.errors import Forbidden, Unauthorized, UnknownHost
from cloche.settings import Permission, Settings
from cloche.values import CLAIM
from cloche.web import docs

OPEN = frozenset({"/", "/live", "/ready", *(f"/docs/{name}" for name in docs.ASSETS)})
"""Addresses that answer without a token: what a load balancer asks, and files that say nothing of the models."""

_REMEMBERED = 256
_EVERYTHING: Final[frozenset[Permission]] = frozenset(("predict", "history", "manage"))
_NO_CLAIMS: Final[Mapping[str, str]] = MappingProxyType({})


class Caller(msgspec.Struct, frozen=True, eq=False):
    """Whose token was used, and what that says."""

    name: str
    may: frozenset[Permission] = _EVERYTHING
    claims: Mapping[str, str] = _NO_CLAIMS
    """`claim:market` -> its value, as a `Request` has its attributes."""

    def check(self, permission: Permission) -> None:
        """Check that it may do this.

        Raises:
            Forbidden: it may not.
        """
        if permission not in self.may:
            raise Forbidden(reason=f"the token {self.name} is not one that may {permission}")


ANYBODY = Caller("anonymous")
"""Who calls where no token is needed."""


def needed(method: str, path: str) -> Permission | None:
    """Return what a token must be allowed to do, to send such a request."""
    if method not in ("GET", "HEAD"):
        return "manage"
    return "history" if path == "/log" or path.startswith("/log/") else None


class Access:
    """Lets a request in, or says why not."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(host.lower() for host in settings.server.allowed_hosts)
        self._known: set[bytes] = set()
        self._callers = dict(_callers(settings))

    def check(self, headers: Mapping[bytes, bytes], *, needs_token: bool = True) -> Caller:
        """Return who calls.

        Raises:
            UnknownHost, Forbidden, Unauthorized: it may not come in.
        """
        host = headers.get(b"host", b"")
        if host not in self._known:
            self._check_host(host)
        origin = headers.get(b"origin")
        if origin is not None:
            self._check_origin(origin, host)
        return self._caller(headers.get(b"authorization")) if needs_token else ANYBODY

    def _check_host(self, host: bytes) -> None:
        """Refuse names that a page elsewhere may have pointed at this address (DNS rebinding).

        Raises:
            UnknownHost: it is neither an address, localhost, nor allowed.
        """
        if not self._is_ours(host.decode("latin-1")):
            raise UnknownHost
        if len(self._known) < _REMEMBERED:
            self._known.add(host)

    def _check_origin(self, origin: bytes, host: bytes) -> None:
        """Refuse what a page of another site sends.

        Raises:
            Forbidden: the origin is another.
        """
        if origin.partition(b"://")[2] != host:
            raise Forbidden(reason="pages of other sites may not call this server")

    def _caller(self, authorization: bytes | None) -> Caller:
        """Return whose token was used.

        Raises:
            Unauthorized: one is needed, and this is none.
        """
        if not self._callers:
            return ANYBODY
        scheme, _, token = (authorization or b"").partition(b" ")
        found = self._callers.get(_fingerprint(token))
        if found is None or scheme.lower() != b"bearer":
            raise Unauthorized
        return found

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return "*" in self._allowed or name == "localhost" or name in self._allowed or _is_address(name)


def _callers(settings: Settings) -> Iterator[tuple[bytes, Caller]]:
    """Yield who has which token: its fingerprint, since a look-up of the token itself would tell by its time."""
    if settings.token:
        yield _fingerprint(settings.token.encode()), Caller("token")
    for name, token in settings.tokens.items():
        claims = {f"{CLAIM}{claim}": value for claim, value in token.claims.items()}
        yield _fingerprint(token.secret.encode()), Caller(name, frozenset(token.may), claims)


def _fingerprint(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
