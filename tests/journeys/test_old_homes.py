"""Homes of earlier versions of Cloche: today's opens them, and they could go on with what today's has written."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import earlier
import msgspec
import pytest

from cloche.log.segments import Frame, read_segment
from serving import Server, cli, until

FIXTURES = Path(__file__).parents[1] / "fixtures"


COMMITS = ("ac3cde4", "fc2baae")
"""The first that served, and the one before the log could be in a database. `make_home.py` has made them."""


def unpack(commit: str, folder: Path) -> Path:
    with tarfile.open(FIXTURES / f"home-0.1-{commit}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return folder / ".cloche"


@pytest.fixture(scope="module", params=COMMITS)
def used(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[dict[str, object]]]:
    """A home after today's Cloche has served all calls once more; its last spool; what the earlier one answered."""
    folder = tmp_path_factory.mktemp("earlier")
    home = unpack(request.param, folder)
    answers = json.loads((folder / "answers.json").read_text())
    with Server(home) as server:
        with server.caller() as caller:
            for answer in answers:
                now = caller.predict(answer["model"], answer["input"], Cloche_Subject="again")
                said, before = now.json, answer["body"]
                assert now.status == answer["status"]
                assert [said.get(name) for name in ("output", "version", "release", "detail")] == [
                    before.get(name) for name in ("output", "version", "release", "detail")
                ]
        until(lambda: server.control.json["ready"])
        spool = max(path for path in (home / "spool").iterdir() if path.name[0].isdigit())
        shutil.copytree(spool, folder / "kept" / spool.name)
    return home, folder / "kept" / spool.name, answers


def test_it_opens_serves_and_ships_what_was_left(used) -> None:
    home, _, answers = used
    found = [json.loads(line) for line in cli(home, "log", "export", "--out", "-").splitlines()]
    assert [record["id"] for record in found[: len(answers)]] == [answer["body"]["id"] for answer in answers]
    assert len(found) == 2 * len(answers)
    assert "Everything is as it was written." in cli(home, "log", "verify")
    assert "Everything is there, as it was written." in cli(home, "registry", "verify")


def test_the_earlier_one_reads_the_log(used) -> None:
    home, spool, answers = used
    with closing(sqlite3.connect(home / "log" / "inferences.db")) as connection:
        assert connection.execute("pragma user_version").fetchone() == (1,)
        rows = connection.execute(earlier.RECORDS).fetchall()
        assert len(rows) == 2 * len(answers)
        for row in rows[len(answers) :]:
            timings = msgspec.convert(json.loads(row[15]), earlier.Timings)
            personal = msgspec.msgpack.decode(row[-1], type=earlier.Personal)
            assert timings.predict_us >= 0
            assert personal.subject == "again"
            assert hashlib.sha256(row[-1]).digest() == row[16]
        copied = connection.execute(earlier.WRITE, (b"0" * 16, *rows[0][1:-1], 0))
        assert copied.rowcount == 1, "it writes there, too"
    frames = [piece for piece in read_segment(next(spool.glob("*.seg")), spool.name) if isinstance(piece, Frame)]
    assert len(frames) == len(answers)
    for frame in frames:
        assert msgspec.msgpack.decode(frame.payload, type=earlier.Record).format == 1


def test_the_earlier_one_reads_the_registry(used) -> None:
    home, _, _ = used
    cli(home, "models", "default", "area", "1.1.0")
    releases = sorted((home / "registry" / "releases").iterdir())
    read = [msgspec.json.decode(path.read_bytes(), type=earlier.Release) for path in releases]
    assert [release.number for release in read] == [1, 2, 3]
    assert read[-1].models["area"].default == "1.1.0"
    assert read[-1].format == 1
