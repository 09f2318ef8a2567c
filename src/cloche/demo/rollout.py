"""What `cloche demo --rollout` does: a better version is brought in on replayed flights, and a broken one goes back."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pandas as pd

from cloche.assembly.stores import open_registry
from cloche.authoring.bridge import wait_for
from cloche.demo.flights import COLUMNS
from cloche.demo.models import boosted, carrier_mean, with_plane_age
from cloche.demo.replay import Replay
from cloche.demo.stage import (
    HEURISTIC,
    MODEL,
    TRAINING_MONTHS,
    TRAINING_ROWS,
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
from cloche.registry.traffic import Rollout

BOOSTED = "2.0.0"
BROKEN = "2.1.0"
LOOK_S = 1.0
CALLS_PER_S = 200

PLAN = (
    "--steps",
    "20%,50%,100%",
    "--hold",
    "3s",
    "--min-requests",
    "100",
    "--max-wait",
    "10m",
    "--latency-margin",
    "49",
)
"""The heuristic answers within 2 ms, and 100 ms are soon enough: the trees may be slower by a factor of 50."""


def roll_out(
    folder: Path,
    once: bool,
    plan: tuple[str, ...] = PLAN,
    rows: int = TRAINING_ROWS,
    calls_per_s: int = CALLS_PER_S,
) -> None:
    """Serve a heuristic, replay the flights from October on, and roll out a good version and a broken one.

    Args:
        folder: is emptied first.
        once: stop the server in the end, and do not wait for Ctrl-C.
        plan: options of `cloche rollout start`.
        rows: how many flights to train on.
        calls_per_s: how many flights to send a second.
    """
    home = fresh_home(folder)
    step = Step()
    flights, known = read(step, rows)
    _publish_good(step, known, home)
    with serve(home) as server:
        say(f"\nReplaying the flights from October on, in the order of their departure, {calls_per_s} a second.")
        with Replay(server, flights[~flights["month"].isin(TRAINING_MONTHS)], calls_per_s) as replay:
            _bring_in(home, BOOSTED, plan)
            _publish_broken(step, known, home)
            _bring_in(home, BROKEN, plan)
            _show_failure(home)
        _summarize(home, replay)
        if not once:
            wait_for_ctrl_c()


def _publish_good(step: Step, known: pd.DataFrame, home: Home) -> None:
    training = known[COLUMNS]
    rows = json.loads(training.head(20).to_json(orient="records"))
    score = "/probabilities/true"
    publish_version(step, carrier_mean(known), HEURISTIC, home, examples=rows, training=training, score=score)
    make_live(HEURISTIC, home)
    step.begin(f"Training boosted trees on {len(known):,} flights of January to September")
    model = boosted(known)
    step.done("done")
    publish_version(step, model, BOOSTED, home, examples=training.head(20), training=training)


def _publish_broken(step: Step, known: pd.DataFrame, home: Home) -> None:
    say("\nThe next version knows how old the plane is. That is worked out from its year, which some flights lack.")
    step.begin("Training it on the flights that have one")
    model = with_plane_age(known)
    step.done("done")
    publish_version(step, model, BROKEN, home, examples=known.dropna()[COLUMNS].head(20))


def _bring_in(home: Home, version: str, plan: tuple[str, ...]) -> None:
    """Roll a version out to its end, and show the page of each step as it was last."""
    _type(home, "rollout", "start", MODEL, "--to", version, *plan)
    ended = _watch(home)
    if ended.reason == "score_shift":
        say("\nScores moved by more than chance. A person looks: trees have other scores than a mean of the carrier.")
        _type(home, "rollout", "resume", MODEL, "-m", "another kind of model has other scores")
        ended = _watch(home)
    if ended.state == "paused":
        raise SystemExit(f"\nThe rollout is paused ({ended.reason}): this machine is too busy to tell. Try again.")


def _type(home: Home, *words: str) -> None:
    say(f"\n$ cloche {shlex.join(words)}\n{run_command(home, *words)}", end="")


def _watch(home: Home) -> Rollout:
    """Print the page of each step as it was seen last, and why it was left; return the rollout where it has ended."""
    before, page = _progress(home), ""
    while before.state in ("preflight", "progressing"):
        time.sleep(LOOK_S)
        seen = run_command(home, "rollout", "status", MODEL)
        now = _progress(home)
        if now == before:
            page = seen
        elif before.state == now.state == "progressing":
            say(f"\n{page}-> {_passed(now)}")
        before = now
    _type(home, "rollout", "status", MODEL)
    return before


def _progress(home: Home) -> Rollout:
    progress = wait_for(open_registry(home).releases.live()).models[MODEL].progress
    assert progress is not None, "a rollout has been started"
    return progress


def _passed(rollout: Rollout) -> str:
    """Say what has brought a rollout into its step: the evidence of the one before."""
    highs = {each["metric"]: each["interval"]["high"] for each in rollout.evidence["metrics"] if each["interval"]}
    calls = rollout.evidence["calls"]["canary"]
    return (
        f"step {rollout.step + 1}: after {calls} calls of {rollout.to} it is certain that it fails at most "
        f"{highs['errors'] * 100:.2f} points more often, with a p95 of at most x{highs['p95']:.1f}"
    )


def _show_failure(home: Home) -> None:
    ofs = ("--model", MODEL, "--version", BROKEN)
    found = json.loads(run_command(home, "log", "query", *ofs, "--failed", "--limit", "1", "--json").splitlines()[0])
    failure = json.loads(run_command(home, "log", "show", found["id"], "--json"))
    why = failure["traceback"].strip().splitlines()[-1]
    say(f"\nOne of its failures: cloche log show {found['id']}")
    say(f"  plane_year {failure['input']['plane_year']}, {failure['answered_by']} answered in its place\n  {why[:100]}")


def _summarize(home: Home, replay: Replay) -> None:
    counts = ", ".join(f"{count:,} by {name}" for name, count in sorted(replay.answers.items()))
    cloche = typed_cloche(home)
    say(f"""
Answered    {replay.sent:,} flights: {counts}
            for {replay.stood_in:,} of them the heuristic stood in, where {BROKEN} failed: no caller got an error

Try next:
  {cloche} rollout history {MODEL}
  {cloche} rollout status {MODEL} --json
  {cloche} log query --model {MODEL} --version {BROKEN} --failed""")
