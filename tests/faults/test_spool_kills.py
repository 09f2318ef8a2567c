"""kill -9 of gateways and keepers at random moments: every acknowledged record is in the log exactly once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from spools import Place

from cloche.log.segments import spool_folders
from cloche.log.verify import verify

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
KILLS = 100 if PROVE else 3
CHILD = Path(__file__).with_name("spool_processes.py")


def start(*arguments):
    child = subprocess.Popen([sys.executable, CHILD, *map(str, arguments)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    return child, child.stdout.readline()


def kill(child, first, chance):
    """Kill the child after a while; return the ids it acknowledged."""
    time.sleep(chance.uniform(0.0, 0.1))
    child.kill()
    printed = first + child.stdout.read()
    child.stdout.close()
    child.wait()
    return [bytes.fromhex(line) for line in printed.decode().split("\n")[:-1] if len(line) == 32]


def lost_and_repeated(acknowledged, kept):
    """The check: which acknowledged ids are missing, and which ids are there more than once."""
    counts = Counter(kept)
    return [name for name in acknowledged if name not in counts], [name for name, count in counts.items() if count > 1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["disk", "os"])
async def test_killed_gateways_lose_nothing(tmp_path, mode, evidence):
    place, chance, acknowledged = Place(tmp_path), random.Random(1), []
    for _ in range(KILLS):
        acknowledged += kill(*start("append", tmp_path, mode), chance)
        state = await place.ship()
        assert state.quarantined == 0
    assert acknowledged
    assert lost_and_repeated(acknowledged, await place.ids()) == ([], [])
    assert spool_folders(place.spool) == []
    assert (await verify(place.reader, place.spool)).ok
    count = f"{KILLS} kills, {len(acknowledged):,} records"
    evidence(f"kill -9 of a process that only writes the spool, mode {mode}", count, "0 lost, 0 repeated")


@pytest.mark.timeout(900)
async def test_killed_gateways_and_keepers_lose_nothing(tmp_path, evidence):
    place, chance, acknowledged = Place(tmp_path), random.Random(2), []
    for number in range(KILLS):
        gateway = start("append", tmp_path, "os" if number % 2 else "disk")
        for _ in range(2):
            keeper, _ready = start("ship", tmp_path)
            time.sleep(chance.uniform(0.0, 0.3))
            keeper.kill()
            keeper.stdout.close()
            keeper.wait()
        acknowledged += kill(*gateway, chance)
    await place.ship()
    assert lost_and_repeated(acknowledged, await place.ids()) == ([], [])
    assert spool_folders(place.spool) == []
    assert (await verify(place.reader, place.spool)).ok
    count = f"{KILLS} and {2 * KILLS} kills, {len(acknowledged):,} records"
    evidence("kill -9 of one that writes the spool and of one that ships it", count, "0 lost, 0 repeated")


@pytest.mark.timeout(300)
async def test_the_check_finds_a_spool_that_acknowledges_before_it_writes(tmp_path):
    place, chance, acknowledged = Place(tmp_path), random.Random(3), []
    for _ in range(30):
        acknowledged += kill(*start("append", tmp_path, "hasty"), chance)
        await place.ship()
        lost, _ = lost_and_repeated(acknowledged, await place.ids())
        if lost:
            return
    pytest.fail("a spool that acknowledges before it writes was not found out")
