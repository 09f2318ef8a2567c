"""The rollouts of the demo: a good version is promoted on real flights in the order of time, a broken one goes back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from cloche.assembly.stores import open_registry
from cloche.demo.rollout import BOOSTED, BROKEN, CALLS_PER_S, HEURISTIC, PLAN, TRAINING_ROWS, roll_out
from cloche.demo.stage import MODEL
from cloche.home import Home
from serving import PROVE

QUICK = ("--steps", "50%,100%", "--hold", "1s", "--min-requests", "50", "--max-wait", "2m", "--error-margin", "5%")
TOLERANT = ("--latency-margin", "999")
"""Other tests run on this machine, too."""


def pages(said: str) -> list[dict[str, str]]:
    """Every status page that was shown: the first word of a line -> what stands behind it."""
    found: list[dict[str, str]] = []
    for line in said.splitlines():
        name, _, value = re.sub(r"^(score shift|invalid output|waiting for)", r"\1 ", line).partition("  ")
        if name == "rollout":
            found.append({})
        if found and value:
            found[-1].setdefault(name, value.strip())
    return found


@pytest.mark.timeout(900)
def test_flights_in_the_order_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str], evidence) -> None:
    plan, rows, calls_per_s = (PLAN, TRAINING_ROWS, CALLS_PER_S) if PROVE else (QUICK, 6_000, 100)
    roll_out(tmp_path, once=True, plan=plan + TOLERANT, rows=rows, calls_per_s=calls_per_s)
    said = capsys.readouterr().out
    shown = pages(said)
    good = [page for page in shown if page["rollout"] == f"{MODEL} {BOOSTED}, against {HEURISTIC}"]
    assert good[-1]["state"].startswith("promoted")
    broken = [page for page in shown if page["rollout"] == f"{MODEL} {BROKEN}, against {BOOSTED}"]
    assert broken[-1]["state"].startswith("rolled back: fallback"), said
    assert broken[-1]["fallback"].endswith("worse")
    assert broken[-1]["errors"].startswith("0.00%")
    routing = asyncio.run(open_registry(Home(tmp_path / ".cloche")).releases.live()).models[MODEL]
    assert (routing.default, routing.canary, routing.held and routing.held.by) == (BOOSTED, None, "rollback")
    (sent,) = re.findall(r"^Answered +([\d,]+) flights: (.*)$", said, re.M)
    assert {part.split(" by ")[1] for part in sent[1].split(", ")} == {HEURISTIC, BOOSTED, BROKEN}
    assert "plane_year None, 0.1.0 answered in its place" in said
    harm = " ".join(broken[-1]["fallback"].split())
    evidence(
        "on flights in the order of time the boosted trees take over from the heuristic, and a version with a broken "
        "feature goes back",
        f"{sent[0]} flights",
        f"promoted; rolled back on {broken[-1]['requests'].split('/')[0]} calls: fallback {harm}",
    )
