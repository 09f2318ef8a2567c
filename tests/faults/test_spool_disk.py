"""Torn and flipped bytes, full disks and failing syncs, at every place there is."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from spool_processes import FILLS
from spools import FailingFiles, Place

from cloche.errors import LogUnavailable
from cloche.log.segments import HEADER_BYTES, segment_numbers, segment_path
from cloche.log.spool import open_spool
from cloche.log.verify import verify
from cloche.settings import Log
from cloche.testing import make_record

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
encode = msgspec.msgpack.Encoder().encode


async def written(place, records, **log):
    spool = open_spool(place.spool, Log(mode="os", **log))
    for record in records:
        await spool.append(encode(record))
    await spool.close()
    return spool.folder


@pytest.fixture
def places(tmp_path):
    """Fresh places, one after the other."""

    def make():
        for number in range(10**6):
            (tmp_path / str(number)).mkdir()
            yield Place(tmp_path / str(number))

    return make()


@pytest.mark.timeout(900)
async def test_a_tail_torn_at_any_byte_costs_only_the_record_that_was_being_written(places, evidence):
    records = [make_record(number) for number in range(3)]
    frame = len(encode(records[2])) + 12
    for missing in range(1, frame, 1 if PROVE else 41):
        place = next(places)
        path = segment_path(await written(place, records), 1)
        os.truncate(path, path.stat().st_size - missing)
        state = await place.ship()
        assert await place.ids() == [record.id for record in records[:2]]
        assert (state.torn, state.quarantined) == (1, 0)
    count = f"{len(range(1, frame, 1 if PROVE else 41))} places"
    evidence("a tail torn at any byte costs only the record that was being written", count, "no other record lost")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sealed", [False, True], ids=["last segment", "sealed segment"])
async def test_a_byte_flipped_anywhere_else_costs_its_record_alone_and_is_set_aside(places, sealed, evidence):
    records = [make_record(number) for number in range(6)]
    chance = random.Random(4)
    for _ in range(300 if PROVE else 8):
        place = next(places)
        folder = await written(place, records, segment_bytes=1200 if sealed else 10**6)
        ends = [segment_path(folder, number).stat().st_size for number in segment_numbers(folder)]
        path = segment_path(folder, 1)
        data = bytearray(path.read_bytes())
        last = 0 if sealed else len(encode(records[-1])) + 12
        flipped = chance.randrange(ends[0] - last)
        data[flipped] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        state = await place.ship()
        assert len(await place.ids()) == (6 if flipped < HEADER_BYTES else 5)
        assert (state.torn, state.quarantined) == (0, 1)
    claim = f"a bit flipped in {'a sealed' if sealed else 'the last'} segment costs its record alone, and is set aside"
    evidence(claim, f"{300 if PROVE else 8} flips", "no other record lost")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["disk", "os"])
@pytest.mark.parametrize("operation", ["create", "write", "fdatasync", "ftruncate", "sync_folder", "any"])
@pytest.mark.parametrize("lasts", [1, 2, 5])
async def test_whatever_call_fails_no_acknowledged_record_is_lost(places, mode, operation, lasts):
    """The n-th call fails, and some after it; n grows until nothing fails any more."""
    fails_from, step = 0, 1 if PROVE else 7
    while True:
        files = FailingFiles(operation, fails_from, lasts, errno.ENOSPC, short=True)
        place = next(places)
        await _check_one_failure(place, files, mode)
        if not files.failed:
            return
        fails_from += step


@pytest.mark.parametrize("mode", ["disk", "os"])
async def test_a_full_disk_is_well_again_once_all_is_shipped(tmp_path, mode, evidence):
    """The newest segment takes the whole disk, nothing else can be written, and nobody calls any more."""
    place = Place(tmp_path)
    small = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=4m none {place.spool} && exec "$@"', "sh")
    if subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here: it takes root")
    child = Path(__file__).with_name("spool_processes.py")
    line = [*small, sys.executable, str(child), "fill", str(tmp_path), mode]
    said = subprocess.run(line, stdout=subprocess.PIPE, text=True, timeout=90).stdout
    rounds = [text.split() for text in said.split("well")]
    assert [len(names) > 40 for names in rounds] == [True] * FILLS + [False], "it stays full"
    acknowledged = [bytes.fromhex(name) for names in rounds for name in names]
    assert await place.ids() == acknowledged
    report = await verify(place.reader, place.spool)
    assert report.ok
    assert (report.records, report.quarantine) == (len(acknowledged), [])
    count = f"{FILLS} times full, {len(acknowledged):,} records"
    evidence(f"a full disk is well again once all is shipped, mode {mode}", count, "0 lost, 0 repeated")


async def _check_one_failure(place, files, mode):
    spool = None
    while spool is None:
        try:
            spool = open_spool(place.spool, Log(mode=mode, segment_bytes=3000), files)
        except OSError:
            assert files.failed
    acknowledged, refused = [], 0
    for turn in range(6):
        records = [make_record(10 * turn + number) for number in range(4)]
        answers = await asyncio.gather(*(spool.append(encode(record)) for record in records), return_exceptions=True)
        assert all(answer is None or isinstance(answer, LogUnavailable) for answer in answers)
        acknowledged += [record.id for record, answer in zip(records, answers, strict=True) if answer is None]
        refused += sum(answer is not None for answer in answers)
        if turn == 2:
            await place.ship()
    assert refused == 0 or files.failed
    await spool.close()
    state = await place.ship()
    kept = await place.ids()
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)
    assert state.quarantined == 0 or files.operation in ("ftruncate", "any")
