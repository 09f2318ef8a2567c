"""What `cloche demo` does, from the flights to a server that answers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from sklearn.metrics import roc_auc_score

from cloche.assembly import open_registry
from cloche.authoring.bridge import wait_for
from cloche.demo.flights import COLUMNS, read_flights
from cloche.demo.models import boosted, carrier_mean, logistic
from cloche.home import Home
from cloche.notebook import publish
from cloche.processes.boot import ServerFile
from cloche.registry.release import Reason
from cloche.registry.routing import Wanted, make_default
from cloche.registry.traffic import Constant, Fallback

MODEL = "flight-delay"
TRAINING_MONTHS = range(1, 10)
LATER_MONTH = 11
TRAINING_ROWS = 60_000
CALLS = 400
PREFERRED_PORT = 8000
START_S = 60.0


class Step:
    """Says what is being done, and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def begin(self, what: str) -> None:
        """Say what comes now."""
        self._began = time.monotonic()
        _say(f"{what} … ", end="")

    def done(self, result: str) -> None:
        """Say what came of it."""
        _say(f"{result} ({time.monotonic() - self._began:.1f} s)")


def run(folder: Path, once: bool) -> None:
    """Publish three models into a new home in `folder`, serve them, and send them real flights.

    Args:
        folder: is emptied first.
        once: stop the server after the calls, and do not wait for Ctrl-C.
    """
    shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder.resolve() / ".cloche")
    step = Step()
    step.begin("Reading the flights that left New York in 2013")
    flights = read_flights()
    known = flights[flights["month"].isin(TRAINING_MONTHS)].sample(TRAINING_ROWS, random_state=0)
    later = flights[flights["month"] == LATER_MONTH].sample(CALLS, random_state=1)
    step.done(f"{len(flights):,} flights, {flights['late'].mean():.0%} of them late")
    _publish_all(step, known, later, home)
    with _server(home) as server:
        step.begin(f"Sending {CALLS} flights of November, one after the other")
        latencies, shares = _send(server, later)
        step.done(f"AUC {roc_auc_score(later['late'], shares):.2f} on them")
        _summarize(folder, server, latencies, _example(later))
        if not once:
            _say("\nThe server stays up until Ctrl-C.")
            _wait()
            _say("\nStopping: what is in flight is answered and kept.")


def _publish_all(step: Step, known: pd.DataFrame, later: pd.DataFrame, home: Home) -> None:
    training = known[COLUMNS]
    rows: list[dict[str, Any]] = json.loads(training.head(20).to_json(orient="records"))
    step.begin("Writing a heuristic: the carrier's mean")
    heuristic = carrier_mean(known)
    step.done("done")
    _publish(step, heuristic, "0.1.0", home, examples=rows, description="How often the carrier was late.")
    for version, fit, what in (("1.0.0", logistic, "a logistic regression"), ("2.0.0", boosted, "boosted trees")):
        step.begin(f"Training {what} on {len(known):,} flights of January to September")
        model = fit(known)
        share = model.predict_proba(later[COLUMNS])[:, 1]
        step.done(f"AUC {roc_auc_score(later['late'], share):.2f} on later flights")
        _publish(step, model, version, home, examples=training.head(20), training=training, description=what)
        _make_default(version, home)


def _publish(step: Step, model: Any, version: str, home: Home, **options: Any) -> None:
    step.begin(f"Publishing {MODEL} {version} and checking it in a fresh process")
    published = publish(model, name=MODEL, version=version, home=home.path, quiet=True, **options)
    step.done(published.digest[:19] + "…")


def _make_default(version: str, home: Home) -> None:
    """Do what `cloche models default` does; in the end the heuristic stands in, and then a constant."""
    last = Constant({"label": False, "probabilities": {"false": 0.78, "true": 0.22}})
    wanted = Wanted(fallback=Fallback(chain=["0.1.0", last]))
    reason = Reason(author="demo", message=f"try {version}", command="cloche demo")
    wait_for(make_default(open_registry(home), MODEL, version, reason, wanted))


@contextmanager
def _server(home: Home) -> Iterator[ServerFile]:
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
        return server is not None and server.pid == pid and _get(server, "/ready").status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def _get(server: ServerFile, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    connection.request("GET", path)
    return connection.getresponse()


def _send(server: ServerFile, later: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Send each flight as a call of its own; return the seconds each took, and the answered probability of late."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    latencies, shares = [], []
    for number, row in enumerate(json.loads(later[COLUMNS].to_json(orient="records"))):
        body = json.dumps({"input": row, "subject": f"flight-{number}"})
        began = time.perf_counter()
        connection.request("POST", f"/models/{MODEL}/predict", body)
        answer = json.loads(connection.getresponse().read())
        latencies.append(time.perf_counter() - began)
        shares.append(answer["output"]["probabilities"]["true"])
    connection.close()
    return latencies, shares


def _example(later: pd.DataFrame) -> str:
    (row,) = json.loads(later[COLUMNS].head(1).to_json(orient="records"))
    return json.dumps({"input": row})


def _summarize(folder: Path, server: ServerFile, latencies: list[float], example: str) -> None:
    ordered = sorted(latencies)
    p50, p95 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.95))
    command = [sys.executable, "-m", "cloche", "--home", str(folder / ".cloche"), "log", "verify", "--json"]
    kept = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["records"]
    cloche = f"{_command()} --home {folder / '.cloche'}"
    _say(f"""
Published   {MODEL} 0.1.0 (the carrier's mean), 1.0.0 (logistic regression), 2.0.0 (boosted trees: the default)
Served at   {server.url}       every field and a form to try: {server.url}/docs
Latency     p50 {p50:.1f} ms, p95 {p95:.1f} ms over {len(latencies)} calls, log on disk before each answer
Log         {kept} inferences

Ask it yourself:
  curl {server.url}/models/{MODEL}/predict -d '{example}'

Try next:
  {cloche} log query --model {MODEL} --limit 5
  {cloche} models default {MODEL} 1.0.0
  {cloche} log export --out all.jsonl""")


def _command() -> str:
    """Return `cloche` as it can be typed here."""
    if shutil.which("cloche"):
        return "cloche"
    script = Path(sys.executable).with_name("cloche")
    return os.path.relpath(script) if script.exists() else f"{sys.executable} -m cloche"


def _wait() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
