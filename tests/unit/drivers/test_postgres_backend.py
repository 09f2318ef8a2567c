"""Who asks from beside a PostgreSQL, and gives way to calls, is answered by a process that does, too."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from cloche.drivers.postgres import backend
from cloche.drivers.postgres.backend import backend_here
from cloche.drivers.postgres.sink import PostgresSink
from cloche.testing import make_record
from postgres import Postgres

OURS = os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize("way", ["port", "socket"])
def test_the_process_of_a_connection_is_known(postgres: Postgres, way: str) -> None:
    url = postgres.url("postgres") if way == "port" else postgres.local_url("postgres")
    with closing(psycopg.connect(url)) as connection:
        said = connection.execute("select pg_backend_pid()").fetchone()
        assert said == (backend_here(connection.pgconn),)


@contextmanager
def relayed(port: int) -> Iterator[int]:
    """Listen for one client, and hand on what it and a server say to each other, as poolers do."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hand_on(taken: socket.socket, given: socket.socket) -> None:
            while said := taken.recv(65536):
                given.sendall(said)
            given.shutdown(socket.SHUT_WR)

        def serve() -> None:
            client, _ = listening.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=hand_on, args=(server, client))
                back.start()
                hand_on(client, server)
                back.join()

        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        serving.join()


def test_nobody_is_taken_for_it_where_somebody_stands_between(postgres: Postgres) -> None:
    url = postgres.url("postgres")
    with relayed(psycopg.conninfo.conninfo_to_dict(url)["port"]) as port:
        asked = psycopg.connect(url, port=port)
        with closing(asked):
            assert asked.execute("select 1").fetchone() == (1,)
            assert backend_here(asked.pgconn) is None


@pytest.mark.parametrize("way", ["port", "socket"])
def test_what_can_not_be_told_is_not_told(postgres: Postgres, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener of another container is 0, whose children are all that were started from there; titles are cut."""
    url = postgres.url("postgres") if way == "port" else postgres.local_url("postgres")
    shown = {"status": b"Name:\tx\nPPid:\t0\n", "cmdline": b"caf\xe9\0"}
    with closing(psycopg.connect(url)) as connection:
        monkeypatch.setattr(Path, "read_bytes", lambda path: shown[path.name])
        monkeypatch.setattr(backend, "_CREDENTIALS", Nobody())
        assert backend_here(connection.pgconn) is None
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.delattr(socket, "SO_PEERCRED")
        assert backend_here(connection.pgconn) is None


class Nobody(struct.Struct):
    """Reads the credentials of who is in another container."""

    def __init__(self) -> None:
        super().__init__("3i")

    def unpack(self, _: object) -> tuple[int, ...]:
        return 0, 0, 0


ASK = """
import asyncio, os, sys
from pathlib import Path
from cloche.drivers import open_reader
from cloche.ports import Filter

os.nice(int(sys.argv[2]))
reader = open_reader(sys.argv[1], Path("."))
assert len(asyncio.run(reader.find(Filter(), 10))) == 1
print(reader._idle[0].info.backend_pid, flush=True)
input()
"""


@pytest.mark.parametrize("more", [0, 4])
def test_it_gives_way_as_who_asks_does(database: str, more: int) -> None:
    async def written() -> int:
        sink = PostgresSink.from_url(database, None)
        await sink.write([make_record()])
        await sink.close()

    asyncio.run(written())
    command = [sys.executable, "-c", ASK, database, str(more)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        backend = int(asking.stdout.readline())
        assert os.getpriority(os.PRIO_PROCESS, backend) == min(19, OURS + more)
        asking.communicate("\n")
    assert asking.returncode == 0
