"""`cloche rollout`: what a person does, and what is shown."""

from __future__ import annotations

import asyncio
import json
import time

import msgspec
import pytest
from shell import fill_log, put_version

from cloche.assembly.stores import open_registry
from cloche.insight.rollout import begin
from cloche.registry.release import Reason
from cloche.registry.rollout import carry, change
from cloche.testing import make_record
from cloche.values import Timings


@pytest.fixture
def delays(home):
    """`delays` 1.0.0 is live, 1.1.0 and 2.0.0 are published."""
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        put_version(home, "delays", version)
    return home


def routing_of(home):
    return asyncio.run(open_registry(home).releases.live()).models["delays"]


def begin_step(home):
    """End the preflight, as the keeper does."""

    def turn(routing, _):
        return carry(routing, begin(routing.progress, time.time_ns() // 1000 - 60_000_000, {}))

    asyncio.run(change(open_registry(home), "delays", turn, Reason("keeper")))


def test_start_writes_what_was_said(run, delays):
    options = ("--steps", "5%, 0.5,100%", "--hold", "90s", "--min-requests", 40, "--max-wait", "2h")
    margins = ("--error-margin", "1%", "--latency-margin", "0.5", "--no-harm-found")
    done = run("rollout", "start", "delays", "--to", "2.*", *options, *margins, "-m", "it is better")
    assert done.exit_code == 0, done.output
    assert "Release 2: a rollout of delays from 1.0.0 to 2.0.0: 5%, 50%, 100%." in done.output
    assert "No server of this home is running" in done.stderr
    routing = routing_of(delays)
    assert (routing.default, routing.canary, set(routing.active)) == ("1.0.0", None, {"1.0.0", "2.0.0"})
    progress = routing.progress
    assert (progress.to, progress.stable, progress.state, progress.step) == ("2.0.0", "1.0.0", "preflight", -1)
    assert msgspec.structs.astuple(progress.plan) == ((0.05, 0.5, 1.0), 90_000, 40, 7_200_000, True, 0.01, 0.5)
    release = asyncio.run(open_registry(delays).releases.read(2))
    assert release.message == "it is better"
    assert release.command == "cloche rollout start delays --to '2.*'"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "3.0.0"), "delays has no version 3.0.0"),
        (("--to", "1.0.0"), "1.0.0 is the default already"),
        (("--to", "2.0.0", "--steps", "50%,5%,100%"), "its steps must rise from above 0% to 100%"),
        (("--to", "2.0.0", "--steps", "half"), "'half' is no share"),
        (("--to", "2.0.0", "--hold", "10"), "'10' is not a duration"),
        (("--to", "2.0.0", "--hold", "2h", "--max-wait", "1h"), "nor longer than max_wait"),
        (("--to", "2.0.0", "--min-requests", "0"), "0 is not in the range"),
        ((), "Missing option '--to'"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(run, delays, options, said):
    done = run("rollout", "start", "delays", *options)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert routing_of(delays).progress is None


def test_a_version_that_takes_less_needs_a_word(run, delays):
    schema = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    put_version(delays, "delays", "3.0.0", input_schema=schema)
    refused = run("rollout", "start", "delays", "--to", "3.0.0")
    assert refused.exit_code == 1
    assert "delays 3.0.0 does not take all that 1.0.0 takes:" in refused.stderr
    assert "/x is required now" in refused.stderr
    assert run("rollout", "start", "delays", "--to", "3.0.0", "--accept-incompatible").exit_code == 0


def test_one_rollout_at_a_time(run, delays):
    assert run("rollout", "start", "delays", "--to", "2.0.0").exit_code == 0
    again = run("rollout", "start", "delays", "--to", "1.1.0")
    assert again.exit_code == 1
    assert "A rollout of delays to 2.0.0 is under way." in again.stderr


def test_pause_and_resume(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0")
    assert "is paused." in run("rollout", "pause", "delays", "-m", "lunch").output
    assert "is paused already." in run("rollout", "pause", "delays").output
    assert routing_of(delays).canary is None
    assert "is preflight." in run("rollout", "resume", "delays").output
    begin_step(delays)
    run("rollout", "pause", "delays")
    paused = routing_of(delays)
    assert (paused.progress.state, paused.progress.reason, paused.canary.share) == ("paused", "manual", 0.01)
    document = json.loads(run("rollout", "resume", "delays", "--json").stdout)
    assert (document["rollout"]["state"], document["rollout"]["step"]) == ("progressing", 0)
    assert routing_of(delays).progress.accepted == []
    assert routing_of(delays).canary == paused.canary


def test_promote(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0")
    begin_step(delays)
    assert "is promoted." in run("rollout", "promote", "delays").output
    routing = routing_of(delays)
    assert (routing.default, routing.canary) == ("2.0.0", None)
    assert "1.0.0" in routing.active


def test_abort_holds_the_model_also_where_somebody_begins_again(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0")
    begin_step(delays)
    done = run("rollout", "abort", "delays")
    assert "is rolled back." in done.output
    assert "cloche release pull" in done.output
    routing = routing_of(delays)
    assert (routing.default, routing.canary, routing.held.by) == ("1.0.0", None, "abort")
    assert run("rollout", "start", "delays", "--to", "2.0.0").exit_code == 0
    assert routing_of(delays).held == routing.held


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort"])
def test_without_a_rollout_there_is_nothing_to_decide(run, delays, verb):
    done = run("rollout", verb, "delays")
    assert done.exit_code == 1
    assert "No rollout of delays is under way. Start one: cloche rollout start delays --to VERSION" in done.stderr
    assert "what is live" in run("rollout", verb, "nothing").stderr


def serve_calls(home):
    """Leave 60 calls of the canary and 90 of the default in the log; some of the canary's failed."""
    arms = [("2.0.0", "canary")] * 60 + [("1.0.0", "stable")] * 90
    began_us = time.time_ns() // 1000 - 30_000_000
    fill_log(
        home,
        [
            make_record(
                number,
                model="delays",
                version=version,
                variant=variant,
                time_us=began_us + number * 1_000,
                outcome="model_failed" if variant == "canary" and number % 20 == 0 else "ok",
                timings=Timings(predict_us=20_000 if variant == "canary" else 10_000),
            )
            for number, (version, variant) in enumerate(arms)
        ],
    )


def test_status_shows_both_arms(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0", "--min-requests", 100)
    assert "preflight" in run("rollout", "status", "delays").output
    begin_step(delays)
    serve_calls(delays)
    lines = run("rollout", "status", "delays").output.splitlines()
    page = "\n".join(lines)
    assert "delays 2.0.0, against 1.0.0" in page
    assert "1 of 5, 1% of the calls" in page
    assert "60/100, and 90 of the default" in page
    assert "60 of 100 calls of the canary" in page
    (errors,) = (line.split() for line in lines if line.startswith("errors"))
    assert errors[1:4] == ["5.00%", "0.00%", "+5.00"]
    assert errors[-1] == "unclear"
    (p95,) = (line for line in lines if line.startswith("p95"))
    assert p95.split()[1:6] == ["20.0", "ms", "10.1", "ms", "x1.99"] or "x2.0" in p95


def test_status_for_programs(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0")
    begin_step(delays)
    serve_calls(delays)
    document = json.loads(run("rollout", "status", "delays", "--json").stdout)
    assert (document["model"], document["share"], document["release"]) == ("delays", 0.01, 3)
    assert document["evidence"]["calls"] == {"canary": 60, "stable": 90}
    assert [each["metric"] for each in document["evidence"]["metrics"]] == [
        *("errors", "timeouts", "invalid_output", "fallback", "p95", "score_shift")
    ]
    assert "60 of 300 calls of the canary" in document["waiting_for"]


def test_the_last_step_says_what_keeps_it_from_the_promotion(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0", "--steps", "100%", "--min-requests", 60)
    begin_step(delays)
    serve_calls(delays)
    document = json.loads(run("rollout", "status", "delays", "--json").stdout)
    assert "fewer errors" in document["waiting_for"]


def test_a_pause_shows_what_it_was_made_on(run, delays):
    run("rollout", "start", "delays", "--to", "2.0.0")
    begin_step(delays)
    shifted = {"metrics": [{"metric": "score_shift", "verdict": "shifted", "estimate": 1.25}]}

    def turn(routing, _):
        now_us = time.time_ns() // 1000
        found = {"state": "paused", "reason": "score_shift", "step_us": now_us, "evidence": shifted}
        return carry(routing, msgspec.structs.replace(routing.progress, **found))

    asyncio.run(change(open_registry(delays), "delays", turn, Reason("keeper")))
    page = run("rollout", "status", "delays").output
    assert "paused: score_shift" in page
    assert "PSI 1.25" in page
    run("rollout", "resume", "delays")
    assert "PSI 1.25" not in run("rollout", "status", "delays").output


def test_watching_ends_with_the_rollout(run, delays):
    assert run("rollout", "status", "delays").exit_code == 1
    run("rollout", "start", "delays", "--to", "2.0.0")
    run("rollout", "promote", "delays")
    assert run("rollout", "status", "delays", "--watch").exit_code == 0
    run("rollout", "start", "delays", "--to", "1.1.0")
    run("rollout", "abort", "delays")
    done = run("rollout", "status", "delays", "--watch")
    assert done.exit_code == 1
    assert "rolled back: manual" in done.output
