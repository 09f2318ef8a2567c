"""The log from a shell: on records that lie in the sink, and on what a server has just acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import time
import uuid

import msgspec
import pytest
from shell import CLOCHE, fill_log, leave_in_spool, put_version

from cloche.cli.log.filters import MOMENT
from cloche.cli.log.replay import _stopped_by_hand
from cloche.log.export import begin
from cloche.log.filters import make_query
from cloche.log.lines import CsvFile
from cloche.testing import make_record
from cloche.values import Personal

AT = 1_767_225_600_000_000  # 2026-01-01


@pytest.fixture
def records(home):
    made = [make_record(number, model="toy" if number % 2 else "other") for number in range(39)]
    made.append(make_record(39, labels={"market": "de", "shop": "1"}))
    failed = make_record(50, Personal(subject="ada", failure="Traceback …\nValueError: no", printed="hm\x1b[2J\n"))
    fill_log(home, [*made, failed])
    return made


def test_query_shows_the_newest_first(run, records):
    lines = run("log", "query", "--limit", 3).stdout.splitlines()
    assert lines[0].split()[:3] == ["time", "id", "model"]
    assert [line.split()[0][-8:] for line in lines[1:]] == [".000050Z", ".000039Z", ".000038Z"]
    assert "There may be more" in run("log", "query", "--limit", 3).stderr


def test_a_page_of_large_records_ends_early_and_says_how_to_go_on(run, records, monkeypatch):
    monkeypatch.setattr("cloche.cli.log.query._MOST_BYTES", 100)
    page = run("log", "query", "--json", "--limit", 100)
    assert 1 <= len(page.stdout.splitlines()) < 10
    assert "There may be more. Go on: cloche log query" in page.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_a_replay_that_is_asked_to_end_ends_with_what_it_has(name):
    stopped = _stopped_by_hand()
    signal.raise_signal(signal.Signals[name])
    await asyncio.wait_for(stopped.wait(), 5)
    assert asyncio.get_running_loop().remove_signal_handler(signal.SIGINT) is False, "once more ends it at once"


def test_query_for_programs_is_what_export_writes(run, records, folder):
    queried = run("log", "query", "--json", "--limit", 100).stdout.splitlines()
    assert run("log", "export", "--out", "all.jsonl").exit_code == 0
    assert (folder / "all.jsonl").read_text().splitlines() == queried[::-1]
    assert run("log", "export", "--out", "-").stdout.splitlines() == queried[::-1]
    assert len(queried) == 41


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--model", "toy"], 21),
        (["--model", "nothing"], 0),
        (["--version", "2.0.0"], 0),
        (["--subject", "subject-7"], 1),
        (["--since", "2026-01-01T00:00:00.000030Z"], 11),
        (["--until", "2026-01-01T01:00:00.000030+01:00"], 30),
        (["--since", "1h"], 0),
        (["--failed"], 1),
        (["--outcome", "refused"], 0),
        (["--input", "/number<3"], 3),
        (["--input", "/number<3", "--input", "/number!=1", "--output", "/label=2"], 1),
        (["--input", "/number=7", "--model", "other"], 0),
        (["--label", "market=de", "--label", "shop=1"], 1),
        (["--label", "market=at"], 0),
        (["--kind", "live", "--release", "1", "--caller", "anonymous", "--reason", "default", "--min-ms", "0.015"], 41),
        (["--max-ms", "0.015"], 0),
        (["--fell-back"], 0),
        (["--model", "toy", "--since", "2026-01-01T00:00:00.000030Z", "--until", "2026-01-01T00:00:00.000033Z"], 1),
    ],
)
def test_filters(run, records, options, count):
    queried = run("log", "query", "--json", "--limit", 100, *options)
    assert len(queried.stdout.splitlines()) == count
    assert len(run("log", "export", "--out", "-", *options).stdout.splitlines()) == count


def test_a_page_says_the_command_for_the_next(run, records):
    asked = ["--model", "toy", "--since", "520w", "--until=2126-01-01T00:00:00Z", "--input", "/number<25"]
    found, command = [], ["log", "query", "--json", *asked, "--limit", "5"]
    while command:
        page = run(*command)
        found += [json.loads(line)["input"]["number"] for line in page.stdout.splitlines()]
        told = page.stderr.rpartition("Go on: ")
        command = shlex.split(told[2])[1:] if told[1] else None
        assert command is None or (command.count("--since"), command.count("--after")) == (1, 1)
    assert found == [*range(23, 0, -2)]


def test_what_is_no_condition_is_refused(run, records):
    refused = run("log", "query", "--input", "number=3")
    assert refused.exit_code == 2
    assert "did you mean /number?" in refused.stderr
    assert run("log", "query", "--after", "the other one").exit_code == 2


def test_one_by_its_id_or_that_of_a_row(run, records):
    wanted = str(uuid.UUID(bytes=records[7].id))
    for name in (wanted, f"{wanted}.0"):
        assert json.loads(run("log", "query", "--id", name, "--json").stdout)["id"] == wanted
        assert json.loads(run("log", "show", name, "--json").stdout)["input"] == {"number": 7}
    assert "subject-7" in run("log", "show", wanted).stdout
    assert run("log", "query", "--id", wanted, "--model", "toy").exit_code == 2


def test_show_has_the_traceback_and_can_not_drive_the_terminal(run, records):
    failed = json.loads(run("log", "query", "--failed", "--json").stdout)
    shown = run("log", "show", failed["id"]).stdout
    assert "ValueError: no" in shown
    assert "\x1b" not in shown
    assert failed["printed"] == "hm\x1b[2J\n"


def test_show_says_where_the_caller_was_in_a_hurry(run, home):
    calm, hurried = make_record(1), make_record(2, hurried=True)
    fill_log(home, [calm, hurried])
    assert "hurried" not in run("log", "show", str(uuid.UUID(bytes=calm.id))).stdout
    assert ["hurried", "true"] in [
        line.split() for line in run("log", "show", str(uuid.UUID(bytes=hurried.id))).stdout.splitlines()
    ]


@pytest.mark.parametrize(
    ("typed", "said"), [("yesterday", "3d"), ("2026-01-01", "no time zone"), ("2026-01-01T00:00:00", "no time zone")]
)
def test_a_time_that_means_nothing_is_refused(run, home, typed, said):
    result = run("log", "query", "--since", typed)
    assert result.exit_code == 2
    assert said in result.stderr


def test_moments():
    assert MOMENT.convert("2026-01-01T00:00:00.000001Z", None, None) == AT + 1
    assert MOMENT.convert("2026-01-01T02:00:00+02:00", None, None) == AT
    assert abs(MOMENT.convert("2h", None, None) - (time.time_ns() // 1000 - 7_200_000_000)) < 1_000_000


def test_times_before_there_was_a_log_are_its_beginning(run, home):
    assert MOMENT.convert("0001-01-01T00:00:00+23:59", None, None) == 0
    fill_log(home, [make_record(1), make_record(2)])
    ever = ("--since", "0001-01-01T00:00:00+23:59", "--until", "9999-12-31T23:59:59-23:59")
    said = run("log", "query", *ever, "--limit", "1").stderr
    assert "--since 1970-01-01T00:00:00" in said
    assert run("log", "stats", "--model", "toy", *ever).exit_code == 2


@pytest.mark.parametrize("option", ["--label", "--input", "--output", "--subject"])
def test_bytes_that_are_no_text_are_refused(run, home, option):
    fill_log(home, [make_record(1)])
    result = run("log", "query", option, "/a=\udcff")
    assert result.exit_code == 2
    assert "is not UTF-8" in result.stderr


def test_nothing_in_the_log_says_where_it_looked(run, home):
    result = run("log", "query")
    assert result.exit_code == 0
    assert str(home.log) in result.stderr
    assert not home.log.exists()


@contextlib.contextmanager
def holding(path):
    held = os.open(path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    yield
    os.close(held)


def test_an_export_that_was_cut_short_goes_on(run, records, folder):
    assert run("log", "export", "--out", "whole.csv", "--model", "toy").exit_code == 0
    state = begin(folder / "all.csv", make_query({"model": "toy"}), resume=False, restart=False)
    (folder / "all.csv.part").mkdir()
    (folder / "all.csv.part" / "lines").write_bytes(CsvFile.head + b"half a li")
    (folder / "all.csv.part" / "state.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(state, mark=len(CsvFile.head)))
    )
    with holding(folder / "all.csv.part"):
        stopped = run("log", "export", "--out", "all.csv", "--model", "toy", "--resume")
    assert (stopped.exit_code, "goes on with --resume" in stopped.stderr) == (1, True)
    stopped = run("log", "export", "--out", "all.csv", "--model", "toy")
    assert (stopped.exit_code, "--resume" in stopped.stderr) == (1, True)
    assert run("log", "export", "--out", "all.csv", "--resume", "--restart").exit_code == 2
    assert "21 inferences" in run("log", "export", "--out", "all.csv", "--resume").stderr
    assert (folder / "all.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert sorted(path.name for path in folder.glob("*.csv*")) == ["all.csv", "whole.csv"]


def test_how_a_file_is_named_says_what_it_is(run, records, folder):
    refused = run("log", "export", "--out", "all.xlsx")
    assert refused.exit_code == 2
    assert ".jsonl, .csv, .parquet" in refused.stderr
    assert run("log", "export", "--out", "-", "--resume").exit_code == 2
    assert "41 inferences written to all.PARQUET" in run("log", "export", "--out", "all.PARQUET").stderr


def test_export_leaves_no_half_file(run, records, folder):
    assert run("log", "export", "--out", folder / "nowhere" / "all.jsonl").exit_code == 2
    assert run("log", "export", "--out", folder).exit_code == 2
    assert run("log", "export").exit_code == 2


def test_a_pipe_that_is_closed_early_is_no_error(home, folder):
    fill_log(home, [make_record(number) for number in range(2_000)])  # more than a pipe holds
    script = f"{' '.join(CLOCHE)} log export --out - | head -1"
    done = subprocess.run(script, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_verify_is_content_with_a_sound_log(run, records):
    result = run("log", "verify")
    assert result.exit_code == 0
    assert "41" in result.stdout
    assert json.loads(run("log", "verify", "--json").stdout)["ok"] is True


def test_verify_names_a_damaged_record(run, home):
    damaged = make_record(1, personal_digest=bytes(32))
    fill_log(home, [make_record(0), damaged])
    result = run("log", "verify")
    assert result.exit_code == 1
    assert f"Damaged: {uuid.UUID(bytes=damaged.id)}" in result.stdout


def test_verify_names_a_record_that_was_changed_and_checks_an_anchor(run, home, folder):
    records = [make_record(number) for number in range(3)]
    leave_in_spool(home, records)
    anchor = folder / "anchor.json"
    sound = run("log", "verify", "--anchor-out", str(anchor))
    assert (sound.exit_code, "3 are as their seals say; 0 have none" in sound.stdout) == (0, True)
    assert [head[0] for head in json.loads(anchor.read_text())["chains"].values()] == [3]
    leave_in_spool(home, [make_record(3)])
    assert run("log", "verify", "--anchor", str(anchor)).exit_code == 0
    with contextlib.closing(sqlite3.connect(home.log)) as connection:
        connection.execute("update inference set outcome = 'refused' where id = ?", (records[1].id,))
        connection.commit()
    changed = run("log", "verify", "--anchor-out", str(folder / "no.json"))
    assert changed.exit_code == 1
    assert f"Not as it was sealed: {uuid.UUID(bytes=records[1].id)}" in changed.stdout
    assert not (folder / "no.json").exists()
    with contextlib.closing(sqlite3.connect(home.log)) as connection:
        connection.execute("delete from seal")
        connection.commit()
    assert run("log", "verify").exit_code == 0
    gone = run("log", "verify", "--anchor", str(anchor))
    assert gone.exit_code == 1
    assert "Broken chain: 3 records of spool" in gone.stdout


def test_a_log_in_parquet_is_sealed_like_any_other(run, home, folder):
    (folder / "cloche.toml").write_text(f'[log]\nsinks = ["parquet+{(folder / "store").as_uri()}"]\n')
    leave_in_spool(home, [make_record(1)])
    assert "1 are as their seals say; 0 have none" in run("log", "verify", "--anchor-out", "anchor.json").stdout
    assert run("log", "verify", "--anchor", "anchor.json").exit_code == 0


def test_a_log_that_names_people_by_codes_is_sealed_and_counted_like_any_other(run, home, folder):
    (folder / "key").write_text("secret")
    (folder / "cloche.toml").write_text(f'[log]\nsubject = "hmac"\nsubject_key = "file:{folder / "key"}"\n')
    leave_in_spool(home, [make_record(1)])
    put_version(home, "toy", "1.0.0")
    counted = run("log", "stats", "--model", "toy", "--since", "2026-01-01T00:00:00Z", "--by", "day", "--json")
    assert json.loads(counted.stdout)["total"][0]["calls"] == 1
    assert "1 are as their seals say; 0 have none" in run("log", "verify").stdout


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is no anchor"), ('{"time_us":1,"chains":{},"format":2}', "pip install --upgrade")]
)
def test_a_file_that_is_no_anchor_is_said(run, home, folder, text, said):
    (folder / "anchor.json").write_text(text)
    refused = run("log", "verify", "--anchor", str(folder / "anchor.json"))
    assert refused.exit_code != 0
    assert said in refused.stderr


def test_a_log_that_is_no_database_is_said(run, home):
    home.log.parent.mkdir()
    home.log.write_bytes(b"no database at all" * 100)
    assert run("log", "query").exit_code == 1
    assert "is damaged" in run("log", "query").stderr
    verified = run("log", "verify")
    assert verified.exit_code == 1
    assert "Fault: " in verified.stdout


@pytest.mark.parametrize(
    "command", [["log", "query"], ["log", "show"], ["log", "export", "--out", "-"], ["models", "logs", "toy"]]
)
def test_what_was_acknowledged_before_the_server_was_killed_is_seen(run, home, command):
    put_version(home, "toy", "1.0.0")
    record = make_record(1, Personal(failure="Traceback …\nValueError: no"))
    leave_in_spool(home, [record])
    name = str(uuid.UUID(bytes=record.id))
    assert name in run(*command, *([name] if command == ["log", "show"] else [])).stdout
    assert json.loads(run("log", "verify", "--json").stdout)["records"] == 1


def test_what_was_just_acknowledged_is_seen(served):
    answer = json.loads(
        served.run("predict", "delays", "carrier=UA", "distance=3", "--subject", "eve", "--json").stdout
    )
    record = json.loads(served.run("log", "show", answer["id"], "--json").stdout)
    assert (record["subject"], record["output"], record["outcome"]) == ("eve", 12.5, "ok")
    assert json.loads(served.run("log", "query", "--subject", "eve", "--json").stdout) == record
