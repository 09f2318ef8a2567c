"""A server whose log is a PostgreSQL: what was answered is found, shown, exported and verified from there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import shop
from postgres import Postgres
from serving import PROVE, Server, cli, publish, run

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from callers import beside

ROUNDS = 20 if PROVE else 1


@pytest.fixture(scope="module")
def address(postgres: Postgres) -> Iterator[str]:
    url = postgres.database()
    yield url
    postgres.empty(url)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, address: str) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("postgres") / ".cloche"
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}])
    secret = home.parent / "log-url"
    secret.write_text(address + "?sslpassword=hush\n")
    (home.parent / "cloche.toml").write_text(f'[log]\nsinks = ["file:{secret}", "sqlite"]\n')
    with Server(home) as running:
        yield running


def test_the_commands_read_what_was_answered_from_there(server: Server, address: str) -> None:
    with server.caller() as caller:
        answers = [caller.predict("pricing", {"vehicle": "car", "age": n}, Cloche_Subject="ann") for n in range(5)]
        refused = caller.predict("pricing", {"vehicle": "tank", "age": 1})
    ids = [answer.json["id"] for answer in answers]
    found = [json.loads(line) for line in cli(server.home, "log", "query", "--json", "--subject", "ann").splitlines()]
    assert [record["id"] for record in found] == ids[::-1]
    assert found[0]["output"] == answers[-1].json["output"]
    shown = cli(server.home, "log", "show", refused.json["id"])
    assert refused.json["refusal"]["code"] in shown
    exported = server.home.parent / "all.jsonl"
    cli(server.home, "log", "export", "--out", str(exported))
    assert [json.loads(line)["id"] for line in exported.read_text().splitlines()] == [*ids, refused.json["id"]]
    with psycopg.connect(address) as connection:
        assert connection.execute("select count(*) from cloche.inference where model = 'pricing'").fetchone() == (6,)
    report = json.loads(cli(server.home, "log", "verify", "--json"))
    assert (report["ok"], report["records"]) == (True, 6)


def test_a_lost_home_and_a_lost_database_come_back(
    server: Server, postgres: Postgres, clients: Path, tmp_path: Path, evidence
) -> None:
    place = str(tmp_path / "backups")
    row = {"vehicle": "car", "age": 3}
    with beside(server, "pricing", row) as seen, server.caller() as caller:
        for _ in range(ROUNDS):
            before = [caller.predict("pricing", row).json["id"] for _ in range(20)]
            said = cli(server.home, "backup", "--to", place)
    assert set(seen) == {200}, "a backup costs no call its answer"
    assert "MB, from postgresql://127.0.0.1" in said
    assert not any(secret in said for secret in ("hush", "postgres@"))
    back, empty = tmp_path / "back" / ".cloche", postgres.database()
    back.parent.mkdir()
    (back.parent / "cloche.toml").write_text(f'[log]\nsinks = ["{empty}"]\n')
    report = json.loads(cli(back, "restore", "--from", place, "--json"))
    assert (report["ok"], report["placeholders"]) == (True, [])
    found = [json.loads(line)["id"] for line in cli(back, "log", "export", "--out", "-").splitlines()]
    assert len(found) == len(set(found))
    assert set(before) <= set(found)
    assert json.loads(cli(back, "log", "verify", "--json"))["ok"]
    postgres.empty(empty)
    evidence(
        "a home with its log in PostgreSQL backed up under load, lost with its database, and restored",
        f"{ROUNDS} backups, {sum(seen.values()) + ROUNDS * len(before):,} calls",
        "calls failed 0, lost 0, twice 0",
    )


def test_an_inference_that_is_not_there_is_said_without_secrets(server: Server, address: str) -> None:
    done = run(server.home, "log", "show", "01a2010c-4924-7685-b49b-98625282a80c")
    assert done.returncode != 0
    assert "postgresql://127.0.0.1" in done.stderr
    assert not any(secret in done.stderr for secret in ("hush", "postgres@", "Traceback"))


def test_while_it_is_away_calls_go_on_and_the_server_says_so(server: Server, postgres: Postgres) -> None:
    postgres.stop()
    try:
        with server.caller() as caller:
            assert caller.predict("pricing", {"vehicle": "car", "age": 9}).status == 200
        done = run(server.home, "log", "query")
        assert done.returncode != 0
        assert "refused" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        postgres.start()
    assert json.loads(cli(server.home, "log", "query", "--json", "--limit", "1"))["input"] == {
        "vehicle": "car",
        "age": 9,
    }
