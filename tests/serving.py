"""A real server in processes of its own, as a user runs it, and what tests ask of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import cloche

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
CLOCHE = (sys.executable, "-m", "cloche")
START_S = 60.0

_ROLES = {"gateway": "gateway", "keeper": "keeper", "__main__.py": "worker"}
_T = TypeVar("_T")


def environ(**more: str) -> dict[str, str]:
    """Return this process's environment without any setting of Cloche; models may leave notes for the tests."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("CLOCHE_")}
    return usual | {"CLOCHE_WORKERS_WRITABLE": tempfile.gettempdir()} | more


def run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [*CLOCHE, "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environ(**more), cwd=home.parent, timeout=120)


def cli(home: Path, *arguments: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = run(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(home: Path, model: Any, name: str, examples: Any, version: str = "1.0.0", **options: Any) -> Any:
    """Publish as a script does, silently."""
    return cloche.publish(model, name=name, version=version, examples=examples, home=home, quiet=True, **options)


def until(check: Callable[[], _T], within_s: float = 30.0) -> _T:
    """Ask again and again, and return the first answer that is true."""
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"it did not happen within {within_s} s"
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """A client with one connection that is kept."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Make a request; `body` is JSON unless it is bytes, and `Cloche_Subject` is the header Cloche-Subject."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self._connection.request(method, path, sent, {name.replace("_", "-"): said for name, said in headers.items()})
        response = self._connection.getresponse()
        given = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, given, response.read())

    def predict(self, model: str, row: Any, **headers: str) -> Answer:
        """Ask the model's default version about one row."""
        return self.ask("POST", f"/models/{model}/predict", {"input": row}, **headers)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server:
    """`cloche serve` on a home, with ports of its own.

    Args:
        home: the home folder.
        options: more of the command line.
        command: what starts it, where it is not `python -m cloche`.
        variables: more of the environment.
    """

    def __init__(self, home: Path, *options: str, command: Iterable[str] = CLOCHE, **variables: str) -> None:
        self.home = home
        self.output = home.parent / f"server-{time.monotonic_ns()}.txt"
        line = [*command, "--home", str(home), "serve", "--port", "0", "--control-port", "0", *options]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                line, stdout=output, stderr=output, env=environ(**variables), start_new_session=True
            )
        self.pid = self._process.pid
        try:
            found = until(self._found, START_S)
            self.port, self.control_port = (urlsplit(found[name]).port or 0 for name in ("url", "control_url"))
            until(self._settled, START_S)
        except BaseException:
            self.kill()
            raise

    def _found(self) -> Any:
        assert self._process.poll() is None, self.said
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = json.loads((self.home / "run" / "server.json").read_bytes())
            return found if found["pid"] == self.pid else None
        return None

    def _settled(self) -> bool:
        """Whether all that is live answers; a server without a model has settled, too."""
        waiting = self.health()["waiting_for"]
        return all(line.startswith("a first model") for line in waiting) and not self.control.json["waiting_for"]

    @property
    def said(self) -> str:
        """What it wrote so far."""
        return self.output.read_text()

    # ── calls ──

    def caller(self, timeout_s: float = 60.0) -> Caller:
        return Caller(self.port, timeout_s)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        with self.caller() as caller:
            return caller.ask(method, path, body, **headers)

    def predict(self, model: str, row: Any, **headers: str) -> Answer:
        with self.caller() as caller:
            return caller.predict(model, row, **headers)

    def health(self) -> Any:
        """What `/ready` says, once somebody listens."""
        return self.ask("GET", "/ready").json

    @property
    def control(self) -> Answer:
        """What the keeper's `/ready` says."""
        with Caller(self.control_port) as caller:
            return caller.ask("GET", "/ready")

    # ── processes ──

    @property
    def processes(self) -> dict[str, list[int]]:
        """The children of the supervisor by role: gateway, keeper, worker."""
        found: dict[str, list[int]] = {"gateway": [], "keeper": [], "worker": []}
        for pid in children(self.pid):
            words = command_of(pid)
            for name, role in _ROLES.items():
                if any(word.endswith(name) for word in words):
                    found[role].append(pid)
        return found

    @property
    def gateway(self) -> int:
        return until(lambda: self.processes["gateway"])[0]

    @property
    def keeper(self) -> int:
        return until(lambda: self.processes["keeper"])[0]

    def worker(self, model: str) -> int:
        """The process that runs the newest loaded version of `model`."""
        return until(lambda: next((pid for pid in self.processes["worker"] if model_of(pid) == model), 0))

    def everyone(self) -> list[int]:
        return [self.pid, *children(self.pid)]

    def stop(self) -> None:
        """End it gently, which must work."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0, self.said

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self._process.wait(60)

    def kill(self) -> None:
        """End the whole tree with SIGKILL, and return once nothing of it runs."""
        kill(*self.everyone(), *self._left_over())
        self._process.wait()

    def _left_over(self) -> Iterator[int]:
        """Processes that outlived their supervisor."""
        for kind in ("gateway", "keeper"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                pid = int((self.home / "run" / f"{kind}.lock").read_text())
                if any(word.endswith(kind) for word in command_of(pid)):
                    yield pid

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._process.poll() is None:
            self.stop()
        else:
            self.kill()


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_of(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def model_of(worker: int) -> str:
    words = command_of(worker)
    if "--bundle" not in words:
        return ""
    manifest = Path(words[words.index("--bundle") + 1]) / "manifest.json"
    return str(json.loads(manifest.read_bytes())["name"])


def memory_mb(pid: int) -> float:
    """Resident memory that no other process shares with it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def kill(*pids: int) -> None:
    """Send SIGKILL to all, then wait until all are gone."""
    watched = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            watched.append(os.pidfd_open(pid))
    for descriptor in watched:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    for descriptor in watched:
        assert select.select([descriptor], [], [], 10)[0], "a process outlives SIGKILL"
        os.close(descriptor)
