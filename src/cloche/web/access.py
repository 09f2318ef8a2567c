"""Who may call: the Host allow-list, the Origin check and the bearer token, for every address alike."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from cloche.errors import Forbidden, Unauthorized, UnknownHost
from cloche.web import docs

OPEN = frozenset({"/", "/live", "/ready", *(f"/docs/{name}" for name in docs.ASSETS)})
"""Addresses that answer without a token: what a load balancer asks, and files that say nothing of the models."""

_REMEMBERED = 256


class Access:
    """Lets a request in, or says why not."""

    def __init__(self, token: str | None, allowed_hosts: Iterable[str] = ()) -> None:
        self._bearer = f"Bearer {token}".encode() if token else None
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._known: set[bytes] = set()

    def check(self, headers: Mapping[bytes, bytes], *, needs_token: bool = True) -> str:
        """Return the name of the token that was used.

        Raises:
            UnknownHost, Forbidden, Unauthorized: it may not come in.
        """
        host = headers.get(b"host", b"")
        if host not in self._known:
            self._check_host(host)
        origin = headers.get(b"origin")
        if origin is not None:
            self._check_origin(origin, host)
        return self._caller(headers.get(b"authorization")) if needs_token else "anonymous"

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

    def _caller(self, authorization: bytes | None) -> str:
        """Return the name of the token that was used.

        Raises:
            Unauthorized: one is needed, and this is not it.
        """
        if self._bearer is None:
            return "anonymous"
        if authorization is None or not hmac.compare_digest(authorization, self._bearer):
            raise Unauthorized
        return "token"

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return "*" in self._allowed or name == "localhost" or name in self._allowed or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
