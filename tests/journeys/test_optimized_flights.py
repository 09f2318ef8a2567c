"""The models of the flights, optimized: the same answers to rows that were really flown, and how much faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

from cloche.authoring.bridge import wait_for
from cloche.authoring.optimizing.finding import Around, Found, Sent, find
from cloche.authoring.optimizing.search import Wanted
from cloche.demo.flights import COLUMNS, NUMBERS, read_flights
from cloche.demo.models import boosted, logistic
from cloche.notebook.opening import open_home
from cloche.runtimes.copies import copy_of
from cloche.runtimes.worker.frames import describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import columns_of
from serving import PROVE, publish

pytest.importorskip("skl2onnx", reason="needs cloche[optimize]")

ROWS = 100_000 if PROVE else 500
SIZES = [1] * 60 + [1024] * 40


def forest(flights: pd.DataFrame) -> Any:
    trees = RandomForestClassifier(n_estimators=100, min_samples_leaf=20, random_state=0)
    return trees.fit(flights[NUMBERS], flights["late"])


def gradient_boosted(flights: pd.DataFrame) -> Any:
    return GradientBoostingClassifier(random_state=0).fit(flights[NUMBERS].fillna(0), flights["late"])


MODELS: dict[str, tuple[Callable[[pd.DataFrame], Any], list[str], float | None]] = {
    "boosted": (boosted, COLUMNS, None),
    "logistic": (logistic, COLUMNS, None),
    "forest": (forest, NUMBERS, None),
    "gradient-boosted": (gradient_boosted, NUMBERS, 0.0),
}
"""Name -> what fits it, the columns that it reads, and what stands for a missing value where it takes none."""


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return read_flights()


def found_for(home: Path, flights: pd.DataFrame, name: str) -> Found:
    fit, columns, missing = MODELS[name]
    early = flights.head(20_000 if PROVE else 2_000)
    flown = flights[columns].sample(ROWS, random_state=1)
    if missing is not None:
        early, flown = early.fillna(dict.fromkeys(columns, missing)), flown.fillna(missing)
    training = early[columns]
    publish(home, fit(early), name, training.head(20), training=training)
    opened = open_home(home)
    digest = wait_for(opened.registry.digest(name, "1.0.0"))
    copy = wait_for(copy_of(opened.registry, name, "1.0.0", digest or ""))
    rows = rows_to_json(flown, columns_of(describe_frame(flown, training)))
    return find((copy, copy), Wanted(rows=ROWS // 10), Sent(rows, SIZES), Around(), home / f"converted-{name}")


@pytest.mark.parametrize("name", MODELS if PROVE else ["boosted"])
@pytest.mark.timeout(1800 if PROVE else 180)
def test_they_agree_on_flights_that_were_flown(
    name: str, flights: pd.DataFrame, tmp_path: Path, evidence: Callable[[str, str, str], None]
) -> None:
    found = found_for(tmp_path / ".cloche", flights, name)
    assert found.faster is not None, [(each.form, each.compared) for each in found.tried] or found.not_converted
    optimized = found.faster.optimized
    asked = optimized.agreement
    assert asked.recorded == ROWS, "every one of them fits the schema"
    times = {line.rows: line.original.median_us / line.converted.median_us for line in optimized.table}
    answered = ", ".join(
        f"{speedup:.3g} times as fast at {rows:,} row{'s' * (rows > 1)} ({line.faster} answers)"
        for (rows, speedup), line in zip(times.items(), optimized.table, strict=True)
    )
    evidence(
        f"an optimized model of the flights ({name}, as {optimized.form}) answers as its original does",
        f"{asked.recorded:,} flights, {asked.drawn:,} drawn rows",
        f"labels equal, numbers {asked.worst:.1g} apart at most; {answered}",
    )
    if PROVE:
        assert times[1] >= 20
