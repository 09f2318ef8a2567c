"""A server whose log is Parquet files: what was answered is found, verified and erased there, and others read it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import shop
from serving import PROVE, Server, cli, kill, publish, until

CALLS = 200 if PROVE else 4
SEED = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("parquet") / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    (home.parent / "cloche.toml").write_text(f'[log]\nsinks = ["parquet+{folder.as_uri()}"]\n')
    with Server(home) as running:
        yield running


@pytest.mark.timeout(1800)
def test_what_was_answered_is_there_once_though_the_keeper_is_killed(server: Server, folder: Path, evidence) -> None:
    ids, chance = [], random.Random(SEED)
    with server.caller() as caller:
        for number in range(CALLS):
            answer = caller.predict("area", {"width": number, "height": 2.0}, Cloche_Subject=f"subject-{number % 2}")
            ids.append(answer.json["id"])
            if number % 2:
                time.sleep(chance.uniform(0, 0.3))
                kill(server.keeper)
    found = [json.loads(line) for line in cli(server.home, "log", "query", "--json", "--limit", "3").splitlines()]
    assert [record["id"] for record in found] == ids[:-4:-1]
    assert exported(server.home) == ids
    assert exported(server.home, "--subject", "subject-1") == ids[1::2]
    report = json.loads(cli(server.home, "log", "verify", "--json"))
    assert (report["ok"], report["records"], report["seals"]["sealed"]) == (True, CALLS, CALLS)
    evidence("Parquet: the keeper killed while it ships: every answer is in it once", f"{CALLS // 2} kills", "0 lost")


def test_others_read_the_files(server: Server, folder: Path) -> None:
    question = "select id from read_parquet(?, hive_partitioning = true) where model = 'area' order by time"
    with duckdb.connect() as connection:
        rows = connection.execute(question, [f"{folder}/log/model=*/*/*.parquet"]).fetchall()
    assert [row[0] for row in rows] == exported(server.home)


def test_who_is_forgotten_is_in_no_file(server: Server, folder: Path) -> None:
    question = "select subject, erased from read_parquet(?) order by time"
    files = f"{folder}/log/model=*/*/*.parquet"
    arguments = ("--subject", "subject-0", "--reason", "ticket 12", "--yes", "--json")
    report = json.loads(cli(server.home, "log", "forget", *arguments))
    assert (report["done"], report["erased"]) == (True, CALLS // 2)
    with duckdb.connect() as connection:
        rows = connection.execute(question, [files]).fetchall()
    assert rows == [(None, True), ("subject-1", False)] * (CALLS // 2)
    assert json.loads(cli(server.home, "log", "verify", "--json"))["ok"]


def exported(home: Path, *options: str) -> list[str]:
    out = home.parent / "out.jsonl"
    cli(home, "log", "export", "--out", str(out), *options)
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    out.unlink()
    return ids


def test_calls_are_counted_by_time(server: Server) -> None:
    kill(server.keeper)  # it may just have counted, and would leave them alone for half a minute

    def counted() -> bool:
        found = json.loads(cli(server.home, "log", "stats", "--model", "area", "--by", "day", "--json"))
        return not found["behind"] and sum(point["calls"] for point in found["points"]) == CALLS

    assert until(counted)


def test_the_keeper_puts_it_in_order(server: Server) -> None:
    status = json.loads(cli(server.home, "keeper", "status", "--json"))
    assert {"compaction", "rollups"} <= {each["name"] for each in status["upkeep"]["schedules"]}
