"""An auditor asks for the answers of three weeks ago, and an engineer what another version would have said."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow.parquet as pq
import pytest

import cloche
from cloche.assembly.loader import open_loader
from cloche.demo.flights import COLUMNS, NUMBERS, read_flights
from cloche.demo.models import boosted, carrier_mean
from cloche.hindsight.loading import NICENESS
from cloche.hindsight.recorded import read
from cloche.hindsight.reproduce import reproduce
from cloche.log.columns import pack_text
from cloche.settings import Settings
from cloche.values import Record
from past import Past, changed
from serving import PROVE, children, model_of, run

xgboost = pytest.importorskip("xgboost")

ASKED = 1_000 if PROVE else 45
TRAINED = 20_000 if PROVE else 2_000
VERSIONS = ("0.1.0", "1.0.0", "2.0.0")


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return read_flights()


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, flights: pd.DataFrame) -> Iterator[Past]:
    """Three releases of one model, a third of the flights each: a heuristic, boosted trees, and others."""
    past = Past(tmp_path_factory.mktemp("flights"))
    known = flights.head(TRAINED)
    trees = xgboost.XGBClassifier(n_estimators=20, max_depth=4, n_jobs=1).fit(known[NUMBERS], known["late"])
    last = boosted(known) if PROVE else carrier_mean(flights)
    shares = [flights.iloc[TRAINED + first : TRAINED + ASKED : 3] for first in range(3)]
    models: list[tuple[Any, list[str]]] = [(carrier_mean(known), COLUMNS), (trees, NUMBERS), (last, COLUMNS)]
    for version, (model, columns), share in zip(VERSIONS, models, shares, strict=True):
        examples = known[columns].head(200)  # with all that may be missing
        more = {} if callable(model) else {"training": known[columns]}
        past.publish(model, "late", rows(examples) if callable(model) else examples, version, **more)
        for row in rows(share[columns]):
            past.ask("late", row, subject=row.get("carrier"))
    past.keep()
    yield past
    past.close()


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records"))


def of_version(past: Past, version: str) -> list[Record]:
    return [record for record in past.records if record.version == version]


@pytest.mark.timeout(900)
def test_every_answer_of_three_releases_comes_out_the_same(past: Past, evidence) -> None:
    assert len(past.records) == ASKED
    assert {record.outcome for record in past.records} == {"ok"}
    assert {record.version for record in past.records} == set(VERSIONS)
    assert len({record.release for record in past.records}) == len(VERSIONS)
    began = time.monotonic()
    found = past.reproduce(*past.records, home=past.home)
    took_s = time.monotonic() - began
    assert [each for each in found if each.verdict != "same"] == []
    evidence(
        "recorded answers come out the same when the version that gave them is asked again",
        f"{ASKED:,} flights of {len(VERSIONS)} releases",
        f"{len(found):,} the same, to the last bit of every number; {took_s:.1f} s with three cold starts",
    )


def test_the_command_tells_same_from_different_from_impossible(past: Past) -> None:
    (row,) = json.loads(read(of_version(past, "2.0.0")[0]).payload)
    same, other, less = (past.ask("late", row) for _ in range(3))
    answer = b'[{"label":true,"probabilities":{"false":0.0,"true":1.0}}]'
    past.keep(
        changed(other, output=pack_text(answer)),
        changed(less, redacted=("/input/carrier",), input=pack_text(b'[{"carrier":"[redacted]"}]')),
    )
    ids = [str(UUID(bytes=record.id)) for record in (same, other, less)]
    done = run(past.home.path, "log", "reproduce", *ids, "--json")
    assert done.returncode == 3, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["verdict"] for each in found] == ["same", "different", "impossible"]
    assert "/output/probabilities/true" in [place["pointer"] for place in found[1]["places"]]
    assert found[2]["why"] == "redacted"
    page = run(past.home.path, "log", "reproduce", ids[1])
    assert page.returncode == 1
    assert "verdict    different" in page.stdout


def test_what_another_version_would_have_said_is_a_page_and_a_table(past: Past, tmp_path: Path) -> None:
    out = tmp_path / "both.parquet"
    asked = ("--model", "late", "--version", VERSIONS[-1], "--release", "1", "--out", str(out))
    done = run(past.home.path, "log", "replay", *asked, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first = len(of_version(past, VERSIONS[0]))
    assert (found["calls"], found["asked"], found["invalid"]) == (first, first, [])
    assert found["changed"]["against"] == {VERSIONS[0]: first}
    table = pq.read_table(out, columns=["id", "version", "kind"]).to_pydict()
    assert (table["kind"], table["version"]) == (["live", "history"] * first, [VERSIONS[0], VERSIONS[-1]] * first)
    assert len(set(table["id"])) == first
    assert (past.home.path / "log" / "exports.jsonl").read_text().count(str(out)) == 1
    refused = run(past.home.path, "log", "replay", "--model", "late", "--version", "1.0.0", "--release", "1")
    assert f"/input/carrier: unknown_field  {first}" in refused.stdout


def test_what_asks_again_gives_way_to_everything_else(past: Past) -> None:
    async def niceness() -> set[int]:
        async with open_loader(past.home, Settings()) as loader:
            await reproduce(past.records[0], loader)
            return {os.getpriority(os.PRIO_PROCESS, pid) for pid in children(os.getpid()) if model_of(pid) == "late"}

    assert asyncio.run(niceness()) == {NICENESS}


def test_notebooks_have_the_same(past: Past) -> None:
    inference = str(UUID(bytes=past.records[0].id))
    found = cloche.reproduce(inference, home=past.home.path)
    assert (found.verdict, found.id) == ("same", inference)
    assert repr(found).startswith("verdict    same\n")
    other = cloche.replay("late", VERSIONS[-1], since=timedelta(days=1), sample=2, home=past.home.path)
    assert other.version == VERSIONS[-1]
    assert "through 2.0.0" in repr(other)
