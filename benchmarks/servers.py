"""Servers that run: each a real process on the core for servers."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contender import Launch
from benchmarks.usage import resident_mb, tree

SERVER_CPU, LOAD_CPU = 0, 1
START_S, STOP_S, ORPHANS_S, SHIPPED_S = 90.0, 30.0, 3.0, 60.0
POLL_S = 0.01
"""How often a server that starts is asked: each time costs it some of its core."""
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""What every server is told: there is one core."""


class Failed(Exception):
    """A server did not do what was asked, in one line."""


@dataclass
class Server:
    """A server that is up, and what it takes to ask it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    first_answer_s: float = 0.0
    control: str = ""
    """Where its keeper answers, if it has one."""

    def stop(self) -> None:
        """End it with all that it started: gently, and what is left then not."""
        family = tree(self.process.pid) if self.process.poll() is None else []
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _, left = psutil.wait_procs(family[1:], timeout=ORPHANS_S)
        for process in left:
            process.kill()

    def ask(self, body: bytes) -> Any:
        """Return what it answers to one call.

        Raises:
            Failed: it is no 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != http.client.OK:
            raise Failed(f"it answered {answer.status}: {said[:200].decode(errors='replace')}")
        return json.loads(said)

    def backlog(self) -> float:
        """How many records its gateway has kept and its keeper has not shipped yet."""
        kept = _metric(f"http://127.0.0.1:{self.port}", "cloche_log_kept_records_total")
        return kept - _metric(self.control, "cloche_log_shipped_records_total")

    def shipped(self) -> dict[str, float]:
        """Wait until the keeper has shipped the log, so that no server pays for another; return what was left to do.

        Raises:
            Failed: it has not within a minute.
        """
        backlog, began = self.backlog(), time.perf_counter()
        while self.backlog() > 0:
            if time.perf_counter() - began > SHIPPED_S:
                raise Failed(f"its keeper has not shipped the log within {SHIPPED_S:.0f} s")
            time.sleep(0.1)
        return {"backlog": backlog, "shipped_s": time.perf_counter() - began}

    def family(self) -> dict[str, int]:
        """Resident memory in MB of the process and its children, by what they are."""
        return resident_mb(self.process.pid)


def start(name: str, launch: Launch, port: int, path: str, body: bytes, log: Path) -> Server:
    """Start a server, and wait until it has answered a call.

    Args:
        name: what it is called in tables.
        launch: its command.
        port: where it will listen.
        path: where it is asked.
        body: a call that it can answer.
        log: the file for what it prints, in the folder that it is started in.

    Raises:
        Failed: it ended, or has not answered within a minute and a half.
    """
    usual = {name: value for name, value in os.environ.items() if not name.startswith("CLOCHE_")}
    began = time.perf_counter()
    with log.open("wb") as printed:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(SERVER_CPU), *launch.command],
            env={**usual, **THREADS, **launch.environ},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    server = Server(name, process, port, path)
    if launch.control_port is not None:
        server.control = f"http://127.0.0.1:{launch.control_port}"
    try:
        _wait_for_answer(server, body, began, log)
    except BaseException:
        server.stop()
        raise
    server.first_answer_s = time.perf_counter() - began
    return server


def differs(scores: Sequence[float], own: Sequence[float], tolerance: float = 1e-4) -> str | None:
    """Say where a server's scores are not the model's own, if they are not."""
    if len(scores) != len(own):
        return f"{len(scores)} scores where the model gives {len(own)}"
    for number, (score, meant) in enumerate(zip(scores, own, strict=True)):
        if not math.isclose(score, meant, rel_tol=tolerance, abs_tol=tolerance):
            return f"score {number} is {score:.6g} where the model's own is {meant:.6g}"
    return None


def _wait_for_answer(server: Server, body: bytes, began: float, log: Path) -> None:
    said = "it has not answered"
    while time.perf_counter() - began < START_S:
        try:
            server.ask(body)
        except Failed as failed:
            said = str(failed)
        except (OSError, http.client.HTTPException):
            pass
        else:
            return
        if server.process.poll() is not None:
            raise Failed(f"it ended with {server.process.returncode}: {_last_line(log)}")
        time.sleep(POLL_S)
    raise Failed(f"{said} within {START_S:.0f} s; the last that it printed: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"


def _metric(server: str, name: str) -> float:
    with urllib.request.urlopen(f"{server}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith((f"{name} ", f"{name}{{"))))
