"""Where a PostgreSQL is, how to get there, and what its failures are called in this house."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import psycopg
from psycopg import errors as failures
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from cloche.errors import InvalidSetting, LogCorrupt, QueryTooSlow, SinkUnavailable

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

_CONNECT_S: Final = 8.0
_PORTS: Final = re.compile(r"[0-9,]*")
_AT: Final = re.compile(
    r"^connection (?:failed|is bad): connection to server (?:at|on) .*? failed: "
    r"|(?<=resolve host) '[^']*'"
    r'|(?<=socket path) "[^"]*"'
)
_DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "5",
    "application_name": "cloche",
    "client_encoding": "utf8",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""What libpq is told where the URL says nothing else: a server that vanished is noticed within half a minute."""


@dataclass(frozen=True)
class Address:
    """A database. What is secret of it is in no message."""

    parameters: Mapping[str, str] = field(repr=False)
    """As libpq takes them."""
    where: str
    """In words for a person."""

    @classmethod
    def from_url(cls, url: str, setting: str = "log.sinks") -> Address:
        """Return the address at a URL as libpq takes it: `postgresql://user@host:5432/database?sslmode=verify-full`.

        Args:
            url: the URL.
            setting: which one it comes from.

        Raises:
            InvalidSetting: it is none.
        """
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except (psycopg.Error, UnicodeError):  # whose messages repeat what could not be read, passwords too
            raise _unreadable(setting) from None
        if not _PORTS.fullmatch(given.get("port", "")):  # the rest of a password with a / in it
            raise _unreadable(setting)
        return cls({**_DEFAULTS, **given}, _in_words(given))

    @property
    def conninfo(self) -> str:
        """The connection string, secrets and all."""
        return make_conninfo(**self.parameters)

    async def connect(self, *, read_only: bool = False) -> Connection:
        """Return a connection that commits each statement, but for those in a `transaction()`.

        Raises:
            psycopg.Error: there is none to be had; `translated` says it in words.
            TimeoutError: nobody answered.
        """
        async with asyncio.timeout(_CONNECT_S):
            connection = await psycopg.AsyncConnection.connect(
                self.conninfo,
                autocommit=True,
                prepare_threshold=None,  # plans that are made for their values leave out the months that can't match
            )
        await connection.set_read_only(read_only)
        return connection


@asynccontextmanager
async def within(connection: Connection, limit_s: float | None) -> AsyncIterator[None]:
    """End a connection with what it is asked once the time is up; without a limit, never.

    To cancel what psycopg awaits is to wait for PostgreSQL to say so, for 5 s and as long again to roll back, and one
    that stalls says nothing. An end of the line is noticed at once.

    Raises:
        TimeoutError: the time is up.
    """
    is_up = False

    def hang_up() -> None:
        nonlocal is_up
        is_up = True
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = None if limit_s is None else asyncio.get_running_loop().call_later(limit_s, hang_up)
    try:
        yield
    except Exception:
        if is_up:
            raise TimeoutError from None
        raise
    finally:
        if timer is not None:
            timer.cancel()
        if is_up:
            await connection.close()


@contextmanager
def translated(address: Address, timeout_ms: int | None = None) -> Iterator[None]:
    """Name the failures of PostgreSQL in the words of the house, without the rows that its details repeat.

    Args:
        address: where it is.
        timeout_ms: what a query may take; past it, it is called too slow.

    Raises:
        LogCorrupt: it finds its files damaged.
        QueryTooSlow: it has ended a query.
        SinkUnavailable: anything else.
    """
    try:
        yield
    except (failures.DataCorrupted, failures.IndexCorrupted) as error:
        raise LogCorrupt(where=address.where, reason=_said(error)) from None
    except failures.QueryCanceled as error:
        if timeout_ms is None:
            raise SinkUnavailable(where=address.where, reason=_said(error)) from None
        raise QueryTooSlow(where=address.where, timeout_ms=timeout_ms) from None
    except psycopg.Error as error:
        raise SinkUnavailable(where=address.where, reason=_said(error)) from None
    except TimeoutError:
        raise SinkUnavailable(where=address.where, reason="it does not answer") from None


def _unreadable(setting: str) -> InvalidSetting:
    write = "Write it as postgresql://user@host:5432/database, in UTF-8, and %40 for an @ in it, %2F for a /"
    return InvalidSetting(name=setting, source="a URL of PostgreSQL", reason=f"libpq can't read it. {write}")


def _in_words(given: Mapping[str, str]) -> str:
    hosts = (given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = given.get("port", "").split(",")
    if len(ports) == 1:  # of all
        ports *= len(hosts)
    places = [
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in zip(hosts, ports, strict=False)
    ]
    return f"postgresql://{','.join(places)}/{given.get('dbname', '')}"


def _said(error: psycopg.Error) -> str:
    """Return what PostgreSQL or libpq says first, without the address, which is not for everybody who asks."""
    lines = (error.diag.message_primary or str(error)).splitlines()
    return _AT.sub("", lines[0]) if lines else type(error).__name__
