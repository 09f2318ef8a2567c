"""Starting and stopping a server from a shell."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from shell import CLOCHE, make_served

from cloche.cli import serve
from cloche.cli.serve import kept_in, live_lines
from cloche.registry.release import Live, Routing
from cloche.settings import Log, Settings


@pytest.fixture
def shell(tmp_path):
    return make_served(tmp_path)


def test_of_many_models_some_are_named():
    names = [f"m{number:02}" for number in range(25)]
    live = Live(25, dict.fromkeys(names, Routing({"1.0.0": "x"}, "1.0.0")), dict.fromkeys(names, 1))
    assert live_lines(live)[-2:] == ["live     m19 1.0.0  (release 1)", "live     … and 5 more"]
    assert len(live_lines(live)) == 21
    assert live_lines("It is away.") == ["live     It is away. Until then what this host saw last is served."]


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "No space left"), (errno.EDQUOT, "Disk quota exceeded")])
def test_a_full_disk_is_said_with_its_place_and_what_to_do(run, home, monkeypatch, number, said):
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(serve, "Supervisor", full)
    result = run("serve", "--port", 0, "--control-port", 0)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Nothing can be written to {home.path}: {said}")
    assert "--home" in result.stderr


class Slowly:
    """A home whose registry takes a while to be opened, or to answer."""

    def __init__(self, opens_s: float = 0, answers_s: float = 0) -> None:
        self.opens_s, self.answers_s = opens_s, answers_s
        self.releases = self

    def registry(self) -> Slowly:
        time.sleep(self.opens_s)
        return self

    async def live(self) -> Live:
        await asyncio.sleep(self.answers_s)
        return Live(7)


async def test_a_registry_that_hangs_is_not_waited_for_and_a_busy_machine_is(monkeypatch):
    monkeypatch.setattr(serve, "GREETING_S", 0.05)
    assert await serve.what_is_live(Slowly(opens_s=0.1)) == Live(7)
    assert await serve.what_is_live(Slowly(answers_s=60)) == "The registry has not said within 0.05 s what is live."


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        ("redis://ann:rosebud@cache/0", "redis://cache/0 is a stream.*Name a log before it"),
        ("sqlite,mysql://ann:rosebud@db/log", "'mysql://db/log' is not one of sqlite, postgresql://…"),
        ("mysql://ann:sec,rosebud@db/log", "'mysql://db/log' is not one of sqlite, postgresql://…"),
        ("sqlite,rosebud@db/log", "'db/log' is not one of sqlite, postgresql://…"),
    ],
)
def test_sinks_that_can_not_be_are_refused_before_anything_starts(run, home, monkeypatch, sinks, said):
    monkeypatch.setenv("CLOCHE_LOG_SINKS", sinks)
    result = run("serve", "--port", "0", "--control-port", "0")
    assert result.exit_code == 1
    assert re.search(said, result.stderr)
    assert "rosebud" not in result.stderr
    assert not home.run.exists()


def test_where_calls_are_kept_is_said_where_it_is_not_the_usual_place():
    assert kept_in(Settings()) == "mode disk"
    sinks = ["postgresql://ann:rosebud@db/log", "redis://cache/0"]
    assert kept_in(Settings(log=Log(sinks=sinks))) == "mode disk, in postgresql://db/log, redis://cache/0"


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def test_without_a_model_it_says_what_to_type_and_a_first_one_is_served_at_once(shell):
    with shell.start("--log-mode", "os") as server:
        said = read_until(server, "cloche predict")
        assert f"home     {shell.home.path}" in said
        assert "log      mode os" in said
        assert "from cloche import publish" in said
        found = json.loads((shell.home.run / "server.json").read_bytes())
        assert found["url"] in said
        assert found["control_url"] in said
        shell.publish()
        shell.wait_ready(1)
        assert shell.run("predict", "delays", "carrier=UA", "distance=1").stdout == "12.5\n"
        assert f"process {server.pid}" in shell.run("doctor").stdout
        assert f"(process {server.pid})" in shell.run("serve", "--port", "0", "--control-port", "0", status=1).stderr
        server.send_signal(signal.SIGINT)
        ending, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Stopping" in ending
    assert ending.endswith("Stopped.\n")
    assert len(shell.run("log", "query", "--json").stdout.splitlines()) == 1
    assert re.search("^server +none$", shell.run("doctor").stdout, re.M)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(happened):
    deadline = time.monotonic() + 20
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert happened()


@pytest.fixture
def busy(shell):
    """A server whose model has just been asked something that takes it two seconds, and the command that asked."""
    shell.environ["CLOCHE_LIMITS_DEADLINE_MS"] = "20000"
    shell.publish()
    asked = shell.folder / "asked"
    with shell.start() as server:
        shell.wait_ready(1)
        command = [*CLOCHE, "predict", "delays", f"carrier={asked}", "distance=1"]
        with subprocess.Popen(command, cwd=shell.folder, env=shell.environ, stdout=-1, stderr=-1) as call:
            wait_for(asked.exists)
            yield server, call


def test_what_is_in_flight_is_answered_and_kept_before_it_stops(shell, busy):
    server, call = busy
    server.send_signal(signal.SIGTERM)
    assert call.communicate(timeout=20)[0] == b"7.0\n"
    server.communicate(timeout=20)
    assert server.returncode == 0
    assert [json.loads(line)["output"] for line in shell.run("log", "query", "--json").stdout.splitlines()] == [7.0]


def test_a_second_ctrl_c_ends_at_once_and_leaves_nobody_behind(shell, busy):
    server, call = busy
    children = children_of(server.pid)
    assert len(children) == 3  # a gateway, a keeper, a worker
    server.send_signal(signal.SIGINT)
    read_until(server, "Ctrl-C again")
    began = time.monotonic()
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=10) == 130
    assert time.monotonic() - began < 1
    assert b"No server" in call.communicate(timeout=20)[1]
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    shell.run("log", "verify")


def test_a_server_to_which_nobody_listens_any_more_can_be_stopped(shell):
    with shell.start() as server:
        read_until(server, "control")
        server.stdout.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0


def test_a_port_that_is_taken_is_said(shell):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        failed = shell.run("serve", "--port", port, "--control-port", "0", status=1)
    assert f"Can't listen on 127.0.0.1:{port}" in failed.stderr
    assert "--port" in failed.stderr


def test_other_hosts_need_a_token(shell):
    failed = shell.run("serve", "--host", "0.0.0.0", "--port", "0", "--control-port", "0", status=1)
    assert "CLOCHE_TOKEN" in failed.stderr
    assert "\n    " not in failed.stderr


def test_a_token_is_used_by_predict(shell):
    shell.publish()
    shell.environ["CLOCHE_TOKEN"] = "secret-7"
    with shell.start("--host", "0.0.0.0") as server:
        read_until(server, "is in force")
        assert shell.run("predict", "delays", "carrier=UA", "distance=1").stdout == "12.5\n"
        doctor = shell.run("doctor").stdout + shell.run("doctor", "--json").stdout
        assert "secret-7" not in doctor
        assert "CLOCHE_TOKEN" in doctor
        del shell.environ["CLOCHE_TOKEN"]
        assert "unauthorized" in shell.run("predict", "delays", "carrier=UA", "distance=1", status=1).stderr
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0
