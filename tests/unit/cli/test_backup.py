"""`cloche backup` and `cloche restore`."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest
from shell import put_version

from cloche.drivers import open_objects, open_reader, open_sink
from cloche.drivers.sqlite import SqliteSink
from cloche.home import Home
from cloche.ports import Filter
from cloche.registry.release import Releases
from cloche.testing import make_record
from cloche.values import Personal


@pytest.fixture
def filled(home):
    """A home with a version, a release, and records of two people; one of them names release 4."""
    put_version(home, "delays", "1.0.0")
    people = [("ann", 1), ("ben", 4)]
    records = [make_record(number, Personal(name), release=number) for name, number in people]

    async def fill():
        sink = SqliteSink(home.log)
        await sink.write(records)
        await sink.close()

    asyncio.run(fill())
    return home


@pytest.fixture
def other(folder):
    (folder / "other").mkdir()
    return folder / "other" / ".cloche"


def test_there_and_back(run, filled, folder, other):
    (folder / "cloche.toml").write_text("[limits]\ndeadline_ms = 700\n")
    made = run("backup", "--to", folder / "backups")
    assert made.exit_code == 0, made.stderr
    assert "releases  up to 1" in made.stdout
    assert "log       0." in made.stdout
    command = made.stdout.strip().splitlines()[-1].partition("FOLDER ")[2].split()
    back = run("--home", other, *command)
    assert back.exit_code == 0, back.stderr
    assert "records    2 in the log, 0 in spools" in back.stdout
    assert "releases   4" in back.stdout
    assert back.stdout.strip().endswith("Everything is as it was written.")
    assert (other.parent / "cloche.toml").read_text() == "[limits]\ndeadline_ms = 700\n"
    again = run("--home", other, *command)
    assert (again.exit_code, "holds something already" in again.stderr) == (1, True)


def test_no_release_number_is_used_twice(run, filled, folder, other):
    run("backup", "--to", folder / "backups")
    back = run("--home", other, "restore", "--from", folder / "backups")
    assert "Lost: release 2 to 4. The log names it, the registry has not got it; it changes nothing now." in back.stdout
    for store in (filled.registry, other / "registry"):
        assert list(asyncio.run(Releases(open_objects(store.as_uri())).live()).models) == ["delays"]
    assert run("--home", other, "release", "show", "3").exit_code == 0
    assert run("--home", other, "registry", "verify").exit_code == 0
    put_version(Home(other), "delays", "1.1.0")
    assert run("--home", other, "models", "default", "delays", "1.1.0").exit_code == 0
    assert asyncio.run(Releases(open_objects((other / "registry").as_uri())).latest()) == 5


def test_who_was_forgotten_after_a_backup_does_not_come_back_with_it(run, filled, folder, other):
    first = json.loads(run("backup", "--to", folder / "backups", "--json").stdout)
    forgotten = run("log", "forget", "--subject", "ann", "--reason", "a test", "--yes")
    assert forgotten.exit_code == 0, forgotten.output
    assert f"Backups at {(folder / 'backups').as_uri()} hold what was so when they were made." in forgotten.stdout
    back = run("--home", other, "restore", "--from", folder / "backups", "--json")
    report = json.loads(back.stdout)
    assert (back.exit_code, report["ok"], report["forgotten"]) == (0, True, 1)
    assert run("--home", other, "log", "query", "--subject", "ann", "--json").stdout == ""
    assert run("--home", other, "log", "query", "--subject", "ben", "--json").stdout != ""
    assert json.loads(run("restore", "--from", folder / "backups", "--list", "--json").stdout)[0]["id"] == first["id"]
    (folder / "backups/backups/20260101T000000.000000Z-abcd.json").write_text("cut")
    listed = run("restore", "--from", folder / "backups", "--list")
    assert first["id"] in listed.stdout
    assert "20260101T000000.000000Z-abcd.json" in listed.stderr


def test_a_place_that_is_gone_is_told_nothing_and_one_that_is_away_is_named(run, filled, folder, monkeypatch):
    run("backup", "--to", folder / "backups")
    run("backup", "--to", folder / "away")
    shutil.rmtree(folder / "backups")
    shutil.rmtree(folder / "away" / "erasures", ignore_errors=True)
    (folder / "away" / "erasures").touch()
    forgotten = run("log", "forget", "--subject", "ann", "--reason", "a test", "--yes")
    assert forgotten.exit_code == 0, forgotten.output
    assert "could not be told" in forgotten.stdout
    assert f"Run: cloche backup --to {(folder / 'away').as_uri()}" in forgotten.stdout
    assert not (folder / "backups").exists()


def test_what_lies_elsewhere_is_named(run, filled, folder, other, monkeypatch):
    monkeypatch.setenv("CLOCHE_REGISTRY", (folder / "models").as_uri())
    monkeypatch.setenv("CLOCHE_IDEMPOTENCY", "redis://ann@keys.example/0")
    monkeypatch.setenv("CLOCHE_LOG_SINKS", "postgresql://ann@db.example/cloche,https://x.example")
    made = run("backup", "--to", folder / "backups", "--without-database")
    assert made.exit_code == 0, made.stderr
    assert (
        f"NOT in it: the registry at {(folder / 'models').as_uri()}. Copy it with `cloche registry copy" in made.stdout
    )
    assert "pg_dump --format=custom --schema=cloche --file=cloche.dump postgresql://db.example/cloche" in made.stdout
    assert "answers to repeated calls at redis://keys.example/0" in made.stdout
    assert "x.example" not in made.stdout
    assert len([line for line in made.stdout.splitlines() if line.startswith("NOT in it")]) == 3
    assert "log       NOT in it\nreleases  NOT in it\n" in made.stdout


def test_what_can_not_be_looked_at_now_does_not_keep_a_home_from_coming_back(run, filled, folder, other, monkeypatch):
    run("backup", "--to", folder / "backups")
    monkeypatch.setenv("CLOCHE_LOG_SINKS", "env:NOBODY_HAS_SET_THIS")
    back = run("--home", other, "restore", "--from", folder / "backups")
    assert back.exit_code == 1
    assert "log.sinks" in back.stdout
    assert "Not everything could be done or is as it was." in back.stdout
    assert (other / "log" / "inferences.db").exists()


@pytest.fixture
def in_database(home, database, monkeypatch):
    """A home like `filled`, with its records in PostgreSQL; return its address, with a secret in it."""
    put_version(home, "delays", "1.0.0")
    home.settings_file.write_text("[limits]\ndeadline_ms = 700\n")
    monkeypatch.setenv("CLOCHE_LOG_SINKS", f"{database}?sslpassword=hush")

    async def fill():
        sink = open_sink(database, home.log.parent)
        await sink.write(
            [make_record(number, Personal(name), release=number) for name, number in [("ann", 1), ("ben", 4)]]
        )
        await sink.close()

    asyncio.run(fill())
    return database


@pytest.mark.usefixtures("clients", "in_database")
def test_a_log_in_a_database_comes_along(run, postgres, folder, other, monkeypatch):
    made = run("backup", "--to", folder / "backups")
    assert made.exit_code == 0, made.stderr
    assert "MB, from postgresql://127.0.0.1" in made.stdout
    assert not any(words in made.output for words in ("NOT in it", "hush", "postgres@"))
    assert run("log", "forget", "--subject", "ann", "--reason", "a test", "--yes").exit_code == 0
    there = run("--home", other, "restore", "--from", folder / "backups")
    assert "holds a log already" in there.stderr
    assert (there.exit_code, list(other.parent.iterdir())) == (1, [])
    empty = postgres.database()
    monkeypatch.setenv("CLOCHE_LOG_SINKS", empty)
    back = run("--home", other, "restore", "--from", folder / "backups")
    assert back.exit_code == 0, back.output
    assert "records    2 in the log, 0 in spools" in back.stdout
    assert "forgotten  1 records erased once more" in back.stdout
    assert "Lost: release 2 to 4." in back.stdout
    assert run("--home", other, "log", "query", "--subject", "ann", "--json").stdout == ""
    assert run("--home", other, "log", "query", "--subject", "ben", "--json").stdout != ""
    put_version(Home(other), "delays", "1.1.0")
    assert run("--home", other, "models", "default", "delays", "1.1.0").exit_code == 0
    assert asyncio.run(Releases(open_objects((other / "registry").as_uri())).latest()) == 5
    third = folder / "third" / ".cloche"
    third.parent.mkdir()
    again = run("--home", third, "restore", "--from", folder / "backups")
    assert (again.exit_code, "holds a log already" in again.stderr) == (1, True), "what was restored is in use"
    beside = run("--home", third, "restore", "--from", folder / "backups", "--without-database")
    assert (beside.exit_code, "is left out" in beside.stderr) == (0, True), beside.output
    assert "records    2 in the log" in beside.stdout
    postgres.empty(empty)


@pytest.mark.usefixtures("clients", "in_database")
def test_a_log_of_a_database_does_not_come_back_where_there_is_none(run, folder, other, monkeypatch):
    run("backup", "--to", folder / "backups")
    monkeypatch.delenv("CLOCHE_LOG_SINKS")
    back = run("--home", other, "restore", "--from", folder / "backups")
    assert back.exit_code == 1
    assert "which is no postgresql database" in back.stderr
    assert list(other.parent.iterdir()) == []


@pytest.mark.usefixtures("clients", "home")
def test_a_database_without_a_log_is_no_loss(run, folder, database, monkeypatch):
    monkeypatch.setenv("CLOCHE_LOG_SINKS", database)
    made = run("backup", "--to", folder / "backups")
    assert (made.exit_code, "NOT in it" in made.stdout) == (0, False), made.output
    assert "log       nothing was written to postgresql://127.0.0.1" in made.stdout


@pytest.mark.usefixtures("clients", "in_database")
def test_a_damaged_dump_brings_nothing_back(run, postgres, folder, other, monkeypatch):
    made = json.loads(run("backup", "--to", folder / "backups", "--json").stdout)
    (piece,) = (folder / "backups").rglob(made["database"]["pieces"][-1])
    piece.write_bytes(piece.read_bytes()[:-1])
    empty = postgres.database()
    monkeypatch.setenv("CLOCHE_LOG_SINKS", empty)
    back = run("--home", other, "restore", "--from", folder / "backups")
    assert (back.exit_code, "is damaged: blobs/sha256/" in back.stderr) == (1, True)
    assert list(other.parent.iterdir()) == []
    assert asyncio.run(open_reader(empty, folder).count(Filter())) == 0
    postgres.empty(empty)


def test_a_database_that_can_not_be_copied_is_no_backup(run, filled, folder, unused_tcp_port, monkeypatch):
    monkeypatch.setenv("CLOCHE_LOG_SINKS", f"postgresql://ann:hush@127.0.0.1:{unused_tcp_port}/log")
    made = run("backup", "--to", folder / "backups")
    assert (made.exit_code, "can't be used now" in made.stderr, "hush" in made.output) == (1, True, False)
    monkeypatch.setenv("CLOCHE_LOG_SINKS", "env:NOBODY_HAS_SET_THIS")
    made = run("backup", "--to", folder / "backups")
    assert (made.exit_code, "log.sinks" in made.stderr) == (1, True)
    assert not list((folder / "backups").glob("backups/*"))


@pytest.mark.usefixtures("in_database")
def test_without_pg_dump_a_backup_says_what_to_do(run, folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    made = run("backup", "--to", folder / "backups")
    assert (made.exit_code, list((folder / "backups").glob("backups/*"))) == (1, [])
    assert "copied and brought back by pg_dump, and PATH has none. Install" in made.stderr
    assert "--without-database" in made.stderr
    made = run("backup", "--to", folder / "backups", "--without-database")
    assert (made.exit_code, "NOT in it: the log at postgresql://127" in made.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backup", "--to", "ftp://example/x"), "is not one of"),
        (("restore", "--from", "ftp://example/x"), "is not one of"),
        (("restore", "--from", "nothing-here"), "None is complete there"),
        (("--home", "nowhere/.cloche", "backup", "--to", "backups"), "nothing to back up"),
        (("backup", "--to", ".cloche/backups"), "inside the home"),
    ],
)
def test_what_does_not_work_is_said(run, home, folder, words, said):
    (folder / "new").mkdir()
    words = ("--home", "new/.cloche", *words) if words[0] == "restore" else words
    result = run(*words)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert not (folder / "new" / ".cloche").exists()
