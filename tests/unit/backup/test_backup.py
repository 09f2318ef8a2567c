"""A backup is whole or not there, and so is a home that is restored from one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from cloche.backup.making import Maker
from cloche.backup.place import Backup, BackupPlace
from cloche.backup.restoring import check_empty, dumped, restore_settings, restored
from cloche.drivers import open_objects, open_reader, open_sink
from cloche.drivers.postgres import PostgresDumping
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.drivers.sqlite.snapshot import snapshot
from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.errors import (
    BackupDamaged,
    BackupNotFound,
    HomeNotEmpty,
    LogCorrupt,
    NewerFormat,
    OrdersDiffer,
    RestoreUnderWay,
    StoreUnavailable,
)
from cloche.home import Home
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.log.verify import verify
from cloche.ports import Filter
from cloche.registry.release import Reason, Releases
from cloche.settings import Log
from cloche.testing import make_record

OUTPUT_OF_A_WORKER = "run/workers/output.log"


def silent(count, what):
    """Be told how far it is, and say nothing."""


def quiet(spool_root, sink):
    return Shipper(spool_root, {"log": sink}, deletes=False)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "here" / ".cloche"
    folder.mkdir(parents=True)
    (folder.parent / "cloche.toml").write_text("[server]\nport = 8123\n")
    (folder / OUTPUT_OF_A_WORKER).parent.mkdir(parents=True)
    (folder / OUTPUT_OF_A_WORKER).write_text("made again by whoever runs")
    (folder / ".gitignore").write_text("*\n")
    return Home(folder)


@pytest.fixture
def place(tmp_path):
    return BackupPlace(open_objects((tmp_path / "backups").as_uri()))


@pytest.fixture
def target(tmp_path):
    return Home(tmp_path / "there" / ".cloche")


async def filled(home, records=3, left=2):
    """Put records into the log of a home, some more into a spool, a key and a release."""
    spool = open_spool(home.spool, Log(mode="os", segment_bytes=2000))
    sink = SqliteSink(home.log)
    kept = [make_record(number, release=2) for number in range(records + left)]
    for record in kept[:records]:
        await spool.append(msgspec.msgpack.encode(record))
    await quiet(home.spool, sink).ship_once()
    for record in kept[records:]:
        await spool.append(msgspec.msgpack.encode(record))
    await spool.close()
    await sink.close()
    keys = SqliteKeys(home.idempotency)
    await keys.claim(bytes(32), bytes(32), bytes(16), 10)
    await keys.settle(bytes(32), bytes(16), b"[1]", kept[0].id)
    await keys.close()
    await Releases(open_objects(home.registry.as_uri())).write({}, Reason("ada"), after=0)
    return kept


async def make(home, place, registry=None):
    return await Maker(home, place, snapshot, silent).make("0.1.0", registry, ())


async def bring_back(place, target, wanted=None):
    backup = await place.read(wanted)
    async with restored(place, backup, target, silent):
        await restore_settings(place, backup, target)
    return backup


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_a_home_comes_back_with_all_that_it_had(home, place, target):
    kept = await filled(home)
    made = await make(home, place)
    assert made.backup.newest_release == 1
    assert await bring_back(place, target) == made.backup
    assert (target.path.parent / "cloche.toml").read_text() == "[server]\nport = 8123\n"
    assert not target.run.exists()
    assert (target.path / "registry/releases/000000000001.json").exists()
    reader = SqliteReader(target.log)
    assert await reader.count(Filter()) == 3
    sink = SqliteSink(target.log)
    shipper = quiet(target.spool, sink)
    assert await shipper.ship_once() == 2, "what the log has is not shipped once more"
    await sink.close()
    assert [record async for record in reader.scan(Filter())] == kept
    report = await verify(reader, target.spool)
    assert report.ok
    assert (report.newest_release, report.torn) == (2, 0)
    keys = SqliteKeys(target.idempotency)
    claim = await keys.claim(bytes(32), bytes(32), b"another 16 bytes", 10)
    assert claim is not None
    assert claim.answer == b"[1]"
    await keys.close()


async def test_what_two_backups_have_in_common_lies_there_once(home, place):
    await filled(home)
    first, second = await make(home, place), await make(home, place)
    assert first.written > 10_000
    assert second.written == 0
    assert await place.ids() == [first.backup.id, second.backup.id]
    assert await place.read() == second.backup


async def test_a_writer_goes_on_while_the_log_is_copied(home, place, target, tmp_path):
    await filled(home, records=200, left=0)
    sink = SqliteSink(home.log)
    with snapshot(home.log, tmp_path) as copy:
        assert await sink.write([make_record(number) for number in range(1000, 1010)]) == 10
        (tmp_path / "copy.db").write_bytes(copy.read())
    await sink.close()
    assert await SqliteReader(tmp_path / "copy.db").count(Filter()) == 200
    assert await SqliteReader(home.log).count(Filter()) == 210
    assert not list(tmp_path.glob(".snapshot-*")), "the copy has no name, so nothing of it can stay"


async def test_a_copy_is_of_one_moment_though_it_is_made_in_slices(home, tmp_path):
    await filled(home, records=1, left=0)
    with closing(sqlite3.connect(home.log, isolation_level=None)) as connection:
        connection.execute("create table filler (data blob)")
        connection.execute("insert into filler select randomblob(3000000) from (values (1), (2), (3), (4))")
        told = []

        def write(part):
            told.append(part)
            connection.execute("insert into filler values (x'00')")

        with snapshot(home.log, tmp_path, write) as copy:
            (tmp_path / "copy.db").write_bytes(copy.read())
    assert len(told) > 2
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copied:
        assert copied.execute("select count(*) from filler").fetchone() == (4,)
        assert copied.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_copy_that_is_given_up_ends_with_its_slice(home, place):
    asyncio.run(filled(home, records=1, left=0))
    with closing(sqlite3.connect(home.log, isolation_level=None)) as connection:
        connection.execute("create table filler (data blob)")
        connection.execute("insert into filler select randomblob(3000000) from (values (1), (2), (3), (4), (5), (6))")
    told = []

    async def give_up():
        loop = asyncio.get_running_loop()

        def tell(count, what):
            if "copied" in what:
                told.append(what)
                loop.call_soon_threadsafe(making.cancel)
                time.sleep(0.05)

        making = asyncio.create_task(Maker(home, place, snapshot, tell).make("0.1.0", None, ()))
        await making

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(give_up())  # it returns once its threads have ended
    assert len(told) == 1
    assert asyncio.run(place.ids()) == []


async def test_a_write_that_is_under_way_is_not_copied(home, place, target):
    spool = open_spool(home.spool, Log(mode="disk"))
    await spool.append(msgspec.msgpack.encode(make_record()))
    segment = next(spool.folder.glob("*.seg"))
    whole = len(segment.read_bytes().rstrip(b"\0"))
    with segment.open("r+b") as file:
        file.seek(whole)
        file.write(b"\xc1\xf5\xc1\xf6half a frame")
    await make(home, place)
    await spool.close()
    await bring_back(place, target)
    assert (target.spool / spool.folder.name / segment.name).stat().st_size == whole


class Breaking:
    """A store that stops taking objects, or loses what it took."""

    def __init__(self, store, puts=10**9):
        self.store = store
        self.puts = puts
        self.where = store.where

    async def put_if_absent(self, key, data):
        self.puts -= 1
        if self.puts < 0:
            raise StoreUnavailable(reason="it is full")
        return await self.store.put_if_absent(key, data)

    async def get(self, key):
        return await self.store.get(key)

    def list(self, prefix, after=""):
        return self.store.list(prefix, after)


async def test_a_backup_that_is_cut_short_is_none_wherever_that_happens(home, place):
    await filled(home)
    for puts in range(100):
        cut = BackupPlace(Breaking(place.store, puts))
        try:
            await make(home, cut)
        except StoreUnavailable:
            assert await place.ids() == []
            with pytest.raises(BackupNotFound, match=r"There is no backup at all at .* None is complete there"):
                await place.read()
        else:
            assert puts > 0
            break
    assert len(await place.ids()) == 1


async def test_a_backup_with_a_damaged_piece_brings_nothing_back(home, place, target):
    await filled(home)
    await make(home, place)
    pieces = [path for path in Path(place.where).rglob("*") if path.is_file() and "blobs" in path.parts]
    for piece in pieces:
        was = piece.read_bytes()
        for broken in (None, was[:-1] + bytes([was[-1] ^ 1])):
            piece.unlink()
            if broken is not None:
                piece.write_bytes(broken)
            with pytest.raises(BackupDamaged, match="is damaged: blobs/sha256/"):
                await bring_back(place, target)
            assert not target.path.exists()
            assert not [path for path in target.path.parent.glob(".*") if path.is_dir()]
            piece.unlink(missing_ok=True)
            piece.write_bytes(was)
    await bring_back(place, target)


async def test_what_a_backup_consists_of_is_believed_by_its_digest_alone(home, place, target):
    await filled(home)
    made = await make(home, place)
    file = Path(place.where, "backups", f"{made.backup.id}.json")
    file.write_bytes(file.read_bytes().replace(b'"made_by": "0.1.0"', b'"made_by": "6.6.6"'))
    with pytest.raises(BackupDamaged, match="does not have its SHA-256"):
        await bring_back(place, target)


@pytest.mark.parametrize("path", ["../escaped", "/etc/escaped", "a/../../escaped", "a//b", "."])
async def test_no_file_leaves_the_home(home, place, path):
    made = await make(home, place)
    kept = msgspec.structs.replace(made.backup.files[0] if made.backup.files else made.backup.settings, path=path)
    strange = msgspec.structs.replace(made.backup, id=f"{made.backup.id[:-4]}ffff", files=(kept,))
    await place.complete(strange)
    with pytest.raises(BackupDamaged, match="is no backup"):
        await place.read(strange.id)


async def test_a_home_that_holds_something_is_left_alone(home, place, target):
    await filled(home)
    await make(home, place)
    target.path.mkdir(parents=True)
    (target.path / "precious").write_text("mine")
    with pytest.raises(HomeNotEmpty, match="holds something already"):
        await bring_back(place, target)
    assert files(target.path) == {"precious"}


async def test_a_home_that_was_only_made_is_empty(home, place, target):
    await filled(home)
    await make(home, place)
    target.path.mkdir(parents=True)
    (target.path / ".gitignore").write_text("*\n")
    check_empty(target)
    await bring_back(place, target)
    assert {".gitignore", "log/inferences.db"} <= files(target.path)


async def test_other_settings_stay(home, place, target):
    await make(home, place)
    target.path.parent.mkdir(parents=True)
    target.settings_file.write_text("[server]\nport = 9000\n")
    await bring_back(place, target)
    assert target.settings_file.read_text() == "[server]\nport = 9000\n"
    assert target.settings_file.with_name("cloche.toml.restored").read_text() == "[server]\nport = 8123\n"


async def test_two_do_not_restore_one_home(home, place, target):
    await filled(home)
    backup = (await make(home, place)).backup
    async with restored(place, backup, target, silent):
        with pytest.raises(RestoreUnderWay):
            await bring_back(place, target)
    assert target.log.exists()


async def test_a_home_that_somebody_made_meanwhile_is_left_alone(home, place, target):
    await filled(home)
    backup = (await make(home, place)).backup
    with pytest.raises(HomeNotEmpty):
        async with restored(place, backup, target, silent):
            target.log.parent.mkdir(parents=True)
    assert not target.log.exists()
    assert not target.path.with_name(".cloche.restoring").exists()


async def test_what_a_killed_restore_has_left_is_cleared_away(home, place, target):
    await filled(home)
    await make(home, place)
    left = target.path.with_name(".cloche.restoring")
    (left / "log").mkdir(parents=True)
    (left / "log" / "inferences.db").write_text("half")
    await bring_back(place, target)
    assert not left.exists()
    assert await SqliteReader(target.log).count(Filter()) == 3


async def test_a_backup_of_a_later_cloche_is_refused_by_name(home, place):
    made = await make(home, place)
    later = msgspec.structs.replace(made.backup, format=3, id=f"{made.backup.id[:-4]}ffff")
    await place.complete(later)
    with pytest.raises(NewerFormat, match=rf"the backup {later.id} has format 3; .* pip install --upgrade cloche"):
        await place.read()


async def test_a_log_that_is_no_database_any_more_is_named(home, place):
    await filled(home)
    data = bytearray(home.log.read_bytes())
    data[100:4000] = bytes(3900)
    home.log.write_bytes(data)
    with pytest.raises(LogCorrupt, match=r"inferences\.db"):
        await make(home, place)
    assert await place.ids() == []


async def test_orders_of_later_backups_are_known_to_the_older_ones(home, place, tmp_path):
    registry = open_objects(home.registry.as_uri())
    await make(home, place, registry)
    await registry.put_if_absent("erasures/key", b"k" * 32)
    await registry.put_if_absent("erasures/000000000001.json", b"{}")
    await make(home, place, registry)
    assert await place.store.get("erasures/000000000001.json") == b"{}"


@pytest.mark.parametrize("which", ["key", "000000000002.json"])
async def test_two_homes_do_not_back_up_to_one_place(home, place, tmp_path, which):
    one, other = (open_objects((tmp_path / name).as_uri()) for name in ("one", "other"))
    for store in (one, other):
        for name in ("key", "000000000001.json", "000000000002.json"):
            await store.put_if_absent(f"erasures/{name}", b"other" if (store, name) == (other, which) else b"same")
    await make(home, place, one)
    await one.put_if_absent("erasures/000000000003.json", b"of one")
    with pytest.raises(OrdersDiffer, match="two homes"):
        await make(home, place, other)
    await make(home, place, one)
    assert len(await place.ids()) == 2, "nothing was copied of the other one"
    assert await place.store.get("erasures/000000000003.json") == b"of one"


async def test_a_backup_in_a_bucket(home, bucket, target):
    kept = await filled(home)
    place = BackupPlace(open_objects(bucket))
    await make(home, place)
    assert (await make(home, place)).written == 0
    await bring_back(place, target)
    assert await SqliteReader(target.log).count(Filter()) == len(kept) - 2


def test_what_is_stored_is_readable_by_people():
    fields = Backup(1, "20261122T120000.000000Z-0000", 1, "0.1.0", None, (), ("the log at x",))
    assert json.loads(msgspec.json.encode(fields))["elsewhere"] == ["the log at x"]


def test_calls_that_come_while_a_backup_is_made_harm_nothing(home, place, target):
    """Every record that was acknowledged before it began comes back once, whichever way it takes meanwhile."""

    async def run():
        spool = open_spool(home.spool, Log(mode="os", segment_bytes=3000))
        sink = SqliteSink(home.log)
        shipper = Shipper(home.spool, {"log": sink})
        stop, acknowledged = asyncio.Event(), []

        async def call():
            while not stop.is_set():
                record = make_record(len(acknowledged))
                await spool.append(msgspec.msgpack.encode(record))
                acknowledged.append(record.id)
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(call()), asyncio.create_task(shipper.run(stop))]
        for _ in range(3):
            await asyncio.sleep(0.1)
            before = list(acknowledged)
            await make(home, place)
        stop.set()
        await asyncio.gather(*tasks)
        await spool.close()
        await sink.close()
        return before

    before = asyncio.run(run())
    backup = asyncio.run(bring_back(place, target))
    assert backup.files

    async def found():
        sink = SqliteSink(target.log)
        shipper = Shipper(target.spool, {"log": sink})
        while await shipper.ship_once():
            pass
        await sink.close()
        reader = SqliteReader(target.log)
        report = await verify(reader, target.spool)
        assert report.ok, report
        return [record.id async for record in reader.scan(Filter())]

    ids = asyncio.run(found())
    assert len(before) > 20
    assert len(ids) == len(set(ids))
    assert set(before) <= set(ids)


def at_copying(path, before=None, after=None):
    """Return what copies databases, and does something just before or after it has copied one of them."""

    @contextmanager
    def copying(database, folder, progress):
        if database == path and before:
            before()
        with snapshot(database, folder, progress) as copy:
            if database == path and after:
                after()
            yield copy

    return copying


async def test_what_is_shipped_just_after_the_log_was_copied_is_not_lost(home, place, target):
    kept = await filled(home)

    def ship_all():
        async def ship():
            sink = SqliteSink(home.log)
            while await Shipper(home.spool, {"log": sink}).ship_once():
                pass
            await sink.close()

        asyncio.run(ship())
        assert not list(home.spool.glob("*/*.seg"))

    await Maker(home, place, at_copying(home.log, after=ship_all), silent).make("0.1.0", None, ())
    await bring_back(place, target)
    sink = SqliteSink(target.log)
    await quiet(target.spool, sink).ship_once()
    await sink.close()
    assert [record async for record in SqliteReader(target.log).scan(Filter())] == kept


class Copying(PostgresDumping):
    """Does something when it has copied a database."""

    after = None

    async def dump(self):
        async for some in super().dump():
            yield some
        await self.after()


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("records", [0, 3])
async def test_what_is_shipped_just_after_a_database_was_copied_is_not_lost(
    home, place, target, postgres, database, records
):
    spool = open_spool(home.spool, Log(mode="os", segment_bytes=2000))
    kept = [make_record(number) for number in range(records + 2)]
    for record in kept[:records]:
        await spool.append(msgspec.msgpack.encode(record))
    sink = open_sink(database, home.log.parent)
    if records:
        await quiet(home.spool, sink).ship_once()
    for record in kept[records:]:
        await spool.append(msgspec.msgpack.encode(record))
    await spool.close()

    async def ship_all():
        while await Shipper(home.spool, {"log": sink}).ship_once():
            pass
        await Releases(open_objects(home.registry.as_uri())).write({}, Reason("ada"), after=0)

    copying = Copying.from_url(database)
    copying.after = ship_all
    made = (await Maker(home, place, snapshot, silent).make("0.1.0", None, (), copying)).backup
    await sink.close()
    assert (made.format, made.newest_release) == (2 if records else 1, 1)
    assert bool(made.database) == bool(records), "what is not there yet is not copied"
    await bring_back(place, target)
    empty = postgres.database()
    if made.database:
        await PostgresDumping.from_url(empty).load(dumped(place, made.database, silent), made.id)
    sink = open_sink(empty, target.log.parent)
    await quiet(target.spool, sink).ship_once()
    await sink.close()
    reader = open_reader(empty, target.log.parent)
    assert [record async for record in reader.scan(Filter())] == kept
    assert (await verify(reader, target.spool)).ok
    postgres.empty(empty)


@pytest.mark.usefixtures("clients")
async def test_a_dump_of_another_size_or_without_a_piece_is_damaged(home, place, database):
    sink = open_sink(database, home.log.parent)
    await sink.write([make_record()])
    await sink.close()
    copying = PostgresDumping.from_url(database)
    dump = (await Maker(home, place, snapshot, silent).make("0.1.0", None, (), copying)).backup.database
    assert (await Maker(home, place, snapshot, silent).make("0.1.0", None, (), copying)).backup.database is not None
    longer = msgspec.structs.replace(dump, size=dump.size + 1)
    other = msgspec.structs.replace(dump, pieces=("0" * 64,))
    for damaged, said in ((longer, "is not of its size"), (other, "blobs/sha256/00/0+ is not there")):
        with pytest.raises(BackupDamaged, match=said):
            assert [piece async for piece in dumped(place, damaged, silent)]


async def test_an_answer_that_is_kept_has_its_record(home, place, target):
    await filled(home)
    record = make_record(99)

    def call():
        async def answer():
            spool = open_spool(home.spool, Log(mode="os"))
            await spool.append(msgspec.msgpack.encode(record))
            keys = SqliteKeys(home.idempotency)
            await keys.claim(b"k" * 32, bytes(32), bytes(16), 10)
            await keys.settle(b"k" * 32, bytes(16), b"[99]", record.id)
            await keys.close()
            await spool.close()

        asyncio.run(answer())

    await Maker(home, place, at_copying(home.idempotency, before=call), silent).make("0.1.0", None, ())
    await bring_back(place, target)
    keys = SqliteKeys(target.idempotency)
    assert await keys.claim(b"k" * 32, bytes(32), b"another 16 bytes", 10) is not None
    await keys.close()
    sink = SqliteSink(target.log)
    while await quiet(target.spool, sink).ship_once():
        pass
    await sink.close()
    assert await SqliteReader(target.log).get(record.id) == record


async def test_what_was_erased_so_far_is_not_taken_for_granted(home, place, target):
    await filled(home)
    for name in ("erasures.json", "retention.json"):
        (home.log.parent / name).write_text('{"done":3,"format":1}')
    await make(home, place)
    await bring_back(place, target)
    assert {path.name for path in target.log.parent.iterdir()} == {"inferences.db", "idempotency.db"}
