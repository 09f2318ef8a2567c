"""A kernel that refuses: each call that a spool makes fails once, in a real process. No record is acknowledged wrongly.

`strace` injects the faults, so that they come where the kernel's would, with everything above as it is in use.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from spools import Place

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
SAMPLE = 6
SEED = 27
CHILD = Path(__file__).with_name("spool_processes.py")
CALLS = (
    *("openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "rename", "link", "linkat", "unlink"),
    *("unlinkat", "mkdir", "rmdir"),
)
ERRORS = ("EIO", "ENOSPC", "EINTR")
_SAID = re.compile("Error|can't open file")
"""An exception; or what Python says where it is its own script that can't be opened."""
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")


class Fault(NamedTuple):
    """The n-th call of a name fails, in each thread that makes so many: strace counts by threads."""

    call: str
    number: int
    error: str


def traced(folder, *options, mode="disk"):
    """Run the process under strace; return the ids that it acknowledged, and how it ended."""
    command = ["strace", "-f", "-qq", *options, sys.executable, "-B", CHILD, "turns", folder, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return [bytes.fromhex(line) for line in done.stdout.split()], done


async def meet(fault, folder, mode="disk"):
    """Run the process in a new folder and let it meet a fault; return the ids acknowledged, lost, and kept twice."""
    folder.mkdir()
    how = f"inject={fault.call}:error={fault.error}:when={fault.number}"
    acknowledged, done = traced(folder, "-o", os.devnull, "-e", how, mode=mode)
    assert done.returncode == 0 or _SAID.search(done.stderr), (fault, done.stderr)
    place = Place(folder)
    await place.ship()
    kept = Counter(await place.ids())
    shutil.rmtree(folder)
    lost = [name for name in acknowledged if name not in kept]
    return acknowledged, lost, [name for name, count in kept.items() if count > 1]


def calls_in(folder):
    """Return the calls about files in a folder: of each name, the numbers among all calls of that name in a thread."""
    log = folder / "calls"
    acknowledged, done = traced(folder, "-y", "-o", log, "-e", f"trace={','.join(CALLS)}")
    assert len(acknowledged) == 16, done.stderr
    counts, found = Counter(), set()
    for line in log.read_text().splitlines():
        if call := _LINE.match(line):
            thread, name, arguments = call.groups()
            counts[thread, name] += 1
            if str(folder) in arguments:
                found.add((name, counts[thread, name]))
    return sorted(found)


def can_trace():
    command = ["strace", "-qq", "-o", os.devnull, "-e", "inject=mkdir:error=EIO", "true"]
    return shutil.which("strace") and subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not there, or may not trace")


@pytest.mark.timeout(3600)
async def test_no_call_that_fails_makes_an_acknowledgement_wrong(tmp_path, evidence):
    (tmp_path / "sound").mkdir()
    faults = [Fault(*call, error) for call in calls_in(tmp_path / "sound") for error in ERRORS]
    chosen = faults if PROVE else random.Random(SEED).sample(faults, SAMPLE)
    outcomes = Counter()
    for number, fault in enumerate(chosen):
        acknowledged, lost, twice = await meet(fault, tmp_path / str(number))
        assert (lost, twice) == ([], []), fault
        outcomes["answered"] += len(acknowledged)
        outcomes["all well"] += len(acknowledged) == 16
    names = ", ".join(f"{count} of {call}" for call, count in Counter(fault.call for fault in chosen).items())
    evidence(
        f"{', '.join(ERRORS)} from each call of a process in its spool and log in turn: no acknowledgement is wrong",
        f"{len(chosen)} of {len(faults)} faults ({names})",
        f"0 of {outcomes['answered']:,} acknowledged records lost or repeated; {outcomes['all well']} times all were",
    )


async def test_a_spool_that_hears_of_no_failure_is_found_out(tmp_path):
    for number in range(1, 8):
        _, lost, _ = await meet(Fault("pwrite64", number, "EIO"), tmp_path / str(number), "deaf")
        if lost:
            return
    pytest.fail("a spool that hears of no failure was not found out")
