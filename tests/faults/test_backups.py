"""Whoever makes a backup or restores one may be killed, or run out of disk, at any moment: nothing is half there."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from cloche.cli import cli as command_line
from cloche.drivers import open_reader, open_sink
from cloche.log.columns import pack_text
from cloche.ports import Filter
from cloche.testing import make_record
from cloche.values import Personal
from postgres import Postgres
from serving import CLOCHE, PROVE, environ

ROUNDS = 20 if PROVE else 1
SEED = 4
RECORDS = 12
ROOM_BLOCKS = 1500
"""Of 512 bytes: less than a piece, and than the log."""


class Installed(NamedTuple):
    """A home, and where its log is."""

    home: Path
    log: str

    @property
    def kind(self) -> str:
        return "SQLite" if self.log == "sqlite" else "PostgreSQL"

    @property
    def environ(self) -> dict[str, str]:
        return environ(CLOCHE_LOG_SINKS=self.log)

    def count(self) -> int:
        """Return how many records its log has."""
        return asyncio.run(open_reader(self.log, self.home / "log").count(Filter()))


Make = Callable[[Path], Installed]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """What makes an empty installation in a folder: the log of one is in its home, or in a database of its own."""
    server: Postgres | None = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    taken: list[str] = []

    def make(folder: Path) -> Installed:
        folder.mkdir()
        if server is None:
            return Installed(folder / ".cloche", "sqlite")
        taken.append(server.database())
        return Installed(folder / ".cloche", taken[-1])

    yield make
    for url in taken:
        request.getfixturevalue("postgres").empty(url)


@pytest.fixture(scope="module")
def filled(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """One whose log has some 12 MB, which is some pieces of a backup."""
    here = make(tmp_path_factory.mktemp("here") / "one")
    chance = random.Random(SEED)
    packed = [pack_text(b'["%s"]' % chance.randbytes(500_000).hex().encode()) for _ in range(RECORDS)]
    records = [make_record(number, Personal(input=text)) for number, text in enumerate(packed)]

    async def fill() -> None:
        sink = open_sink(here.log, here.home / "log")
        await sink.write(records)
        await sink.close()

    here.home.mkdir()
    asyncio.run(fill())
    return here


@pytest.fixture
def here(filled: Installed, clients: Path) -> Installed:
    return filled


def said(at: Installed, *words: str, fails: bool = False) -> str:
    """Run a command in this process, and return what it printed."""
    line = ["--home", str(at.home), *words]
    done = CliRunner().invoke(command_line, line, prog_name="cloche", env={"CLOCHE_LOG_SINKS": at.log})
    assert done.exit_code == fails, done.output
    return done.output


def killed(at: Installed, *words: str, when: Callable[[], object], after_s: float) -> None:
    """Run a command, and kill it a while after something is so."""
    line = [*CLOCHE, "--home", str(at.home), *words]
    with subprocess.Popen(line, env=at.environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as command:
        while command.poll() is None and not when():
            time.sleep(0.001)
        time.sleep(after_s)
        command.kill()


def limited(at: Installed, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that no file may be larger for than there is room."""
    line = ["sh", "-c", f'ulimit -f {ROOM_BLOCKS}; exec "$@"', "sh", *CLOCHE, "--home", str(at.home), *words]
    return subprocess.run(line, env=at.environ, capture_output=True, text=True, timeout=60)


def something_in(folder: Path) -> Callable[[], bool]:
    return lambda: folder.is_dir() and any(folder.iterdir())


def nothing_is_there(folder: Path) -> bool:
    return not folder.exists() or not any(folder.rglob("*.json"))


def test_killed_while_it_makes_a_backup(here: Installed, make: Make, tmp_path: Path, evidence) -> None:
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        place = tmp_path / f"place-{number}"
        begun = something_in(place / "blobs" / "sha256")
        killed(here, "backup", "--to", str(place), when=begun, after_s=chance.uniform(0, 0.02))
        there = list(place.glob("backups/*.json"))
        back = make(tmp_path / f"back-{number}")
        if not there:
            assert "None is complete there" in said(back, "restore", "--from", str(place), fails=True)
            assert not back.home.exists()
            said(here, "backup", "--to", str(place))
        assert "Everything is as it was written." in said(back, "restore", "--from", str(place))
        assert back.count() == RECORDS
        assert not any(path.stat().st_size for path in here.home.glob(".snapshot-*"))
    claim = f"kill -9 while a backup is made of a log in {here.kind}; the next one is whole"
    evidence(claim, f"{ROUNDS} kills", "torn backups restored 0")


def test_killed_while_it_restores_a_backup(here: Installed, make: Make, tmp_path: Path, evidence) -> None:
    chance = random.Random(SEED)
    place, seen = str(tmp_path / "place"), 0
    said(here, "backup", "--to", place)
    for number in range(ROUNDS):
        back = make(tmp_path / f"back-{number}")
        work = back.home.with_name(".cloche.restoring")
        begun = something_in(work) if back.log == "sqlite" or number % 2 else back.count
        killed(back, "restore", "--from", place, when=begun, after_s=chance.uniform(0, 0.3 if PROVE else 0.01))
        if back.home.exists():
            assert back.count() == RECORDS
            continue
        seen += 1
        assert "Everything is as it was written." in said(back, "restore", "--from", place)
        assert back.count() == RECORDS
        assert not work.exists()
    assert seen
    claim = f"kill -9 while a backup is restored of a log in {here.kind}; again restores it"
    evidence(claim, f"{ROUNDS} kills", "half homes 0")


def test_no_room_for_a_backup_or_a_home(here: Installed, make: Make, tmp_path: Path) -> None:
    place, back = tmp_path / "place", make(tmp_path / "back")
    full = limited(here, "backup", "--to", str(place))
    assert full.returncode == 1
    assert full.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in full.stderr
    assert nothing_is_there(place)
    if back.log != "sqlite":
        return  # what a restore needs room for is the server's
    said(here, "backup", "--to", str(place))
    full = limited(back, "restore", "--from", str(place))
    assert (full.returncode, "Traceback" in full.stderr) == (1, False)
    assert not back.home.exists()
    assert not list(back.home.parent.iterdir())
