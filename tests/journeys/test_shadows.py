"""Shadows on a real server: nobody who is answered notices them, and what they answer is compared."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import troubled
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.stats import kendalltau
from sklearn.linear_model import LogisticRegression

import shop
from serving import PROVE, Caller, Server, cli, publish, until

ROW = {"width": 2.0, "height": 3.0}
NARROW = {"width": 1.0, "height": 3.0}
TROUBLES = ("hang", "crash", "dawdle")
ROUNDS = 20 if PROVE else 2
ROUND_S = 1.5 if PROVE else 0.5
CONNECTIONS = 2
CALLS_PER_S = 150
"""On each connection."""

WITHIN = 1.25


def shadow(home: Path, *models: str, share: str = "100%") -> None:
    """Make version 2.0.0 of each model the shadow of 1.0.0."""
    wanted = "".join(
        f'[models.{model}]\ndefault = "1.0.0"\nshadow = {{ version = "2.0.0", share = "{share}" }}\n'
        for model in models
    )
    (home.parent / "models.toml").write_text(wanted)
    cli(home, "apply", str(home.parent / "models.toml"))


def shown(home: Path, model: str) -> Any:
    return json.loads(cli(home, "shadow", "show", model, "--json"))


def metric(server: Server, name: str, model: str) -> dict[str, float]:
    """A metric of a model, by its last label."""
    lines = server.ask("GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith(f"{name}_total{{") and f'model="{model}"' in line]
    return {line.split("{")[1].split('"')[-4 if "version" in line else -2]: float(line.split()[-1]) for line in found}


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `plain`, and of models that answer just so, with a troubled shadow each."""
    home = tmp_path_factory.mktemp("troubles") / ".cloche"
    for model in ("plain", *TROUBLES):
        publish(home, shop.area, model, [NARROW])
        if model != "plain":
            publish(home, getattr(troubled, model), model, [NARROW], version="2.0.0", hang_after_ms=2000)
    shadow(home, *TROUBLES)
    with Server(home) as running:
        yield running


@pytest.mark.parametrize("trouble", TROUBLES)
def test_live_calls_never_fail_and_drops_are_counted(troubles: Server, trouble: str) -> None:
    with troubles.caller() as caller:
        answers = [caller.predict(trouble, ROW) for _ in range(300)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["output"] for answer in answers} == {6.0}
    assert {answer.json["version"] for answer in answers} == {"1.0.0"}
    home = troubles.home
    found = until(lambda: counted(home, trouble, 300))
    outcomes, dropped = found["counts"][0]["outcomes"], found["counts"][0]["dropped"]
    expected = {"hang": "deadline_exceeded", "crash": "worker_crashed", "dawdle": "ok"}[trouble]
    assert expected in outcomes
    assert sum(dropped.values()) >= 250
    notes = " ".join(found["notes"])
    assert all(f"({reason})" in notes for reason in dropped)
    (comparison,) = found["comparisons"]
    assert comparison["calls"] == found["counts"][0]["asked"]
    page = cli(home, "shadow", "show", trouble)
    assert "was not asked" in page


def counted(home: Path, model: str, calls: int) -> Any:
    """What is shown once every call is either asked and in the log, or dropped."""
    found = shown(home, model)
    if not found["counts"] or not found["comparisons"]:
        return None
    counts = found["counts"][0]
    drawn = counts["asked"] + sum(counts["dropped"].values())
    is_done = drawn == calls and sum(counts["outcomes"].values()) == counts["asked"]
    return found if is_done and found["comparisons"][0]["calls"] == counts["asked"] else None


class Round(threading.Thread):
    """Calls at their time on one connection, whether the one before was late or not."""

    def __init__(self, port: int, model: str, delay_s: float) -> None:
        super().__init__()
        self.took_s: list[float] = []
        self.failed = 0
        self._port, self._model, self._delay_s = port, model, delay_s

    def run(self) -> None:
        with Caller(self._port) as caller:
            begin = time.monotonic() + self._delay_s
            for number in range(int(ROUND_S * CALLS_PER_S)):
                due = begin + number / CALLS_PER_S
                time.sleep(max(0.0, due - time.monotonic()))
                answer = caller.predict(self._model, ROW)
                self.took_s.append(time.monotonic() - due)
                self.failed += answer.status != 200 or answer.json["output"] != 6.0


def round_of(server: Server, model: str) -> tuple[float, int]:
    """Return the p99 of a round in seconds, and how many calls failed."""
    threads = [Round(server.port, model, index / CONNECTIONS / CALLS_PER_S) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = sorted(each for thread in threads for each in thread.took_s)
    return took_s[len(took_s) * 99 // 100], sum(thread.failed for thread in threads)


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_live_calls_are_as_fast_as_without(troubles: Server, evidence) -> None:
    ratios: dict[str, list[float]] = {trouble: [] for trouble in TROUBLES}
    plain_ms = []
    failed = 0
    for _ in range(ROUNDS):
        plain_s, errors = round_of(troubles, "plain")
        plain_ms.append(1000 * plain_s)
        failed += errors
        for trouble in TROUBLES:
            p99_s, errors = round_of(troubles, trouble)
            failed += errors
            ratios[trouble].append(p99_s / plain_s)
    assert failed == 0
    medians = {trouble: statistics.median(found) for trouble, found in ratios.items()}
    dropped = {trouble: sum(metric(troubles, "cloche_shadow_dropped", trouble).values()) for trouble in TROUBLES}
    assert all(dropped.values())
    if PROVE:
        assert max(medians.values()) <= WITHIN, medians
    calls = ROUNDS * (1 + len(TROUBLES)) * CONNECTIONS * int(ROUND_S * CALLS_PER_S)
    evidence(
        "a shadow that hangs, crashes or is slow: no live call fails, the live p99 is within 1.25 of that without",
        f"{ROUNDS} interleaved rounds, {calls:,} calls",
        "0 failed; p99 without "
        f"{statistics.median(plain_ms):.1f} ms, with one that is to "
        + ", ".join(f"{trouble}: x{ratio:.2f} ({dropped[trouble]:.0f} dropped)" for trouble, ratio in medians.items()),
    )


# ── comparing real models ──

NAMES = ["distance", "hour", "wind"]
QUIET: dict[str, Any] = {"n_jobs": 1, "verbose": -1}
random = np.random.default_rng(5)


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(random.random((rows, len(NAMES))), columns=NAMES)


def late(rows: pd.DataFrame) -> pd.Series:
    return (rows["distance"] + rows["wind"] ** 2 > 0.9).map({True: "late", False: "early"})


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a classifier and of a ranking; the simpler version is live, and the better one its shadow."""
    home = tmp_path_factory.mktemp("compared") / ".cloche"
    seen = frame(400)
    minutes = 30 * seen["distance"] + 20 * seen["wind"] ** 2
    for version, classifier, regressor in (
        ("1.0.0", LogisticRegression(), LGBMRegressor(n_estimators=5, **QUIET)),
        ("2.0.0", LGBMClassifier(n_estimators=20, **QUIET), LGBMRegressor(n_estimators=20, **QUIET)),
    ):
        publish(home, classifier.fit(seen, late(seen)), "delay", seen.head(5), version=version)
        calls = [{"hour": 0.5, "items": items(5)} for _ in range(3)]
        named = {"each": "/items", "item_id": "flight"}
        publish(home, regressor.fit(seen, minutes), "next", calls, version=version, **named)
    shadow(home, "delay", "next")
    with Server(home) as running:
        yield running


def items(count: int) -> list[dict[str, object]]:
    rows = frame(count)[["distance", "wind"]].to_dict("records")
    return [{"flight": f"UA{number}", **row} for number, row in enumerate(rows)]


def pairs(home: Path, model: str) -> list[tuple[Any, Any]]:
    """Live calls and their shadows, as the log has them."""
    records = [
        json.loads(line)
        for line in cli(home, "log", "export", "--shadowed", "--model", model, "--out", "-").splitlines()
    ]
    live = {record["id"]: record for record in records if record["kind"] == "live"}
    return [(live[record["shadows"]], record) for record in records if record["kind"] == "shadow"]


def test_a_classifier_beside_another(compared: Server) -> None:
    with compared.caller() as caller:
        for row in frame(60).to_dict("records"):
            assert caller.predict("delay", row).json["version"] == "1.0.0"
    (found,) = until(lambda: counted(compared.home, "delay", 60))["comparisons"]
    answers = [(one["output"], other["output"]) for one, other in pairs(compared.home, "delay")]
    assert found["compared"] == len(answers) > 0
    same = [one["label"] == other["label"] for one, other in answers]
    assert found["same_label"] == pytest.approx(statistics.mean(same))
    differences = [other["probabilities"]["late"] - one["probabilities"]["late"] for one, other in answers]
    score = found["score"]
    assert score["mean"] == pytest.approx(statistics.mean(differences))
    assert score["largest"] == pytest.approx(max(map(abs, differences)))
    assert sum(each["rows"] for each in score["histogram"]) == len(answers)
    assert found["live_latency"]["p50_ms"] > 0
    example = found["furthest"][0]
    records = [json.loads(cli(compared.home, "log", "show", example[side], "--json")) for side in ("live", "shadow")]
    assert [record["kind"] for record in records] == ["live", "shadow"]
    assert records[1]["shadows"] == example["live"]
    assert records[0]["input"] == records[1]["input"]


def test_a_ranking_beside_another(compared: Server) -> None:
    with compared.caller() as caller:
        for _ in range(20):
            answer = caller.predict("next", {"hour": 0.5, "items": items(12)})
            assert answer.status == 200, answer.body
    (found,) = until(lambda: counted(compared.home, "next", 20))["comparisons"]
    scores = [
        [{item["flight"]: item["score"] for item in record["output"]} for record in pair]
        for pair in pairs(compared.home, "next")
    ]
    taus = [kendalltau([one[name] for name in one], [other[name] for name in one]).statistic for one, other in scores]
    ranking = found["ranking"]
    assert ranking["calls"] == len(taus) > 0
    assert ranking["tau"] == pytest.approx(statistics.mean(taus))
    assert ranking["worst_tau"] <= ranking["tau"]
    both = [len({*list(one)[:5]} & {*list(other)[:5]}) / 5 for one, other in scores]
    assert ranking["overlaps"].keys() == {"1", "5", "10"}
    assert ranking["overlaps"]["5"] == pytest.approx(statistics.mean(both))
    assert "Kendall's tau-b" in cli(compared.home, "shadow", "show", "next")


def test_the_keeper_says_the_same_as_the_command(compared: Server) -> None:
    with Caller(compared.control_port) as caller:
        answer = caller.ask("GET", "/models/delay/shadow")
    assert answer.status == 200, answer.body
    assert answer.json["shadows"] == shown(compared.home, "delay")["shadows"]
    assert answer.json["model"] == "delay"
