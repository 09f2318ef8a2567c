from __future__ import annotations

import asyncio
import errno
import shutil
import threading

import pytest

from cloche.errors import LogUnavailable
from cloche.log import spool as spool_module
from cloche.log.segments import Frame, locked, read_segment, segment_numbers, segment_path, spool_folders, written_bytes
from cloche.log.spool import open_spool
from cloche.log.writing import Files
from cloche.settings import Log

MODES = ["disk", "os", "async"]
both = pytest.mark.parametrize("mode", ["disk", "os"])


def contents(folder):
    return [
        piece.payload
        for number in segment_numbers(folder)
        for piece in read_segment(segment_path(folder, number), folder.name)
        if isinstance(piece, Frame)
    ]


async def fill(spool, records):
    await asyncio.gather(*(spool.append(record) for record in records))


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_appended_is_in_the_spool_in_order(tmp_path, mode):
    spool = open_spool(tmp_path, Log(mode=mode))
    records = [b"%d" % number for number in range(500)]
    for start in range(0, 500, 50):
        await fill(spool, records[start : start + 50])
    if mode != "async":
        assert contents(spool.folder) == records
    await spool.close()
    assert contents(spool.folder) == records
    assert (spool.state.appended, spool.state.bytes_waiting, spool.state.healthy) == (500, 0, True)


@both
async def test_the_lock_is_held_until_it_is_closed_and_the_folder_is_its_own(tmp_path, mode):
    first, second = open_spool(tmp_path, Log(mode=mode)), open_spool(tmp_path, Log(mode=mode))
    assert spool_folders(tmp_path) == [first.folder, second.folder]
    with locked(first.folder) as gone:
        assert not gone
    await first.close()
    await first.close()
    with locked(first.folder) as gone:
        assert gone
    with pytest.raises(LogUnavailable, match="closed"):
        await first.append(b"late")
    await second.close()


@both
async def test_a_full_segment_is_sealed_and_the_next_begun(tmp_path, mode):
    spool = open_spool(tmp_path, Log(mode=mode, segment_bytes=1000))
    records = [bytes([number]) * 400 for number in range(10)]
    for record in records:
        await spool.append(record)
    await spool.close()
    assert segment_numbers(spool.folder) == [1, 2, 3, 4]
    assert contents(spool.folder) == records


@both
async def test_a_cancelled_caller_does_not_disturb_the_others(tmp_path, mode):
    spool = open_spool(tmp_path, Log(mode=mode))
    tasks = [asyncio.ensure_future(spool.append(b"%d" % number)) for number in range(10)]
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for place, result in enumerate(done) if place != 3] == [None] * 9
    assert isinstance(done[3], asyncio.CancelledError)
    await spool.close()
    assert len(contents(spool.folder)) == 10


@both
async def test_closing_keeps_what_is_waiting(tmp_path, mode):
    spool = open_spool(tmp_path, Log(mode=mode))
    tasks = [asyncio.ensure_future(spool.append(b"%d" % number)) for number in range(100)]
    await asyncio.sleep(0)
    await spool.close()
    assert await asyncio.gather(*tasks) == [None] * 100
    assert len(contents(spool.folder)) == 100


async def test_what_comes_during_a_sync_shares_the_next_one(tmp_path):
    class Slow(Files):
        syncs, gate = 0, threading.Event()

        def fdatasync(self, file):
            self.syncs += 1
            assert self.gate.wait(10)
            super().fdatasync(file)

    files = Slow()
    spool = open_spool(tmp_path, Log(mode="disk"), files)
    first = asyncio.ensure_future(spool.append(b"first"))
    while files.syncs == 0:
        await asyncio.sleep(0.001)
    others = [asyncio.ensure_future(spool.append(b"%d" % number)) for number in range(50)]
    await asyncio.sleep(0)
    assert not first.done()
    files.gate.set()
    await asyncio.gather(first, *others)
    assert files.syncs == 2
    await spool.close()


@both
@pytest.mark.parametrize("when_full", ["refuse", "drop"])
async def test_a_full_disk_refuses_or_drops_and_recovers(tmp_path, failing, mode, when_full):
    files = failing("write", 3, lasts=10**9, short=True)
    spool = open_spool(tmp_path, Log(mode=mode, when_full=when_full), files)
    files.short = False
    await spool.append(b"before")
    files.short = True
    files.fails_from = 0
    results = await asyncio.gather(*(spool.append(b"during") for _ in range(5)), return_exceptions=True)
    if when_full == "refuse":
        assert {str(result) for result in results} == {str(LogUnavailable(reason="the disk is full"))}
    else:
        assert results == [None] * 5
    assert (spool.state.reason, spool.state.dropped) == ("the disk is full", 5 if when_full == "drop" else 0)
    files.well()
    await spool.append(b"after")
    assert spool.state.healthy
    await spool.close()
    assert contents(spool.folder) == [b"before", b"after"]


@both
async def test_only_a_full_disk_drops(tmp_path, failing, mode):
    files = failing("write", 0, lasts=10**9, error=errno.EIO)
    spool = open_spool(tmp_path, Log(mode=mode, when_full="drop"), files)
    with pytest.raises(LogUnavailable, match="reports an error"):
        await spool.append(b"record")
    files.well()
    await spool.close()


@both
async def test_short_writes_are_completed(tmp_path, failing, mode):
    spool = open_spool(tmp_path, Log(mode=mode), failing(short=True))
    await fill(spool, [b"x" * 1000, b"y" * 1000])
    await spool.close()
    assert contents(spool.folder) == [b"x" * 1000, b"y" * 1000]


async def test_a_failed_sync_is_repeated_in_a_new_segment_and_never_on_the_old(tmp_path, failing):
    files = failing("fdatasync", 1)
    spool = open_spool(tmp_path, Log(mode="disk"), files)
    await spool.append(b"synced")
    old = segment_path(spool.folder, 1)
    await spool.append(b"synced at the second try")
    size = old.stat().st_size
    await spool.append(b"later")
    assert old.stat().st_size == size
    assert segment_numbers(spool.folder) == [1, 2]
    assert spool.state.healthy
    await spool.close()
    assert contents(spool.folder)[-2:] == [b"synced at the second try", b"later"]


async def test_two_failed_syncs_refuse_and_leave_nothing_to_pile_up(tmp_path, failing):
    files = failing("fdatasync", 0, lasts=10**9)
    spool = open_spool(tmp_path, Log(mode="disk"), files)
    for _ in range(5):
        with pytest.raises(LogUnavailable, match="reports an error"):
            await spool.append(b"record")
    assert segment_numbers(spool.folder) == []
    files.well()
    await spool.append(b"record")
    await spool.close()
    assert contents(spool.folder) == [b"record"]


@both
async def test_an_idle_spool_finds_out_that_the_disk_is_well_again(tmp_path, failing, mode, monkeypatch):
    monkeypatch.setattr(spool_module, "_PROBE_S", 0.01)
    files = failing("write", 0, lasts=10**9)
    spool = open_spool(tmp_path, Log(mode=mode), files)
    with pytest.raises(LogUnavailable):
        await spool.append(b"record")
    await asyncio.sleep(0.05)
    assert not spool.state.healthy
    files.well()
    async with asyncio.timeout(10):
        while not spool.state.healthy:
            await asyncio.sleep(0.005)
    assert not (spool.folder / "probe").exists()
    await spool.close()


async def test_async_counts_what_it_lost(tmp_path, failing):
    files = failing("write", 0, lasts=10**9)
    spool = open_spool(tmp_path, Log(mode="async"), files)
    await fill(spool, [b"record"] * 3)
    async with asyncio.timeout(10):
        while spool.state.healthy:
            await asyncio.sleep(0.005)
    assert (spool.state.lost, spool.state.appended) == (3, 0)
    files.well()
    await spool.append(b"kept")
    await spool.close()
    assert contents(spool.folder) == [b"kept"]


async def test_async_does_not_let_a_burst_fill_the_memory(tmp_path):
    spool = open_spool(tmp_path, Log(mode="async"))
    for _ in range(40):
        await spool.append(bytes(100_000))
        assert spool.state.bytes_waiting < 2 * 1024 * 1024
    await spool.close()
    assert len(contents(spool.folder)) == 40


class Counting(Files):
    """Files that count what is written to segments."""

    def __init__(self):
        self.writes = 0

    def write(self, file, data, offset):
        self.writes += 1
        return super().write(file, data, offset)


@pytest.fixture
async def counted(tmp_path, mode, monkeypatch):
    """A spool with a segment, whose batches are closed by nothing but silence; and its files."""
    monkeypatch.setattr(spool_module, "_COLLECT_S", 60)
    monkeypatch.setattr(spool_module, "_COLLECT_RECORDS", 10**9)
    files = Counting()
    spool = open_spool(tmp_path, Log(mode=mode), files)
    await spool.append(b"the first makes a segment")
    files.writes = 0
    yield spool, files
    await spool.close()


async def crowd(spool, records):
    """Append one record in every turn of the loop."""
    kept = []
    for _ in range(records):
        kept.append(spool.append(b"record"))
        await asyncio.sleep(0)
    return kept


@both
async def test_records_of_a_few_turns_share_a_write(counted):
    spool, files = counted
    kept = await crowd(spool, 20)
    assert not any(caller.done() for caller in kept)
    await asyncio.gather(*kept)
    assert files.writes == 1


@both
async def test_a_batch_has_a_largest_size(counted, monkeypatch):
    monkeypatch.setattr(spool_module, "_COLLECT_RECORDS", 10)
    spool, files = counted
    await asyncio.gather(*await crowd(spool, 100))
    assert files.writes > 1


@both
async def test_nobody_waits_for_ever_for_a_crowd(counted, monkeypatch):
    monkeypatch.setattr(spool_module, "_COLLECT_S", 0.01)
    spool, files = counted
    first, *_ = kept = await crowd(spool, 1)
    async with asyncio.timeout(10):
        while not first.done():
            kept += await crowd(spool, 1)
    await asyncio.gather(*kept)
    assert files.writes > 0


async def test_on_the_disk_a_segment_has_room_that_is_no_damage_and_goes_when_it_is_sealed(tmp_path):
    records = [b"one", b"ends with zeros\0\0", b"\0"]
    spool = open_spool(tmp_path / "spools", Log(mode="disk"))
    await fill(spool, records)
    path = segment_path(spool.folder, 1)
    assert path.stat().st_size > 1024 * 1024
    killed = shutil.copytree(spool.folder, tmp_path / "killed" / spool.folder.name)
    pieces = list(read_segment(segment_path(killed, 1), spool.folder.name))
    assert [piece.payload for piece in pieces] == records, "no damage, torn or otherwise"
    await spool.append(b"more")
    await spool.close()
    assert contents(spool.folder) == [*records, b"more"]
    assert path.stat().st_size == written_bytes(path) < 1000


async def test_a_record_larger_than_the_room_is_kept(tmp_path):
    spool = open_spool(tmp_path, Log(mode="disk"))
    records = [b"small", b"l" * 3_000_000, b"small again"]
    for record in records:
        await spool.append(record)
    await spool.close()
    assert contents(spool.folder) == records
