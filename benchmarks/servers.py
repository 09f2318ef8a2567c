"""The servers that are measured, each a real process on the same core."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloche.home import Home
from cloche.processes.boot import ServerFile

SERVER_CPU, LOAD_CPU = 0, 1
START_S = 60.0


@dataclass
class Server:
    """A server that is up, and what it takes to ask it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    body: bytes
    first_answer_s: float = 0.0
    control: str = ""
    """Where its keeper answers, if it has one."""
    extra: dict[str, float] = field(default_factory=dict)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def backlog(self) -> float:
        """How many records its gateway has kept and its keeper has not shipped yet."""
        kept = _metric(f"http://127.0.0.1:{self.port}", "cloche_log_kept_records_total")
        return kept - _metric(self.control, "cloche_log_shipped_records_total")

    def family(self) -> dict[str, int]:
        """Resident memory in MB of the process and its children, by what they are."""
        found = {}
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = Path(f"/proc/{pid}/status").read_text()
            resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            found[_role(words)] = int(resident.split()[1]) // 1024
        return found


def _metric(server: str, name: str) -> float:
    with urllib.request.urlopen(f"{server}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith((f"{name} ", f"{name}{{"))))


def start_echo(body: bytes) -> Server:
    return _uvicorn("bare ASGI echo", "benchmarks.echo:app", "/", body, {})


def start_tutorial(model: Path, body: bytes) -> Server:
    return _uvicorn("FastAPI tutorial", "benchmarks.tutorial:app", "/predict", body, {"BENCH_MODEL": str(model)})


def start_cloche(name: str, home: Path, mode: str, model: str, body: bytes) -> Server:
    command = [sys.executable, "-m", "cloche", "--home", str(home), "serve", "--port", "0", "--control-port", "0"]
    began = time.perf_counter()
    process = _spawn([*command, "--log-mode", mode], {})
    while True:
        found = ServerFile.read(Home(home))
        if found is not None and found.pid == process.pid:
            break
        _still_alive(process, began)
        time.sleep(0.005)
    port = int(found.url.rpartition(":")[2])
    server = Server(name, process, port, f"/models/{model}/predict", body, control=found.control_url)
    server.first_answer_s = _first_answer(server, began)
    return server


def _uvicorn(name: str, app: str, path: str, body: bytes, environ: Mapping[str, str]) -> Server:
    port = _free_port()
    options = [
        "--http",
        "httptools",
        "--loop",
        "uvloop",
        "--lifespan",
        "off",
        "--no-access-log",
        "--log-level",
        "error",
    ]
    began = time.perf_counter()
    process = _spawn([sys.executable, "-m", "uvicorn", app, "--port", str(port), *options], environ)
    server = Server(name, process, port, path, body)
    server.first_answer_s = _first_answer(server, began)
    return server


def _spawn(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pinned = ["taskset", "--cpu-list", str(SERVER_CPU), *command]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        pinned, env={**os.environ, **threads, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _first_answer(server: Server, began: float) -> float:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            connection.request("POST", server.path, server.body, {"Content-Type": "application/json"})
            if connection.getresponse().status == http.client.OK:
                return time.perf_counter() - began
        except OSError:
            pass
        _still_alive(server.process, began)
        time.sleep(0.005)


def _still_alive(process: subprocess.Popen[bytes], began: float) -> None:
    if process.poll() is not None or time.perf_counter() - began > START_S:
        raise SystemExit("a server did not come up")


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _role(command: str) -> str:
    for word in ("gateway", "keeper", "worker", "serve"):
        if word in command:
            return {"serve": "supervisor"}.get(word, word)
    return "server"
