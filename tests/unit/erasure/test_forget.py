"""Somebody is forgotten on every host, whatever is under way there; others and holds stay."""

from __future__ import annotations

import asyncio
import os
import re
import time
from functools import partial

import msgspec
import pytest

from cloche.drivers import TABLE_FILES, table_file
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.erasure.forget import LATE_US
from cloche.errors import NotHeld
from cloche.log.export import State, export, folder_of, unfinished
from cloche.log.reading import to_json
from cloche.log.search import Query
from cloche.log.subjects import Subjects
from cloche.log.verify import verify
from cloche.runtimes.worker.logfile import log_of
from cloche.values import Tombstone, is_erased


async def test_a_stream_that_lags_keeps_spools_and_gets_what_is_left_of_them(host, person):
    host.stream.trouble = lambda: "before"
    ann, bob = person("ann-marker"), person("bob", 1)
    await host.record(ann, bob)
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann-marker", "me", "ticket")
        assert (report.order, report.erased, report.done) == (1, 1, True)
        assert {place.place: place.erased for place in report.places if place.erased} == {"log": 1, "spools": 1}
        assert "hands records on" in next(place.left[0] for place in report.places if place.place == "stream")
        assert host.bytes_of("ann-marker") == []
        host.stream.trouble = lambda: None
        await host.shipper.ship_once()
    assert {record.id for record in host.stream.kept} == {ann.id, bob.id}
    assert [is_erased(record.personal) for record in host.stream.kept] == [True, False]
    assert (await verify(SqliteReader(host.log), host.spool)).ok
    said = to_json((await host.kept())[0])["erasure"]
    assert (said["by"], said["reason"], said["order"]) == ("me", "ticket", 1)


async def test_a_segment_that_a_gateway_writes_ends_and_is_not_left_out(host, person):
    host.stream.trouble = lambda: "before"
    spool = await host.record(person("ann-marker"), alive=True)
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann-marker", "me", "ticket")
    assert report.done, report
    assert host.bytes_of("ann-marker") == []
    await spool.append(msgspec.msgpack.encode(person("bob", 1)))
    await spool.close()
    assert len(list(spool.folder.glob("*.seg"))) == 2


async def test_other_hosts_carry_an_order_out_by_its_mark_alone(host, another, person):
    for each in (host, another):
        await each.record(person("ann-marker"), person("bob", 1))
    async with host.forgetting() as forgetting:
        assert (await forgetting.forget("ann-marker", "me", "ticket")).done
    assert another.bytes_of("ann-marker") != []
    async with another.forgetting() as forgetting:
        report = await forgetting.repeat()
        assert (report.erased, report.done) == (1, True)
        assert await forgetting.repeat() is None, "it is done"
        assert (await forgetting.repeat(everything=True)).erased == 0
    assert another.bytes_of("ann-marker") == []
    assert [is_erased(record.personal) for record in await another.kept()] == [True, False]


async def test_what_was_restored_is_forgotten_again(host, person):
    await host.record(person("ann-marker"))
    async with host.forgetting() as forgetting:
        await forgetting.forget("ann-marker", "me", "ticket")
    host.log.unlink()
    await host.record(person("ann-marker"))
    async with host.forgetting() as forgetting:
        assert (await forgetting.repeat(everything=True)).erased == 1
    assert host.bytes_of("ann-marker") == []


async def test_a_host_that_can_not_read_what_it_has_done_does_all_of_it_again(host, person):
    await host.record(person("ann-marker"))
    async with host.forgetting() as forgetting:
        await forgetting.forget("ann-marker", "me", "ticket")
        (host.folder / "erasures.json").write_text("garbage")
        assert (await forgetting.repeat()).done
        assert await forgetting.repeat() is None


async def test_an_order_is_about_what_was_recorded_before_it(host, person):
    late = person("ann", time_us=2**62)
    host.stream.trouble = lambda: "before"
    await host.record(person("ann"), late)
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann", "me", "ticket")
        assert {place.place: place.erased for place in report.places if place.erased} == {"log": 1, "spools": 1}
        assert (await forgetting.repeat(everything=True)).erased == 0
    assert [is_erased(record.personal) for record in await host.kept()] == [True, False]


async def test_who_is_held_stays_until_released(host, person):
    await host.record(person("ann"), person("ann", 1, "pricing"))
    async with host.forgetting() as forgetting:
        held = await forgetting.hold("ann", "lawyer", "case 3", "pricing")
        refused = await forgetting.forget("ann", "me", "ticket", "pricing")
        assert (refused.order, refused.erased, refused.held) == (None, 0, [held])
        partly = await forgetting.forget("ann", "me", "ticket")
        assert (partly.erased, partly.held) == (1, [held])
        assert [is_erased(record.personal) for record in await host.kept()] == [True, False]
        assert (await forgetting.repeat(everything=True)).erased == 0, "it was held when the order came"
        with pytest.raises(NotHeld):
            await forgetting.release("bob", "me", "why")
        await forgetting.release("ann", "lawyer", "over")
        assert (await forgetting.forget("ann", "me", "ticket")).erased == 1


async def test_names_that_are_kept_as_hmac_are_found_by_the_plain_one(host_of, person):
    subjects = Subjects(b"key")
    host = host_of(subjects)
    await host.record(person(subjects.recorded("ann")), person("ann", 1), person(subjects.recorded("bob"), 2))
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann", "me", "ticket")
        assert (report.erased, report.places[0].left) == (2, [])
    assert [is_erased(record.personal) for record in await host.kept()] == [True, True, False]
    host.subjects = Subjects(b"another key")
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("bob", "me", "ticket")
        assert (report.erased, report.done) == (0, True)
        assert "another log.subject_key" in report.places[0].left[0]


async def test_a_log_that_is_away_is_said_and_the_keeper_tries_again(host, person, monkeypatch):
    await host.record(person("ann-marker"))
    async with host.forgetting() as forgetting:
        monkeypatch.setattr("cloche.erasure.records._PATIENCE_S", 0.0)
        records = forgetting._records
        ship, records._ship = records._ship, None
        report = await forgetting.forget("ann-marker", "me", "ticket")
        assert not report.done
        records._ship = ship
        monkeypatch.undo()
        said = [word async for word in forgetting.keep_up()]
        assert said == ["1 records erased up to order 1"]
    assert host.bytes_of("ann-marker") == []


async def test_answers_and_the_output_of_workers_go_too(host, person):
    ann = person("ann-marker")
    await host.record(ann)
    key, digest, owner = b"k" * 32, b"d" * 32, b"o" * 16
    await host.keys.claim(key, digest, owner, 10)
    await host.keys.settle(key, owner, b'"of ann-marker"', ann.id)
    for version in ("1.0.0", "0.1.0-that-stood-in"):
        output = log_of(host.workers, "toy", version)
        output.parent.mkdir(parents=True)
        output.write_text("about ann-marker\n")
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann-marker", "me", "ticket")
    assert {place.place: place.erased for place in report.places if place.erased} == {
        "log": 1,
        "kept answers": 1,
        "output of workers": 2,
    }
    assert host.bytes_of("ann-marker") == []


async def test_a_call_that_was_under_way_is_forgotten_once_it_is_recorded(host, person):
    async with host.forgetting() as forgetting:
        began_us = time.time_ns() // 1000
        assert (await forgetting.forget("ann-marker", "me", "ticket")).erased == 0
        for ahead_us in (100_000_000, LATE_US):
            late = person("ann-marker", 1, time_us=began_us)
            await host.record(late, person("bob", 2, time_us=began_us))
            await host.keys.claim(late.id * 2, b"d" * 32, b"o" * 16, 10)
            await host.keys.settle(late.id * 2, b"o" * 16, b'"of ann-marker"', late.id)
            assert await forgetting.repeat() is None, "it is not time yet"
            host.ahead_us = ahead_us
            assert (await forgetting.repeat()).erased == 1
            assert host.bytes_of("ann-marker") == []
            host.ahead_us += 100_000_000
        assert await forgetting.repeat() is None, "no call takes so long"
    assert [is_erased(record.personal) for record in await host.kept()] == [True, False] * 2


async def test_an_export_that_was_under_way_loses_them_once_it_is_complete(host, person):
    await host.record(person("ann-marker"))
    out = host.folder / "all.jsonl"
    async with host.forgetting() as forgetting:
        await forgetting.forget("nobody", "me", "to ship")
        host.exports.note(out)
        reader = SqliteReader(host.log)
        await export(reader, State(Query(), 1), out.with_name("half.jsonl"), table_file(".jsonl"))
        folder_of(out).mkdir()
        report = await forgetting.forget("ann-marker", "me", "ticket")
        assert "not complete" in next(place.left[0] for place in report.places if place.place == "exports")
        folder_of(out).rmdir()
        out.with_name("half.jsonl").rename(out)
        host.ahead_us = LATE_US
        assert (await forgetting.repeat()).done
    assert host.bytes_of("ann-marker") == []


@pytest.mark.parametrize("suffix", TABLE_FILES)
async def test_an_export_that_goes_on_after_the_last_look_loses_who_was_forgotten_meanwhile(host, person, suffix):
    await host.record(person("ann-marker"), person("bob", 1), person("eve", 2), person("hal", 3, "pricing"))
    begun_us = time.time_ns() // 1000 - 3_600_000_000
    out, kind = host.folder / f"all{suffix}", table_file(suffix)
    async with host.forgetting() as forgetting:
        await forgetting.forget("nobody", "me", "to ship")
        await forgetting.hold("eve", "lawyer", "case 3")
        await forgetting.hold("hal", "lawyer", "case 4", "pricing")
        reader = SqliteReader(host.log)
        look = partial(host.exports.leave_out_forgotten, host.orders, begun_us, suffix)
        found = []

        async def cut_short(file):
            raise InterruptedError

        async def last_look(file):
            found.append(await look(file))

        with pytest.raises(InterruptedError):
            await export(reader, State(Query(), begun_us), out, kind, last_look=cut_short)
        await forgetting.forget("ann-marker", "me", "ticket")
        await forgetting.forget("eve", "me", "ticket")
        assert (await forgetting.forget("hal", "me", "ticket")).order is not None, "but for the model that is held"
        await export(reader, unfinished(out), out, kind, last_look=last_look)
        assert found == [1]
        assert host.bytes_of("ann-marker") == []
        assert len(rows(out)) == 4
        assert re.findall(r"secret of (\w+)", str(rows(out))) == ["bob", "eve", "hal"]
        recent = partial(host.exports.leave_out_forgotten, host.orders, time.time_ns() // 1000, suffix)
        assert await recent(out) == 0, "the keeper looks into it"


async def test_who_was_forgotten_by_an_earlier_cloche_is_not_looked_for_once_more(host, person):
    await host.record(person("ann"))
    async with host.forgetting() as forgetting:
        await forgetting.forget("ann", "me", "ticket")
        (host.folder / "erasures.json").write_text('{"done":1,"format":1}')
        host.ahead_us = 2 * LATE_US
        assert await forgetting.repeat() is None


class Slow(SqliteSink):
    """A sink that has read a batch and is a while writing it."""

    def __init__(self, path):
        super().__init__(path)
        self.begun, self.goes_on = asyncio.Event(), asyncio.Event()

    async def write(self, records, mark=None):
        self.begun.set()
        await self.goes_on.wait()
        return await super().write(records, mark)


async def test_a_sink_gets_nothing_of_them_that_it_had_read_before(host, person):
    host.stream = Slow(host.folder / "other.db")
    await host.record(person("ann-marker"))
    async with host.forgetting() as forgetting:
        shipping = asyncio.create_task(host.shipper.ship_once())
        await host.stream.begun.wait()
        forgetting._records._ship = None
        order = asyncio.create_task(forgetting.forget("ann-marker", "me", "ticket"))
        await asyncio.wait([order], timeout=0.3)
        host.stream.goes_on.set()
        assert (await order).done
        await shipping
    assert host.bytes_of("ann-marker") == []


async def test_answers_go_though_another_host_was_quicker_with_the_log_that_they_share(host, person):
    ann, held, bob = person("ann"), person("ann", 1, "pricing"), person("bob", 2)
    await host.record(ann, held, bob)
    async with host.forgetting() as forgetting:
        await forgetting.forget("nobody", "me", "to ship")
        await forgetting.hold("ann", "lawyer", "case 3", "pricing")
        for record in (ann, held, bob):
            await host.keys.claim(record.id * 2, bytes(32), bytes(16), 10)
            await host.keys.settle(record.id * 2, bytes(16), b"answer", record.id)
        settle = forgetting._records.settle

        async def settled():
            await next(iter(host.shipper.sinks.values())).erase([ann], Tombstone(1, "another host", "ticket", 3))
            return await settle()

        forgetting._records.settle = settled
        report = await forgetting.forget("ann", "me", "ticket")
        assert {place.place: place.erased for place in report.places if place.erased} == {"kept answers": 1}
        assert [await host.keys.claim(each.id * 2, bytes(32), bytes(16), 10) is None for each in (ann, held, bob)] == [
            *(True, False, False),
        ]


async def test_an_order_is_carried_out_once_though_the_schedule_comes_in_between(host, person):
    await host.record(person("ann"))
    async with host.forgetting() as forgetting:
        given = forgetting._orders.give

        async def slowly(*order):
            made = await given(*order)
            repeating.append(asyncio.create_task(forgetting.repeat()))
            await asyncio.sleep(0)
            return made

        repeating = []
        forgetting._orders.give = slowly
        assert (await forgetting.forget("ann", "me", "ticket")).erased == 1
        assert await repeating[0] is None


async def test_every_hold_that_matters_is_said(host, person):
    await host.record(person("ann"))
    async with host.forgetting() as forgetting:
        one = await forgetting.hold("ann", "lawyer", "case 3", "pricing")
        other = await forgetting.hold("ann", "lawyer", "case 4")
        refused = await forgetting.forget("ann", "me", "ticket")
        assert (refused.order, refused.erased, refused.held) == (None, 0, [one, other])


@pytest.mark.parametrize("suffix", TABLE_FILES)
async def test_files_that_were_exported_lose_the_person_and_nothing_else(host, person, suffix, tmp_path):
    async with host.forgetting() as forgetting:
        await host.record(person("ann-marker"), person("bob", 1), person(None, 2))
        await forgetting.forget("nobody", "me", "to ship")
        out, again = host.folder / f"all{suffix}", tmp_path / f"again{suffix}"
        host.exports.note(out)
        host.exports.note(host.folder / "never-written.csv")
        await export(SqliteReader(host.log), State(Query(), 1), out, table_file(suffix))
        mode = out.stat().st_mode
        report = await forgetting.forget("ann-marker", "me", "ticket")
        assert next(place for place in report.places if place.place == "exports").erased == 1
        assert host.bytes_of("ann-marker") == []
        await export(SqliteReader(host.log), State(Query(), 1), again, table_file(suffix))
    assert out.stat().st_mode == mode
    if suffix != ".jsonl":  # its lines have who erased it, too
        assert rows(out) == rows(again)
    assert len(rows(out)) == 3


@pytest.mark.parametrize("suffix", TABLE_FILES)
async def test_a_file_that_was_exported_before_retention_loses_the_person(host, person, suffix):
    ann, bob = person("ann-marker"), person("bob", 1)
    later = person("ann-marker", 2, time_us=time.time_ns() // 1000 + 60_000_000)
    sink = SqliteSink(host.log)
    await sink.write([ann, bob, later])
    out = host.folder / f"all{suffix}"
    host.exports.note(out)
    await export(SqliteReader(host.log), State(Query(), 1), out, table_file(suffix))
    await sink.erase([ann], Tombstone(1, "retention", "retention of 90d"))
    await sink.close()
    async with host.forgetting() as forgetting:
        report = await forgetting.forget("ann-marker", "me", "ticket")
    assert {place.place: place.erased for place in report.places if place.erased} == {"exports": 1}
    assert len(rows(out)) == 3


async def test_a_link_that_a_worker_has_put_in_the_place_of_its_output_leads_nowhere(host, person):
    await host.record(person("ann"))
    precious, output = host.folder / "precious.db", log_of(host.workers, "toy", "1.0.0")
    precious.write_text("all of it")
    output.parent.mkdir(parents=True)
    output.symlink_to(precious)
    os.mkfifo(output.with_name("output.log.1"))
    async with host.forgetting() as forgetting:
        assert (await forgetting.forget("ann", "me", "ticket")).done
    assert precious.read_text() == "all of it"


def rows(file):
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(file).to_pylist()
    lines = file.read_text().splitlines()
    return lines[1:] if file.suffix == ".csv" else lines
