"""What is done to a log behind its back shows: each record that was changed, taken away, put in or moved is named."""

from __future__ import annotations

import random
import sqlite3
import uuid
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers.sqlite import SqliteSink
from cloche.errors import NewerFormat, SinkUnavailable
from cloche.log.chain import SealedSink, envelope_digest, sealed
from cloche.log.reading import to_json
from cloche.log.sealing import Anchor, Head
from cloche.log.spool import open_spool
from cloche.log.subjects import PLAIN, SubjectReader
from cloche.log.verify import verify
from cloche.ports import Filter, Mark, Position
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import Exposure, Personal, Timings, Tombstone

COUNT = 60


def name(record):
    return str(uuid.UUID(bytes=record.id))


@pytest.fixture
async def records(place, encode):
    """Records of two gateways, shipped in several batches, in an order that is not that of their times."""
    made = [make_record(number) for number in range(COUNT)]
    random.Random(1).shuffle(made)
    spools = [open_spool(place.spool, Log(mode="os", segment_bytes=1500)) for _ in range(2)]
    for number, record in enumerate(made):
        await spools[number % 2].append(encode(record))
        if number % 7 == 0:
            await place.ship()
    for spool in spools:
        await spool.close()
    await place.ship()
    return sorted(made, key=lambda record: record.time_us)


def alter(place, *statement):
    with closing(sqlite3.connect(place.path)) as connection:
        connection.execute(*statement)
        connection.commit()


async def check(place, anchor=None):
    return await verify(place.reader, place.spool, anchor)


async def test_a_log_that_nobody_touched(place, records):
    report = await check(place)
    assert report.ok, report
    assert (report.records, report.seals.sealed, report.seals.unsealed) == (COUNT, COUNT, 0)
    assert len(report.anchor.chains) == 2
    assert sum(head.count for head in report.anchor.chains.values()) == COUNT
    assert (await check(place, report.anchor)).ok


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("outcome", "refused"),
        ("time_us", 1_767_225_600_000_999),
        ("time_us", 5),
        ("personal_digest", bytes(32)),
        ("timings_us", "[1,2,3,4,6]"),
        ("labels", '{"market":"de"}'),
        ("hurried", 1),
        ("release_digest", "sha256:1"),
    ],
)
async def test_a_changed_envelope_is_named(place, records, column, value):
    alter(place, f"update inference set {column} = ? where id = ?", (value, records[17].id))
    report = await check(place)
    assert not report.ok
    findings = report.seals
    assert (findings.changed, findings.removed, findings.inserted) == ([name(records[17])], [], [])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "garbage"),
        ("id", b"short"),
        ("time_us", "garbage"),
        ("release", b"\xff"),
        ("timings_us", "garbage"),
        ("timings_us", 7),
        ("labels", "[1]"),
        ("exposure", "[1]"),
        ("exposure", b"\xff"),
        ("personal_digest", "garbage"),
    ],
)
async def test_garbage_in_an_envelope_is_named_and_hides_nothing_else(place, records, column, value):
    alter(place, "update inference set outcome = 'refused' where id = ?", (records[50].id,))
    alter(place, f"update inference set {column} = ? where id = ?", (value, records[17].id))
    report = await check(place)
    findings = report.seals
    assert {name(records[17]), name(records[50])} <= {*findings.changed, *findings.removed}
    assert findings.sealed == COUNT - 2
    read = [to_json(record) async for record in place.reader.scan(Filter())]
    assert len(read) == COUNT


@pytest.mark.parametrize("value", ["garbage", 7, 1.5, ""])
async def test_garbage_in_the_place_of_a_personal_part_is_named(place, records, value):
    alter(place, "update personal set data = ? where id = ?", (value, records[17].id))
    report = await check(place)
    assert name(records[17]) in (*report.damaged, *report.unexplained)


@pytest.mark.parametrize(
    "change",
    [
        "update personal set subject = 'eve' where id = ?",
        "update personal set subject = null where id = ?",
        "update personal set subject = x'ff' where id = ?",
        "update personal set time_us = 5 where id = ?",
        "update inference set failed = 1 where id = ?",
    ],
)
async def test_a_column_by_which_a_personal_part_is_not_found_any_more_is_named(place, records, change):
    alter(place, change, (records[17].id,))
    report = await check(place)
    assert (report.damaged, report.seals.changed) == ([name(records[17])], [name(records[17])])
    alter(place, "delete from seal")
    assert (await check(place)).damaged == [name(records[17])], "a log that has no seals, too"


async def test_somebody_who_is_named_beside_what_was_erased_is_named(place, records):
    sink = SqliteSink(place.path)
    await sink.erase(records[:2], Tombstone(1, "ann", "ticket", 1))
    await sink.close()
    alter(place, "update personal set subject = 'ann' where id = ?", (records[1].id,))
    assert (await check(place)).seals.changed == [name(records[1])]


async def test_a_personal_part_that_nobody_has_erased_and_that_is_gone_is_named(place, records):
    sink = SqliteSink(place.path)
    await sink.erase(records[:2], Tombstone(1, "ann", "ticket", 1))
    await sink.close()
    alter(place, "delete from personal where id = ?", (records[17].id,))
    report = await check(place)
    assert (report.erased, report.unexplained) == (3, [name(records[17])])


@pytest.mark.parametrize("column", ["start", "since_us", "previous", "ids", "links", "spool"])
async def test_garbage_in_a_seal_does_not_end_the_check(place, records, column):
    for value in ("garbage", 7, b"\xff", 1.5, ""):
        alter(place, f"update seal set {column} = ? where start = (select max(start) from seal)", (value,))
        report = await check(place)
        assert report.records == COUNT
        if column != "since_us":  # which says where to look, and proves nothing
            assert not report.ok, value


async def test_a_personal_part_that_was_changed_with_its_digest_is_named(place, records):
    forged = make_record(17, Personal(subject="somebody else"))
    values = (forged.personal, "somebody else", records[17].id)
    alter(place, "update personal set data = ?, subject = ? where id = ?", values)
    alter(place, "update inference set personal_digest = ? where id = ?", (forged.personal_digest, records[17].id))
    report = await check(place)
    assert (report.damaged, report.seals.changed) == ([], [name(records[17])])


@pytest.mark.parametrize("which", [[0], [COUNT - 1], [20, 21, 22], range(COUNT)])
async def test_records_that_were_taken_away_are_named(place, records, which):
    for number in which:
        alter(place, "delete from inference where id = ?", (records[number].id,))
        alter(place, "delete from personal where id = ?", (records[number].id,))
    report = await check(place)
    assert sorted(report.seals.removed) == sorted(name(records[number]) for number in which)
    assert (report.seals.changed, report.seals.inserted) == ([], [])
    assert not report.ok


async def test_a_record_that_was_put_in_is_named(place, records):
    forged = make_record(30)
    sink = SqliteSink(place.path)
    await sink.write([forged])
    await sink.close()
    report = await check(place)
    assert (report.seals.inserted, report.seals.removed, report.seals.changed) == ([name(forged)], [], [])


async def test_records_that_changed_their_places_are_named(place, records):
    alter(place, "update inference set time_us = time_us + 1 where id = ?", (records[3].id,))
    alter(place, "update inference set time_us = time_us - 1 where id = ?", (records[4].id,))
    assert sorted((await check(place)).seals.changed) == sorted([name(records[3]), name(records[4])])


async def test_two_that_are_swapped_in_a_seal_are_named(place, records):
    with closing(sqlite3.connect(place.path)) as connection:
        query = "select rowid, ids from seal where length(ids) >= 48 limit 1"
        row, ids = connection.execute(query).fetchone()
        swapped = ids[16:32] + ids[:16] + ids[32:]
        connection.execute("update seal set ids = ? where rowid = ?", (swapped, row))
        connection.commit()
    changed = (await check(place)).seals.changed
    assert sorted(changed) == sorted(str(uuid.UUID(bytes=each)) for each in (ids[:16], ids[16:32]))


async def test_a_seal_that_was_taken_away_with_its_records_leaves_a_gap(place, records):
    with closing(sqlite3.connect(place.path)) as connection:
        row, ids = connection.execute("select rowid, ids from seal where start > 0 order by start limit 1").fetchone()
        connection.execute("delete from seal where rowid = ?", (row,))
        for start in range(0, len(ids), 16):
            connection.execute("delete from inference where id = ?", (ids[start : start + 16],))
        connection.commit()
    report = await check(place)
    assert len(report.seals.broken) == 1
    assert "are missing" in report.seals.broken[0]


async def test_a_seal_that_was_made_anew_does_not_fit_the_next(place, records):
    """Somebody changes a record, and makes its seal again, but not those that follow."""
    (record,) = [each async for each in place.reader.scan(Filter()) if each.id == records[0].id]
    forged = msgspec.structs.replace(record, outcome="refused")
    seals = [seal async for seal in place.reader.seals()]
    (seal,) = [each for each in seals if record.id in each.ids]
    held = {each.id: each async for each in place.reader.scan(Filter())} | {record.id: forged}
    its = [held[seal.ids[at : at + 16]] for at in range(0, len(seal.ids), 16)]
    before = [each for each in seals if each.spool == seal.spool and each.end == seal.start]
    links = sealed(its, seal.spool, before[0] if before else None).links
    alter(place, "update inference set outcome = 'refused' where id = ?", (record.id,))
    alter(place, "update seal set links = ? where spool = ? and start = ?", (links, seal.spool, seal.start))
    report = await check(place)
    assert report.seals.changed == []
    assert "do not follow" in report.seals.broken[0]


async def test_what_is_consistent_shows_by_an_anchor_alone(place, records):
    """Whoever takes away the end of a chain, seal and all, leaves no trace in the log itself."""
    anchor = (await check(place)).anchor
    with closing(sqlite3.connect(place.path)) as connection:
        row, ids = connection.execute('select rowid, ids from seal order by "end" desc limit 1').fetchone()
        connection.execute("delete from seal where rowid = ?", (row,))
        for start in range(0, len(ids), 16):
            connection.execute("delete from inference where id = ?", (ids[start : start + 16],))
        connection.commit()
    assert (await check(place)).ok
    report = await check(place, anchor)
    assert not report.ok
    assert len(report.seals.broken) == 1
    assert "anchor" in report.seals.broken[0]


async def test_an_anchor_of_long_ago_is_still_met(place, records, encode):
    anchor = (await check(place)).anchor
    spool = open_spool(place.spool, Log(mode="os"))
    await spool.append(encode(make_record(COUNT)))
    await spool.close()
    await place.ship()
    report = await check(place, anchor)
    assert report.ok
    assert len(report.anchor.chains) == 3
    wrong = Anchor(1, {spool: Head(head.count, "0" * 64) for spool, head in anchor.chains.items()})
    assert len((await check(place, wrong)).seals.broken) == 2


async def test_what_was_erased_stays_green(place, records):
    sink = SqliteSink(place.path)
    tombstone = Tombstone(time_us=1, by="me", reason="asked for")
    assert await sink.erase(records[:10], tombstone) == 10
    await sink.scrub()
    await sink.close()
    report = await check(place)
    assert report.ok, report
    assert (report.erased, report.seals.sealed) == (10, COUNT)


async def test_records_from_before_there_were_seals_are_counted_and_no_fault(place, encode):
    sink = SqliteSink(place.path)
    await sink.write([make_record(number) for number in range(3)])
    await sink.close()
    alter(place, "drop table seal")
    assert (await check(place)).seals.unsealed == 3
    spool = open_spool(place.spool, Log(mode="os"))
    await spool.append(encode(make_record(10)))
    await spool.close()
    await place.ship()
    report = await check(place)
    assert report.ok, report
    assert (report.seals.sealed, report.seals.unsealed) == (1, 3)


async def test_a_seal_has_the_order_of_the_spool(place):
    made = [make_record(number) for number in (3, 1, 2)]
    seal = sealed(made, "a", None)
    assert seal.ids == b"".join(record.id for record in made)
    assert (seal.since_us, seal.until_us) == (made[1].time_us, made[0].time_us)
    assert sealed(made[::-1], "a", None).links[-32:] != seal.links[-32:]
    assert sealed(made, "b", None).links != seal.links


async def test_a_chain_that_somebody_else_has_made_longer_is_asked_for_again(place):
    sink = SqliteSink(place.path)
    one, other = SealedSink(sink), SealedSink(sink)
    await one.write([make_record(1)], Mark("a", Position(1, 10)))
    await other.write([make_record(2)], Mark("a", Position(1, 20)))
    with pytest.raises(SinkUnavailable, match="somebody else"):
        await one.write([make_record(3)], Mark("a", Position(1, 30)))
    assert (await sink.positions())["a"] == Position(1, 20), "all or nothing"
    assert await one.write([make_record(3)], Mark("a", Position(1, 30))) == 1
    await sink.close()
    report = await check(place)
    assert report.ok, report
    assert report.seals.sealed == 3


async def test_a_seal_of_a_newer_format_is_refused_by_name_and_nothing_is_chained_to_it(place, records):
    spool = uuid.uuid4().hex
    sink = SqliteSink(place.path)
    await SealedSink(sink).write([make_record(100)], Mark(spool, Position(1, 10)))
    alter(place, "update seal set format = 2 where spool = ?", (spool,))
    report = await check(place)
    assert not report.ok
    assert f"a seal of spool {spool} has format 2" in report.faults[0]
    with pytest.raises(NewerFormat):
        await SealedSink(sink).write([make_record(101)], Mark(spool, Position(1, 20)))
    await sink.close()


async def test_a_log_whose_subjects_are_hashed_is_checked_all_the_same(place, records):
    alter(place, "update inference set rows = 2 where id = ?", (records[5].id,))
    report = await verify(SubjectReader(place.reader, lambda: PLAIN), place.spool)
    assert report.seals.changed == [name(records[5])]


async def test_a_record_that_was_shipped_twice_is_sealed_twice(place):
    record = make_record()
    sink = SqliteSink(place.path)
    for spool in ("a", "b"):
        await SealedSink(sink).write([record], Mark(spool, Position(1, 1)))
    await sink.close()
    assert (await check(place)).ok


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    model=texts,
    variant=st.none() | texts,
    release=st.integers(0, 2**53),
    timings=st.builds(Timings, *[st.integers(0, 2**40)] * 5),
    labels=st.dictionaries(st.sampled_from(["market", "brand"]), texts),
    exposure=st.none() | st.builds(Exposure, texts, texts, st.integers(0, 9), st.floats(0, 1), texts),
    shadows=st.none() | st.binary(min_size=16, max_size=16),
    hurried=st.booleans(),
)
def test_a_digest_is_that_of_what_comes_back_from_the_spool_and_knows_every_field(**envelope):
    record = make_record(personal=b"", **envelope)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record))
    assert envelope_digest(again) == envelope_digest(record)
    assert envelope_digest(msgspec.structs.replace(record, personal=b"erased")) == envelope_digest(record)
    for field in ("format", "time_us", "caller", "rows", "shadows", "hurried"):
        changed = {"caller": "x", "shadows": b"1" * 16, "hurried": not record.hurried}.get(field, 12345)
        assert envelope_digest(msgspec.structs.replace(record, **{field: changed})) != envelope_digest(record)
