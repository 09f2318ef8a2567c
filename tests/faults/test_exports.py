"""An export that is killed goes on, and ends with the same content."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import msgspec
import pytest

from cloche.drivers import table_file
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.columns import pack_text
from cloche.log.export import begin, export, folder_of, unfinished
from cloche.log.search import Query
from cloche.testing import make_record
from cloche.values import Personal

PROVE = bool(os.environ.get("CLOCHE_PROVE"))
MANY = 20_000 if PROVE else 500
KILLS = 20 if PROVE else 1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A log of large records, so that a few are many pieces."""
    folder = tmp_path_factory.mktemp("home") / ".cloche"
    note = msgspec.json.encode([{"note": "a long story " * 8_000}])

    async def fill():
        sink = SqliteSink(folder / "log" / "inferences.db")
        for first in range(0, MANY, 100):
            large = Personal(input=pack_text(note), output=pack_text(b"[1]"))
            await sink.write([make_record(number, large) for number in range(first, first + 100)])
        await sink.close()

    asyncio.run(fill())
    return folder


def kill_in_the_middle(home, out):
    """Let `cloche log export` write a piece more, and kill it."""
    before = unfinished(out)
    command = [sys.executable, "-m", "cloche", "--home", home, "log", "export", "--out", out, "--resume"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        while unfinished(out) == before and running.poll() is None:
            time.sleep(0.002)
        running.kill()


async def write(home, out):
    reader = SqliteReader(home / "log" / "inferences.db")
    state = begin(out, Query(), resume=True, restart=False)
    return await export(reader, state, out, table_file(out.suffix))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"] if PROVE else [".jsonl"])
async def test_an_export_that_is_killed_goes_on_and_ends_with_the_same_content(home, tmp_path, suffix, evidence):
    straight, out = tmp_path / f"straight{suffix}", tmp_path / f"killed{suffix}"
    assert await write(home, straight) == MANY
    for _ in range(KILLS):
        kill_in_the_middle(home, out)
        assert not out.exists()
    assert 0 < json.loads((folder_of(out) / "state.json").read_bytes())["written"] < MANY
    assert await write(home, out) == MANY
    assert out.read_bytes() == straight.read_bytes()
    assert not folder_of(out).exists()
    evidence(f"an export to {suffix} that is killed goes on", f"{KILLS} kills", "the same content, byte by byte")
