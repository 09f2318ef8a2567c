"""Whoever makes a backup or restores one may be killed, or run out of disk, at any moment: nothing is half there."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloche.cli import cli as command_line
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.columns import pack_text
from cloche.ports import Filter
from cloche.testing import make_record
from cloche.values import Personal
from serving import CLOCHE, PROVE, environ

ROUNDS = 20 if PROVE else 1
SEED = 4
RECORDS = 12
ROOM_KB = 6000
"""More than one piece, and less than the log."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log has some 12 MB, which is three pieces of a backup."""
    home = tmp_path_factory.mktemp("here") / ".cloche"
    chance = random.Random(SEED)
    packed = [pack_text(b'["%s"]' % chance.randbytes(500_000).hex().encode()) for _ in range(RECORDS)]
    records = [make_record(number, Personal(input=text)) for number, text in enumerate(packed)]

    async def fill() -> None:
        sink = SqliteSink(home / "log" / "inferences.db")
        await sink.write(records)
        await sink.close()

    asyncio.run(fill())
    return home


def said(home: Path, *words: str, fails: bool = False) -> str:
    """Run a command in this process, and return what it printed."""
    done = CliRunner().invoke(command_line, ["--home", str(home), *words], prog_name="cloche")
    assert done.exit_code == fails, done.output
    return done.output


def killed(home: Path, *words: str, when: Path, after_s: float) -> None:
    """Run a command, and kill it a while after something has appeared in a folder."""
    with subprocess.Popen([*CLOCHE, "--home", str(home), *words], env=environ(), stderr=subprocess.DEVNULL) as command:
        while command.poll() is None and not (when.is_dir() and any(when.iterdir())):
            time.sleep(0.001)
        time.sleep(after_s)
        command.kill()


def limited(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that no file may be larger for than there is room."""
    line = ["sh", "-c", f'ulimit -f {ROOM_KB}; exec "$@"', "sh", *CLOCHE, "--home", str(home), *words]
    return subprocess.run(line, env=environ(), capture_output=True, text=True, timeout=60)


def nothing_is_there(folder: Path) -> bool:
    return not folder.exists() or not any(folder.rglob("*.json"))


def count(home: Path) -> int:
    return asyncio.run(SqliteReader(home / "log" / "inferences.db").count(Filter()))


def test_killed_while_it_makes_a_backup(home: Path, tmp_path: Path, evidence) -> None:
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        place = tmp_path / f"place-{number}"
        killed(home, "backup", "--to", str(place), when=place / "blobs" / "sha256", after_s=chance.uniform(0, 0.02))
        there = list(place.glob("backups/*.json"))
        back = tmp_path / f"back-{number}" / ".cloche"
        back.parent.mkdir()
        if not there:
            assert "None is complete there" in said(back, "restore", "--from", str(place), fails=True)
            assert not back.exists()
            said(home, "backup", "--to", str(place))
        assert "Everything is as it was written." in said(back, "restore", "--from", str(place))
        assert count(back) == RECORDS
        assert not any(path.stat().st_size for path in home.glob(".snapshot-*"))
    evidence("kill -9 while a backup is made; the next one is whole", f"{ROUNDS} kills", "torn backups restored 0")


def test_killed_while_it_restores_a_backup(home: Path, tmp_path: Path, evidence) -> None:
    chance = random.Random(SEED)
    place, seen = str(tmp_path / "place"), 0
    said(home, "backup", "--to", place)
    for number in range(ROUNDS):
        back = tmp_path / f"back-{number}" / ".cloche"
        back.parent.mkdir()
        work = back.with_name(".cloche.restoring")
        killed(back, "restore", "--from", place, when=work, after_s=chance.uniform(0, 0.3 if PROVE else 0.01))
        if back.exists():
            assert count(back) == RECORDS
            continue
        seen += 1
        assert "Everything is as it was written." in said(back, "restore", "--from", place)
        assert count(back) == RECORDS
        assert not work.exists()
    assert seen
    evidence("kill -9 while a backup is restored; again restores it", f"{ROUNDS} kills", "half homes 0")


def test_no_room_for_a_backup_or_a_home(home: Path, tmp_path: Path) -> None:
    place, back = tmp_path / "place", tmp_path / "back" / ".cloche"
    back.parent.mkdir()
    full = limited(home, "backup", "--to", str(place))
    assert full.returncode == 1
    assert full.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in full.stderr
    assert nothing_is_there(place)
    said(home, "backup", "--to", str(place))
    full = limited(back, "restore", "--from", str(place))
    assert (full.returncode, "Traceback" in full.stderr) == (1, False)
    assert not back.exists()
    assert not list(back.parent.iterdir())
