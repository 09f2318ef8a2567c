from __future__ import annotations

import sqlite3
import uuid

import msgspec

from cloche.drivers.sqlite import SqliteSink
from cloche.log.segments import segment_path
from cloche.log.spool import open_spool
from cloche.log.verify import verify
from cloche.ports import Mark, Position
from cloche.settings import Log
from cloche.testing import make_record


async def keep(place, records):
    sink = SqliteSink(place.path)
    await sink.write(records, Mark("a", Position(1, 1)))
    await sink.close()


async def test_a_log_that_is_as_it_was_written(place, encode):
    await keep(place, [make_record(1), make_record(2, personal=b"")])
    spool = open_spool(place.spool, Log(mode="os"))
    await spool.append(encode(make_record(3)))
    report = await verify(place.reader, place.spool)
    assert report.ok
    assert (report.records, report.erased, report.spooled) == (2, 1, 1)
    await spool.close()


async def test_a_changed_personal_part_is_named(place):
    records = [make_record(number) for number in range(5)]
    await keep(place, records)
    connection = sqlite3.connect(place.path)
    changed = records[3].personal.replace(b"subject-3", b"subject-4")
    connection.execute("update personal set data = ? where id = ?", (changed, records[3].id))
    connection.commit()
    connection.close()
    report = await verify(place.reader, place.spool)
    assert report.damaged == [str(uuid.UUID(bytes=records[3].id))]
    assert not report.ok


async def test_a_damaged_database_is_named(place):
    await keep(place, [make_record(number) for number in range(500)])
    data = bytearray(place.path.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = bytes(200)
    place.path.write_bytes(data)
    report = await verify(place.reader, place.spool)
    assert report.faults
    assert not report.ok


async def test_duplicates_are_named(place):
    record = make_record(1)

    class Twice:
        async def scan(self, wanted):
            yield record
            yield record

        async def faults(self):
            return []

    report = await verify(Twice(), place.spool)
    assert report.duplicates == [str(uuid.UUID(bytes=record.id))]


async def test_spools_are_read_too(place, encode):
    torn = open_spool(place.spool, Log(mode="os"))
    wrong = msgspec.structs.replace(make_record(2), personal_digest=bytes(32))
    for record in (make_record(1), wrong, make_record(3)):
        await torn.append(encode(record))
    await torn.append(b"no record")
    await torn.append(b"torn")
    await torn.close()
    path = segment_path(torn.folder, 1)
    path.write_bytes(path.read_bytes()[:-1])
    damaged = open_spool(place.spool, Log(mode="os"))
    for number in range(3):
        await damaged.append(encode(make_record(number)))
    await damaged.close()
    path = segment_path(damaged.folder, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = await verify(place.reader, place.spool)
    assert report.damaged == [str(uuid.UUID(bytes=wrong.id))]
    assert (report.spooled, report.torn, len(report.unread)) == (6, 1, 2)
    await place.ship()
    report = await verify(place.reader, place.spool)
    assert report.damaged == [str(uuid.UUID(bytes=wrong.id))]
    assert (report.records, len(report.quarantine), report.unread) == (5, 2, [])
