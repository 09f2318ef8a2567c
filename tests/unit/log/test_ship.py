from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest

from cloche.drivers.sqlite import SqliteSink
from cloche.errors import LogUnavailable, NewerFormat, SinkUnavailable
from cloche.log import batches, course, ship
from cloche.log.course import SinkState
from cloche.log.segments import segment_numbers, segment_path, spool_folders
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.ports import Filter, Mark, Position
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import RECORD_FORMAT

OS = Log(mode="os")


@pytest.fixture
async def sink(place):
    sink = SqliteSink(place.path)
    yield sink
    await sink.close()


async def spooled(place, encode, records, log=OS):
    """Leave the records in a spool whose writer is gone; return its folder."""
    spool = open_spool(place.spool, log)
    for record in records:
        await spool.append(encode(record))
    await spool.close()
    return spool.folder


async def test_dead_spools_are_shipped_and_deleted(place, encode, sink):
    records = [make_record(number) for number in range(10)]
    await spooled(place, encode, records[:5])
    await spooled(place, encode, records[5:])
    shipper = Shipper(place.spool, {"log": sink})
    assert await shipper.ship_once() == 10
    assert [record async for record in place.reader.scan(Filter())] == records
    assert spool_folders(place.spool) == []
    assert await sink.positions() == {}
    assert shipper.state == ship.ShipState([SinkState("log", shipped=10)])


async def test_a_living_spool_is_followed_and_its_sealed_segments_deleted(place, encode, sink):
    spool = open_spool(place.spool, Log(mode="os", segment_bytes=2000))
    shipper = Shipper(place.spool, {"log": sink})
    assert await shipper.ship_once() == 0
    for number in range(20):
        await spool.append(encode(make_record(number)))
        assert await shipper.ship_once() == 1
        assert await place.reader.count(Filter()) == number + 1
        assert len(segment_numbers(spool.folder)) == 1
    assert shipper.state.log.backlog_bytes == 0
    await spool.close()
    assert await shipper.ship_once() == 0
    assert spool_folders(place.spool) == []


@pytest.mark.parametrize("mode", ["disk", "os", "async"])
@pytest.mark.parametrize(
    ("operation", "segment_bytes"), [("write", 10**6), ("create", 1)], ids=["no bytes are left", "no files are left"]
)
async def test_a_full_disk_gets_back_all_that_is_shipped_while_nobody_calls(
    place, encode, sink, failing, mode, operation, segment_bytes
):
    files = failing(operation, lasts=10**9)
    spool = open_spool(place.spool, Log(mode=mode, segment_bytes=segment_bytes), files)
    shipper = Shipper(place.spool, {"log": sink})
    kept = [make_record(number) for number in range(4)]
    for round_, more in enumerate((kept[:2], kept[2:])):
        for record in more:
            await spool.append(encode(record))
        await appended(spool, 2 * round_ + 2)
        files.fails_from = 0
        await refused(spool, encode(make_record(9)))
        await shipper.ship_once()
        left = [segment_path(spool.folder, number) for number in segment_numbers(spool.folder)]
        assert [path.stat().st_size for path in left] == [0], "a full disk stays full"
        assert shipper.state.log.backlog_bytes == 0
        files.well()
    await spool.close()
    await shipper.ship_once()
    assert [record async for record in place.reader.scan(Filter())] == kept
    assert (shipper.state.quarantined, shipper.state.torn) == (0, 0)
    assert spool_folders(place.spool) == []


async def appended(spool, count):
    """Return once so many records are kept: in the mode `async` that is later."""
    async with asyncio.timeout(10):
        while spool.state.appended < count:
            await asyncio.sleep(0.005)


async def refused(spool, record):
    """Append a record that can't be kept, and return once that has failed."""
    with suppress(LogUnavailable):
        await spool.append(record)
    async with asyncio.timeout(10):
        while spool.state.healthy:
            await asyncio.sleep(0.005)


async def test_a_full_disk_with_what_is_not_shipped_loses_none_of_it(place, encode, failing):
    files = failing("write", lasts=10**9)
    spool, kept = open_spool(place.spool, OS, files), [make_record(1), make_record(2)]
    await spool.append(encode(kept[0]))
    files.fails_from = 0
    for _ in range(5):
        await refused(spool, encode(make_record(9)))
    assert segment_numbers(spool.folder) == [1, 2], "and nothing that piles up"
    files.well()
    await spool.append(encode(kept[1]))
    await spool.close()
    await place.ship()
    assert await place.ids() == [record.id for record in kept]


async def test_a_new_shipper_goes_on_where_the_last_one_was(place, encode):
    spool = open_spool(place.spool, OS)
    for number in range(5):
        await spool.append(encode(make_record(number)))
        state = await place.ship()
        assert state.log.shipped == 1
    await spool.close()
    assert len(await place.ids()) == 5


async def test_a_frame_that_is_being_written_is_waited_for(place, encode, sink):
    spool = open_spool(place.spool, OS)
    await spool.append(encode(make_record(1)))
    whole = segment_path(spool.folder, 1).read_bytes()
    shipper = Shipper(place.spool, {"log": sink})
    for size in range(17, len(whole)):
        segment_path(spool.folder, 1).write_bytes(whole[:size])
        assert await shipper.ship_once() == 0
    segment_path(spool.folder, 1).write_bytes(whole)
    assert await shipper.ship_once() == 1
    assert (shipper.state.torn, shipper.state.quarantined) == (0, 0)
    await spool.close()


async def test_a_torn_tail_is_counted_and_is_no_damage(place, encode):
    folder = await spooled(place, encode, [make_record(1), make_record(2)])
    with segment_path(folder, 1).open("r+b") as file:
        file.truncate(segment_path(folder, 1).stat().st_size - 1)
    state = await place.ship()
    assert (state.log.shipped, state.torn, state.quarantined) == (1, 1, 0)
    assert spool_folders(place.spool) == []
    assert not (place.spool / "quarantine").exists()


@pytest.mark.parametrize("where", ["middle", "sealed", "no record"])
async def test_damage_is_set_aside_and_the_rest_is_kept(place, encode, where, caplog):
    log = Log(mode="os", segment_bytes=1 if where == "sealed" else 10**6)
    records = [make_record(number) for number in range(3)]
    spool = open_spool(place.spool, log)
    for number, record in enumerate(records):
        await spool.append(b"\x93\x01\x02\x03" if where == "no record" and number == 1 else encode(record))
    await spool.close()
    path = segment_path(spool.folder, 2 if where == "sealed" else 1)
    data = bytearray(path.read_bytes())
    if where != "no record":
        data[-20 if where == "sealed" else len(data) // 2] ^= 1
        path.write_bytes(data)
    state = await place.ship()
    assert (state.log.shipped, state.torn, state.quarantined) == (2, 0, 1)
    assert await place.ids() == [records[0].id, records[2].id]
    (kept,) = (place.spool / "quarantine").glob("*.bin")
    assert kept.read_bytes() in bytes(data)
    assert msgspec.json.decode(kept.with_suffix(".json").read_bytes())["spool"] == spool.folder.name
    assert "are damaged" in caplog.text


async def test_damage_in_a_living_segment_is_set_aside_at_the_second_look(place, encode, sink):
    spool = open_spool(place.spool, OS)
    for number in range(3):
        await spool.append(encode(make_record(number)))
    path = segment_path(spool.folder, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    shipper = Shipper(place.spool, {"log": sink})
    assert await shipper.ship_once() == 1
    assert await shipper.ship_once() == 0
    await asyncio.sleep(batches._SUSPECT_S)
    assert await shipper.ship_once() == 1
    assert shipper.state.quarantined == 1
    await spool.append(encode(make_record(4)))
    assert await shipper.ship_once() == 1
    await spool.close()


async def test_records_of_a_later_cloche_stay_where_they_are_and_hold_up_nobody_else(place, encode, sink):
    newer = msgspec.structs.replace(make_record(2), format=RECORD_FORMAT + 1)
    folder = await spooled(place, encode, [make_record(1), newer, make_record(3)])
    await spooled(place, encode, [make_record(4)])
    shipper = Shipper(place.spool, {"log": sink})
    while await shipper.ship_once():
        pass
    assert shipper.state.log.shipped == 2
    assert "pip install --upgrade" in shipper.state.log.reason
    assert spool_folders(place.spool) == [folder]
    assert shipper.state.log.backlog_bytes > 0
    with pytest.raises(NewerFormat):
        batches.decode_record(msgspec.msgpack.encode([RECORD_FORMAT + 1, "all", "is", "different"]))


async def test_what_a_writer_took_back_does_not_hide_what_it_writes_next(place, encode, sink, failing):
    """The disk filled up in the middle of a batch, and the shipper had already seen the batch's first frames."""
    spool = open_spool(place.spool, OS, files := failing())
    await spool.append(encode(make_record(0)))
    size = segment_path(spool.folder, 1).stat().st_size
    files.short, files.operation, files.fails_from = True, "write", 0
    batch = [spool.append(encode(make_record(number))) for number in range(1, 9)]
    assert all(isinstance(result, LogUnavailable) for result in await asyncio.gather(*batch, return_exceptions=True))
    assert segment_path(spool.folder, 1).stat().st_size == size
    await sink.write([], Mark(spool.folder.name, Position(1, size + 1000)))
    late = make_record(100)
    await spool.append(encode(late))
    await Shipper(place.spool, {"log": sink}).ship_once()
    assert late.id in await place.ids()
    await spool.close()


class Flaky:
    """A sink that refuses the first writes."""

    def __init__(self, sink, refusals):
        self._sink = sink
        self.refusals = refusals
        self.asked = asyncio.Event()

    async def write(self, records, mark=None):
        self.asked.set()
        if self.refusals:
            self.refusals -= 1
            raise SinkUnavailable(where="here", reason="it is away")
        return await self._sink.write(records, mark)

    async def positions(self):
        return await self._sink.positions()

    async def retire(self, spool):
        await self._sink.retire(spool)


async def test_a_sink_that_is_away_loses_nothing_and_is_asked_again(place, encode, sink, monkeypatch):
    monkeypatch.setattr(ship, "_BACK_OFF_S", (0.001, 0.01))
    folder = await spooled(place, encode, [make_record(number) for number in range(5)])
    flaky = Flaky(sink, 3)
    shipper = Shipper(place.spool, {"log": flaky})
    with pytest.raises(SinkUnavailable):
        await shipper.ship_once()
    assert folder.exists()
    assert shipper.state.log.oldest_us == make_record(0).time_us
    stop = asyncio.Event()
    task = asyncio.create_task(shipper.run(stop))
    async with asyncio.timeout(10):
        while shipper.state.log.shipped < 5:
            await asyncio.sleep(0.005)
    stop.set()
    await task
    assert (shipper.state.log.reason, shipper.state.log.oldest_us, flaky.refusals) == (None, None, 0)
    assert not folder.exists()


async def test_stopping_drains_and_gives_up_on_a_sink_that_stays_away(place, encode, sink, monkeypatch):
    monkeypatch.setattr(ship, "_BACK_OFF_S", (0.001, 0.01))
    folder = await spooled(place, encode, [make_record(number) for number in range(50)])
    stop = asyncio.Event()
    stop.set()
    shipper = Shipper(place.spool, {"log": Flaky(sink, 10**9)})
    async with asyncio.timeout(10):
        await shipper.run(stop)
    assert folder.exists()
    assert "it is away" in shipper.state.log.reason
    assert shipper.state.log.reason.startswith("The log at log can't be used now"), "everybody may read it: no folder"
    monkeypatch.setattr(batches, "_BATCH_RECORDS", 7)
    await Shipper(place.spool, {"log": sink}).run(stop)
    assert len(await place.ids()) == 50
    assert not folder.exists()


async def test_a_busy_spool_does_not_keep_others_waiting(place, encode, sink, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH_RECORDS", 2)
    monkeypatch.setattr(course, "_BATCHES_A_TURN", 3)
    await spooled(place, encode, [make_record(number) for number in range(50)])
    await spooled(place, encode, [make_record(100)])
    shipper = Shipper(place.spool, {"log": sink})
    assert await shipper.ship_once() == 7
    while await shipper.ship_once():
        pass
    assert len(await place.ids()) == 51
