"""What `cloche demo` does, from the flights to a server that answers."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from sklearn.metrics import roc_auc_score

from cloche.demo.flights import COLUMNS
from cloche.demo.models import boosted, carrier_mean, logistic
from cloche.demo.stage import (
    HEURISTIC,
    MODEL,
    Step,
    fresh_home,
    make_live,
    publish_version,
    read,
    run_command,
    say,
    serve,
    typed_cloche,
    wait_for_ctrl_c,
)
from cloche.home import Home
from cloche.processes.boot import ServerFile

LATER_MONTH = 11
CALLS = 400


def run(folder: Path, once: bool) -> None:
    """Publish three models into a new home in `folder`, serve them, and send them real flights.

    Args:
        folder: is emptied first.
        once: stop the server after the calls, and do not wait for Ctrl-C.
    """
    home = fresh_home(folder)
    step = Step()
    flights, known = read(step)
    later = flights[flights["month"] == LATER_MONTH].sample(CALLS, random_state=1)
    _publish_all(step, known, later, home)
    with serve(home) as server:
        step.begin(f"Sending {CALLS} flights of November, one after the other")
        latencies, shares = _send(server, later)
        step.done(f"AUC {roc_auc_score(later['late'], shares):.2f} on them")
        _summarize(home, server, latencies, _example(later))
        if not once:
            wait_for_ctrl_c()


def _publish_all(step: Step, known: pd.DataFrame, later: pd.DataFrame, home: Home) -> None:
    training = known[COLUMNS]
    rows: list[dict[str, Any]] = json.loads(training.head(20).to_json(orient="records"))
    step.begin("Writing a heuristic: the carrier's mean")
    heuristic = carrier_mean(known)
    step.done("done")
    publish_version(step, heuristic, HEURISTIC, home, examples=rows, description="How often the carrier was late.")
    for version, fit, what in (("1.0.0", logistic, "a logistic regression"), ("2.0.0", boosted, "boosted trees")):
        step.begin(f"Training {what} on {len(known):,} flights of January to September")
        model = fit(known)
        share = model.predict_proba(later[COLUMNS])[:, 1]
        step.done(f"AUC {roc_auc_score(later['late'], share):.2f} on later flights")
        publish_version(step, model, version, home, examples=training.head(20), training=training, description=what)
        make_live(version, home)


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


def _summarize(home: Home, server: ServerFile, latencies: list[float], example: str) -> None:
    ordered = sorted(latencies)
    p50, p95 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.95))
    kept = json.loads(run_command(home, "log", "verify", "--json"))["records"]
    cloche = typed_cloche(home)
    say(f"""
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
