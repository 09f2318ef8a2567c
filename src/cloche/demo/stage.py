"""What every tour stands on: models that are published, a server beside it, and a line for each thing it does."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from cloche.assembly.stores import open_registry
from cloche.authoring.bridge import wait_for
from cloche.demo.flights import read_flights
from cloche.home import Home
from cloche.notebook.publishing import publish
from cloche.processes.boot import ServerFile
from cloche.registry.release import Reason
from cloche.registry.routing import Wanted, make_default
from cloche.registry.traffic import Constant, Fallback

MODEL = "flight-delay"
HEURISTIC = "0.1.0"
TRAINING_MONTHS = range(1, 10)
TRAINING_ROWS = 60_000
PREFERRED_PORT = 8000
START_S = 60.0


class Step:
    """Says what is being done, and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def begin(self, what: str) -> None:
        """Say what comes now."""
        self._began = time.monotonic()
        say(f"{what} … ", end="")

    def done(self, result: str) -> None:
        """Say what came of it."""
        say(f"{result} ({time.monotonic() - self._began:.1f} s)")


def fresh_home(folder: Path) -> Home:
    """Empty a folder, and return the home in it, whose registry is in it too, whatever a team has set."""
    os.environ.pop("CLOCHE_REGISTRY", None)
    shutil.rmtree(folder, ignore_errors=True)
    return Home(folder.resolve() / ".cloche")


def read(step: Step, rows: int = TRAINING_ROWS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all flights, and `rows` of January to September, which are trained on."""
    step.begin("Reading the flights that left New York in 2013")
    flights = read_flights()
    known = flights[flights["month"].isin(TRAINING_MONTHS)].sample(rows, random_state=0)
    step.done(f"{len(flights):,} flights, {flights['late'].mean():.0%} of them late")
    return flights, known


def publish_version(step: Step, model: Any, version: str, home: Home, **options: Any) -> None:
    """Publish a version of the flights' model; `options` are those of `cloche.publish`."""
    step.begin(f"Publishing {MODEL} {version} and checking it in a fresh process")
    published = publish(model, name=MODEL, version=version, home=home.path, quiet=True, **options)
    step.done(published.digest[:19] + "…")


def make_live(version: str, home: Home) -> None:
    """Do what `cloche models default` does; in the end the heuristic stands in, and then a constant."""
    last = Constant({"label": False, "probabilities": {"false": 0.78, "true": 0.22}})
    wanted = Wanted(fallback=Fallback(chain=[HEURISTIC, last]))
    reason = Reason(author="demo", message=f"try {version}", command="cloche demo")
    wait_for(make_default(open_registry(home), MODEL, version, reason, wanted))


@contextmanager
def serve(home: Home) -> Iterator[ServerFile]:
    """Run `cloche serve` beside this process, and end it gently."""
    process = _start(home, PREFERRED_PORT) or _start(home, 0)
    server = ServerFile.read(home)
    if process is None or server is None:
        raise SystemExit(f"The server did not start. It wrote {_server_log(home)}")
    try:
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _start(home: Home, port: int) -> subprocess.Popen[bytes] | None:
    """Return a server that is ready, or None where it ended at once (its port was taken)."""
    command = [sys.executable, "-m", "cloche", "--home", str(home.path), "serve", "--port", str(port)]
    command += ["--control-port", "0" if port == 0 else "8002"]
    with _server_log(home).open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    until = time.monotonic() + START_S
    while process.poll() is None:
        if _is_ready(home, process.pid):
            return process
        if time.monotonic() > until:
            process.kill()
            raise SystemExit(f"The server was not ready within {START_S:.0f} s. It wrote {_server_log(home)}")
        time.sleep(0.05)
    return None


def _server_log(home: Home) -> Path:
    return home.path.parent / "server.log"


def _is_ready(home: Home, pid: int) -> bool:
    server = ServerFile.read(home)
    try:
        return server is not None and server.pid == pid and _answers(server)
    except (OSError, http.client.HTTPException):
        return False


def _answers(server: ServerFile) -> bool:
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)) as connection:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK


def run_command(home: Home, *words: str) -> str:
    """Run a command of Cloche on the home, and return what it printed."""
    line = [sys.executable, "-m", "cloche", "--home", str(home.path), *words]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def typed_cloche(home: Home) -> str:
    """Return the beginning of a command on the home, as it can be typed here."""
    path = home.path.relative_to(Path.cwd()) if home.path.is_relative_to(Path.cwd()) else home.path
    return f"{_script()} --home {path}"


def _script() -> str:
    if shutil.which("cloche"):
        return "cloche"
    script = Path(sys.executable).with_name("cloche")
    return os.path.relpath(script) if script.exists() else f"{sys.executable} -m cloche"


def wait_for_ctrl_c() -> None:
    """Leave the server up until somebody has seen enough."""
    say("\nThe server stays up until Ctrl-C.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("\nStopping: what is in flight is answered and kept.")


def say(text: str, end: str = "\n") -> None:
    """Write a line at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()
