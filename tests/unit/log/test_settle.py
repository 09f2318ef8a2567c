from __future__ import annotations

import asyncio

import pytest

from cloche.drivers.sqlite import SqliteSink
from cloche.errors import NewerFormat, SinkUnavailable
from cloche.log.settle import held, settle
from cloche.log.ship import Shipper, hold_spools
from cloche.log.spool import open_spool
from cloche.ports import Filter
from cloche.settings import Log
from cloche.testing import make_record
from sinks import MemorySink

OS = Log(mode="os")


async def settled(place, patience_s=10.0):
    return await settle(
        place.spool, lambda: Shipper(place.spool, {"log": SqliteSink(place.path)}), place.reader, patience_s
    )


async def test_nothing_spooled_touches_nothing(place):
    assert await settled(place)
    assert not place.path.exists()


async def test_without_a_keeper_dead_and_living_spools_are_shipped(place, encode):
    dead, living = open_spool(place.spool, OS), open_spool(place.spool, OS)
    await dead.append(encode(make_record(1)))
    await living.append(encode(make_record(2)))
    await dead.close()
    assert await settled(place)
    assert await place.reader.count(Filter()) == 2
    assert not dead.folder.exists()
    await living.close()


async def test_what_is_shipped_and_deleted_meanwhile_is_no_failure(place):
    """Between listing a spool and looking at its last segment; here a link to nothing stands for one."""
    folder = place.spool / "0000000000000001-00"
    folder.mkdir(parents=True)
    (folder / "00000001.seg").symlink_to("gone")
    assert held(place.spool) == {}


async def test_with_a_keeper_it_waits_for_it(place, encode):
    spool = open_spool(place.spool, OS)
    sink = SqliteSink(place.path)
    await spool.append(encode(make_record(1)))
    waiting = asyncio.create_task(settled(place))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    stop = asyncio.Event()
    keeper = asyncio.create_task(Shipper(place.spool, {"log": sink}).run(stop))
    assert await waiting
    assert await place.reader.count(Filter()) == 1
    stop.set()
    await keeper
    await sink.close()
    await spool.close()


async def test_a_keeper_that_does_not_get_on_is_not_waited_for_for_ever(place, encode):
    spool = open_spool(place.spool, OS)
    sink = SqliteSink(place.path)
    await spool.append(encode(make_record(1)))
    assert not await settled(place, patience_s=0.1)
    await sink.close()
    await spool.close()


@pytest.mark.parametrize(
    "trouble",
    [
        SinkUnavailable(where="here", reason="it is away"),
        NewerFormat(what="what it keeps", found=2, known=1),
        OSError(24, "Too many open files"),
    ],
)
async def test_a_log_that_takes_nothing_now_is_no_failure_of_the_command(place, encode, trouble):
    spool, sink = open_spool(place.spool, OS), MemorySink()
    await spool.append(encode(make_record(1)))

    def fail():
        raise trouble

    sink.trouble = fail
    assert not await settle(place.spool, lambda: Shipper(place.spool, {"log": sink}), place.reader)
    assert sink.closed
    await spool.close()


async def test_a_command_leaves_to_the_keeper_what_other_sinks_still_need(place, encode):
    spool = open_spool(place.spool, OS)
    await spool.append(encode(make_record(1)))
    await spool.close()
    assert await settle(
        place.spool,
        lambda: Shipper(place.spool, {"log": SqliteSink(place.path)}, deletes=False, lock=hold_spools(place.spool)),
        place.reader,
    )
    assert await place.reader.count(Filter()) == 1
    assert spool.folder.exists()
