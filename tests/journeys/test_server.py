"""`cloche serve` as a process: what it listens on, how it ends, and what it says where it can't start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import shop
from serving import Caller, Server, cli, publish, run

ROW = {"width": 2, "height": 5}
LISTENING = "0A"
"""The state of a TCP socket in /proc/net/tcp."""


def sockets_of(pids: list[int]) -> set[str]:
    """Return the inodes of all sockets that processes hold."""
    found = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def listening_ports(pids: list[int]) -> Iterator[tuple[str, int]]:
    """Yield protocol and port of every socket that takes something from outside."""
    held = sockets_of(pids)
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in held and (words[3] == LISTENING or protocol.startswith("udp")):
                yield protocol, int(words[1].rpartition(":")[2], 16)
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if words[6] in held and (int(words[3], 16) & 0x10000 or len(words) > 7):
            yield "unix", 0


def test_it_listens_on_its_two_ports_and_on_nothing_else(server: Server) -> None:
    pids = server.everyone()
    assert len(pids) == 6, "supervisor, gateway, keeper and three workers"
    assert set(listening_ports(pids)) == {("tcp", server.port), ("tcp", server.control_port)}


class Load(threading.Thread):
    """Calls without a pause until nobody answers, and remembers what was answered."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self.ids: list[str] = []
        self._port = port
        self.start()

    def run(self) -> None:
        try:
            with Caller(self._port) as caller:
                while True:
                    answer = caller.predict("obedient", shop.order(do="sleep", seconds=0.002))
                    self.statuses[answer.status] += 1
                    if answer.status == 200:
                        self.ids.append(answer.json["id"])
        except (OSError, http.client.HTTPException):
            return


@pytest.mark.parametrize("mode", ["disk", "os", "async"])
def test_sigterm_under_load_loses_no_answer(tmp_path: Path, mode: str, evidence) -> None:
    home = tmp_path / ".cloche"
    publish(home, shop.Obedient, "obedient", [shop.OBEDIENT], golden="schema")
    with Server(home, "--log-mode", mode) as server:
        load = [Load(server.port) for _ in range(6)]
        while min(len(each.ids) for each in load) < 20:
            load[0].join(0.01)
        server.terminate()
        assert server.wait() == 0, server.said
        for each in load:
            each.join()
    assert server.said.rstrip().endswith("Stopped.")
    assert sum((each.statuses for each in load), Counter()).keys() == {200}
    acknowledged = [name for each in load for name in each.ids]
    kept = Counter(json.loads(line)["id"] for line in cli(home, "log", "export", "--out", "-").splitlines())
    assert [name for name in acknowledged if kept[name] != 1] == []
    assert not list((home / "spool").iterdir()), "all is shipped"
    evidence(
        f"SIGTERM under load, log mode {mode}: every answer is in the log once, and the server ends with status 0",
        f"{len(acknowledged):,} answers",
        "0 lost, 0 repeated",
    )


def test_a_port_that_is_taken_is_a_sentence(server: Server, tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    for flag in ("--port", "--control-port"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            options = {"--port": "0", "--control-port": "0"} | {flag: str(port)}
            failed = run(home, "serve", *(word for option in options.items() for word in option))
        reason = f"Can't listen on 127.0.0.1:{port}: Address already in use."
        assert failed.stderr == f"Error: {reason} Choose another port with {flag} (0 picks a free one).\n"
        assert failed.returncode == 1


def test_a_home_that_is_in_use_is_a_sentence(server: Server) -> None:
    failed = run(server.home, "serve", "--port", "0", "--control-port", "0")
    assert failed.returncode == 1
    assert failed.stderr == (
        f"Error: A server already runs on {server.home} (process {server.pid}). "
        "Stop it first, or choose another home with --home.\n"
    )
    assert server.predict("area", ROW).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_that_others_can_reach_needs_a_token(tmp_path: Path, host: str) -> None:
    failed = run(tmp_path / ".cloche", "serve", "--host", host, "--port", "0", "--control-port", "0")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"Error: {host} can be reached from other machines, and no token is set.")
    assert "CLOCHE_TOKEN" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_token_opens_other_hosts_to_those_who_have_it(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [ROW])
    with Server(home, "--host", "0.0.0.0", CLOCHE_TOKEN="secret") as server, server.caller() as caller:
        assert caller.predict("area", ROW).status == 401
        assert caller.predict("area", ROW, Authorization="Bearer secret").status == 200


def test_a_server_starts_again_where_it_ended(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [ROW])
    ids = []
    for _ in range(2):
        with Server(home) as server:
            ids.append(server.predict("area", ROW).json["id"])
        assert not (home / "run" / "server.json").exists()
    kept = [json.loads(line)["id"] for line in cli(home, "log", "export", "--out", "-").splitlines()]
    assert kept == ids
