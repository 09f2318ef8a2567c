"""Several sinks at once: each has its own course, and a spool goes when all of them have it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.errors import LogInUse, SinkUnavailable
from cloche.log import batches, course, ship
from cloche.log.segments import segment_numbers, segment_path, spool_folders
from cloche.log.ship import Shipper, hold_spools
from cloche.log.spool import open_spool
from cloche.ports import Position
from cloche.settings import Log
from cloche.testing import make_record
from sinks import MemorySink

OS = Log(mode="os")
EXAMPLES = 1000 if os.environ.get("CLOCHE_PROVE") == "1" else 15


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(ship, "_BACK_OFF_S", (0.001, 0.01))
    monkeypatch.setattr(ship, "_POLL_S", 0.005)
    monkeypatch.setattr(ship, "_TIDY_S", 0.005)


@pytest.fixture
async def log():
    return MemorySink()


@pytest.fixture
async def stream():
    return MemorySink()


async def spooled(place, encode, numbers, log=OS):
    """Leave records in a spool whose writer is gone; return its folder and their ids."""
    spool, ids = open_spool(place.spool, log), []
    for number in numbers:
        record = make_record(number)
        ids.append(record.id)
        await spool.append(encode(record))
    await spool.close()
    return spool.folder, ids


async def until(happened):
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.002)


async def test_a_segment_goes_when_every_sink_has_it(place, encode, log, stream):
    folder, ids = await spooled(place, encode, range(20), Log(mode="os", segment_bytes=1000))
    shipper = Shipper(place.spool, {"log": log, "stream": stream})
    stream.trouble = lambda: "before"
    segments = segment_numbers(folder)
    assert len(segments) > 3
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            await shipper.ship_once()
    assert log.ids == ids
    assert segment_numbers(folder) == segments
    ours, theirs = shipper.state.sinks
    assert (ours.backlog_bytes, ours.oldest_us, ours.reason) == (0, None, None)
    assert theirs.oldest_us == make_record(0).time_us
    assert theirs.backlog_bytes > 1000
    stream.trouble = lambda: None
    await shipper.ship_once()
    assert stream.ids == ids
    assert spool_folders(place.spool) == []
    assert (log.marks, stream.marks) == ({}, {})
    assert [sink.shipped for sink in shipper.state.sinks] == [20, 20]


@pytest.mark.parametrize("trouble", ["before", "after", "bug", "hangs"])
async def test_a_sink_in_trouble_neither_stops_nor_slows_the_others(place, encode, log, stream, trouble, caplog):
    living = open_spool(place.spool, OS)
    if trouble == "hangs":
        stream.free.clear()
    else:
        stream.trouble = lambda: trouble
    shipper, stop = Shipper(place.spool, {"log": log, "stream": stream}), asyncio.Event()
    running = asyncio.create_task(shipper.run(stop))
    ids = []
    for number in range(30):
        record = make_record(number)
        ids.append(record.id)
        await living.append(encode(record))
        await until(lambda: len(log.kept) == len(ids))
    if trouble != "hangs":
        assert shipper.state.sinks[1].reason
    stream.trouble = lambda: None
    stream.free.set()
    await until(lambda: len(stream.kept) == 30)
    await living.close()
    stop.set()
    await running
    assert log.ids == stream.ids == ids
    assert spool_folders(place.spool) == []
    assert all(sink.reason is None for sink in shipper.state.sinks)


@pytest.mark.parametrize("trouble", [OSError(24, "Too many open files"), ValueError("what nobody thought of")])
async def test_what_keeps_it_from_tidying_is_said_once_and_shipping_goes_on(
    place, encode, log, monkeypatch, caplog, trouble
):
    folder, ids = await spooled(place, encode, range(3))
    shipper, stop = Shipper(place.spool, {"log": log}), asyncio.Event()
    tries = []

    async def fail():
        tries.append(1)
        raise trouble

    with monkeypatch.context() as failing:
        failing.setattr(shipper, "_tidy", fail)
        running = asyncio.create_task(shipper.run(stop))
        await until(lambda: len(tries) > 3 and log.ids == ids)
        assert folder.exists()
    await until(lambda: not folder.exists())
    assert not running.done()
    stop.set()
    await running
    assert caplog.text.count("can't be deleted now") == 1
    assert ("Traceback" in caplog.text) == isinstance(trouble, ValueError)


async def test_stopping_does_not_wait_for_a_sink_that_stays_away(place, encode, log, stream):
    folder, ids = await spooled(place, encode, range(5))
    stream.trouble = lambda: "before"
    shipper, stop = Shipper(place.spool, {"log": log, "stream": stream}), asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await shipper.run(stop)
    assert log.ids == ids
    assert folder.exists()


async def test_stopping_asks_a_sink_that_hangs_once_and_no_more(place, encode, log, stream, monkeypatch):
    monkeypatch.setattr(ship, "_DRAIN_S", 0.01)
    await spooled(place, encode, range(5))

    def hang():
        time.sleep(0.02)
        return "before"

    stream.trouble = hang
    shipper, stop = Shipper(place.spool, {"log": log, "stream": stream}), asyncio.Event()
    stop.set()
    await shipper.run(stop)
    assert (len(log.kept), stream.lookups) == (5, 1)


async def test_damage_is_set_aside_once_whoever_comes_upon_it(place, encode, log, stream, caplog):
    folder, ids = await spooled(place, encode, range(5))
    path = segment_path(folder, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[:-1])
    shipper = Shipper(place.spool, {"log": log, "stream": stream})
    await shipper.ship_once()
    assert log.ids == stream.ids == [ids[0], ids[1], ids[3]]
    assert (shipper.state.quarantined, shipper.state.torn) == (1, 1)
    assert len(list((place.spool / "quarantine").glob("*.bin"))) == 1
    assert caplog.text.count("are damaged") == 1
    assert caplog.text.count("was cut short") == 1
    assert spool_folders(place.spool) == []


async def test_a_sink_that_is_added_begins_with_what_the_spools_still_hold(place, encode, log, stream):
    living = open_spool(place.spool, Log(mode="os", segment_bytes=500))
    ids = []
    for number in range(10):
        record = make_record(number)
        ids.append(record.id)
        await living.append(encode(record))
    await Shipper(place.spool, {"log": log}).ship_once()
    held = len(segment_numbers(living.folder))
    assert held == 1
    await Shipper(place.spool, {"log": log, "stream": stream}).ship_once()
    assert stream.ids
    assert stream.ids == ids[-len(stream.ids) :]
    await living.close()


async def test_a_sink_that_is_taken_off_the_list_holds_nothing_any_more(place, encode, log, stream):
    folder, _ = await spooled(place, encode, range(3))
    stream.trouble = lambda: "before"
    with pytest.raises(SinkUnavailable):
        await Shipper(place.spool, {"log": log, "stream": stream}).ship_once()
    assert folder.exists()
    await Shipper(place.spool, {"log": log}).ship_once()
    assert not folder.exists()


async def test_whoever_ships_to_the_log_alone_leaves_the_rest_to_the_keeper(place, encode, log, stream):
    folder, ids = await spooled(place, encode, range(3))
    await Shipper(place.spool, {"log": log}, deletes=False).ship_once()
    assert log.ids == ids
    assert folder.exists()
    await Shipper(place.spool, {"log": log, "stream": stream}).ship_once()
    assert (stream.ids, len(log.kept)) == (ids, 3)
    assert not folder.exists()


async def test_the_positions_of_other_hosts_are_left_alone(place, encode, log):
    log.marks["a spool of another host"] = Position(3, 300)
    await spooled(place, encode, range(3))
    await Shipper(place.spool, {"log": log}).ship_once()
    assert log.marks == {"a spool of another host": Position(3, 300)}


async def test_a_keeper_that_dies_before_a_spool_is_gone_leaves_no_position_behind(place, encode, log, monkeypatch):
    folder, _ = await spooled(place, encode, range(3))

    def die(path):
        raise RuntimeError("killed")

    with monkeypatch.context() as dying:
        dying.setattr(shutil, "rmtree", die)
        with pytest.raises(RuntimeError):
            await Shipper(place.spool, {"log": log}).ship_once()
    assert folder.exists()
    assert log.marks == {}
    await Shipper(place.spool, {"log": log}).ship_once()
    assert not folder.exists()
    assert (len(log.kept), log.marks) == (3, {})


async def test_a_spool_stays_until_every_sink_has_forgotten_it(place, encode, log, stream):
    folder, _ = await spooled(place, encode, range(3))
    shipper = Shipper(place.spool, {"log": log, "stream": stream})
    answers = iter([None, None, "before"])  # positions, write, retire
    stream.trouble = lambda: next(answers, None)
    await shipper.ship_once()
    assert folder.exists()
    await shipper.ship_once()
    assert not folder.exists()
    assert stream.marks == {}


async def test_one_ships_at_a_time(place):
    held = hold_spools(place.spool)
    with pytest.raises(LogInUse):
        hold_spools(place.spool)
    await Shipper(place.spool, {}, lock=held).close()
    await Shipper(place.spool, {}, lock=hold_spools(place.spool)).close()


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 7), sinks=st.integers(1, 3), broken=st.floats(0, 0.6))
async def test_whatever_fails_each_sink_has_every_record_once_and_in_order(seed, batch, sinks, broken):
    """Sinks fail before or after they have kept a batch, keepers die and begin again, and writers come and go."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_BATCH_RECORDS", batch)
        patch.setattr(course, "_BATCHES_A_TURN", 2)
        root, encode = Path(folder), msgspec.msgpack.encode
        stores = {str(number): MemorySink(looks=number == 0) for number in range(sinks)}
        for store in stores.values():
            store.trouble = lambda: chance.choice(["before", "after"]) if chance.random() < broken else None
        writers = [open_spool(root, Log(mode="os", segment_bytes=chance.choice([1, 900, 10**6]))) for _ in range(2)]
        written: dict[str, list[bytes]] = {writer.folder.name: [] for writer in writers}
        shipper = Shipper(root, stores)
        for number in range(40):
            writer = chance.choice(writers)
            record = make_record(number, labels={"spool": writer.folder.name})
            await writer.append(encode(record))
            written[writer.folder.name].append(record.id)
            if chance.random() < 0.3:
                await asyncio.gather(shipper.ship_once(), return_exceptions=True)
            if chance.random() < 0.1:
                shipper = Shipper(root, stores)
        for writer in writers:
            await writer.close()
        for store in stores.values():
            store.trouble = lambda: None
        while await shipper.ship_once():
            pass
        assert spool_folders(root) == []
        for store in stores.values():
            kept = {name: [record.id for record in store.kept if record.labels["spool"] == name] for name in written}
            assert kept == written
            assert store.marks == {}
