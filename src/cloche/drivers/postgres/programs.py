"""Running the programs that PostgreSQL has for its clients."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, Final

from psycopg import pq
from psycopg.conninfo import make_conninfo

from cloche.drivers.postgres.address import Address
from cloche.errors import DatabaseToolMissing, SinkUnavailable

_BUFFER: Final = 1024 * 1024
_SAID: Final = 64 * 1024
_NOT_THERE: Final = (FileNotFoundError, PermissionError)
_VERSION: Final = re.compile(rb"\) (\d+)")
_PREFIX: Final = re.compile(r"^\w+: (?:error: )?(?:connection to server (?:at|on) .*? failed: )?")


async def check_program(name: str, address: Address, major: int | None = None) -> None:
    """See that a program is there, and not older than a server.

    Args:
        name: of the program.
        address: what it is needed for.
        major: the version of the server, where that matters.

    Raises:
        DatabaseToolMissing: it is not.
    """
    wanted = "" if major is None else f" {major} or newer"
    try:
        process = await asyncio.create_subprocess_exec(name, "--version", stdout=PIPE, stderr=DEVNULL)
    except _NOT_THERE:
        raise _missing(name, address, "PATH has none", wanted) from None
    told, _ = await process.communicate()
    found = _VERSION.search(told)
    if major is not None and found and int(found[1]) < major:
        older = f"that of PATH is of version {int(found[1])}, which is older than the server"
        raise _missing(name, address, older, wanted)


@asynccontextmanager
async def run_program(
    name: str, address: Address, *options: str
) -> AsyncIterator[tuple[asyncio.StreamWriter, asyncio.StreamReader]]:
    """Start a program at work on a database, and yield its standard input and output; wait for its end.

    Whoever leaves by an exception ends it. It is told the password by its environment, and asks nobody for one.

    Raises:
        DatabaseToolMissing: it is not there.
        SinkUnavailable: it has failed; in its words, but for the rows that its details repeat.
    """
    with tempfile.TemporaryFile() as said:
        process = await _start([name, "--no-password", *options, f"--dbname={_open(address)}"], address, said)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            process.stdin.close()
            await process.communicate()
        if process.returncode:
            raise SinkUnavailable(where=address.where, reason=_reason(name, process.returncode, said))


async def _start(command: list[str], address: Address, said: IO[bytes]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=said, env=_environ(address), limit=_BUFFER
        )
    except _NOT_THERE:
        raise _missing(command[0], address, "PATH has none", "") from None


def _open(address: Address) -> str:
    """Return the connection string as others of this host may see it, among the arguments of a process."""
    secret = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"}
    return make_conninfo(**{name: value for name, value in address.parameters.items() if name not in secret})


def _environ(address: Address) -> Mapping[str, str]:
    password = address.parameters.get("password")
    secret = {} if password is None else {"PGPASSWORD": password}
    return {**os.environ, **secret, "LC_ALL": "C"}  # its failures are read here


def _missing(name: str, address: Address, found: str, wanted: str) -> DatabaseToolMissing:
    return DatabaseToolMissing(tool=name, where=address.where, found=found, wanted=wanted)


def _reason(name: str, status: int, said: IO[bytes]) -> str:
    """Return why a program has failed: the first line that says so."""
    said.seek(0)
    lines = said.read(_SAID).decode("utf-8", "replace").splitlines()
    told = [line for line in lines if "error: " in line] or lines
    if status < 0:
        return f"{name} was ended by {signal.Signals(-status).name}"
    return _PREFIX.sub("", told[0]) if told else f"{name} ended with status {status}"
