"""Everything that is stored says its format; what was ever written is read; a newer one is refused by its name.

The table below has every format that the code knows. A number that is raised, or a format that is new, turns this red
until its fixture is there: `tests/fixtures/make_formats.py` makes them, once each.
"""

from __future__ import annotations

import ast
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import cloche
from cloche.backup.place import BackupPlace
from cloche.backup.restoring import dumped
from cloche.drivers import open_dumping, open_objects, open_reader, open_sink
from cloche.drivers.http import HttpSink
from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.erasure.backups import Backups
from cloche.erasure.exports import Exports
from cloche.erasure.forget import Forgetting
from cloche.erasure.orders import Orders
from cloche.erasure.retention import Retention
from cloche.errors import BackupDamaged, NewerFormat
from cloche.log.chain import SealedSink, known
from cloche.log.export import unfinished
from cloche.log.quarantine import Note
from cloche.log.sealing import Anchor
from cloche.log.verify import verify
from cloche.ports import Filter, Mark, Position, Seal
from cloche.registry.bundle import decode_manifest
from cloche.registry.erased import ErasedFile
from cloche.registry.last_seen import LastSeen
from cloche.registry.release import decode_release
from cloche.registry.standing import read_standing
from cloche.runtimes.roster import read_roster
from cloche.runtimes.worker import manifest as worker_manifest
from cloche.testing import make_record
from cloche.values import Tombstone

SOURCE = Path(cloche.__file__).parent
FIXTURES = Path(__file__).parents[1] / "fixtures"
UNIT = Path(__file__).parent


class Format(NamedTuple):
    """Where the fixtures of a format are, and which tests show that they are read and that a newer one is not."""

    fixture: str
    """Its path; `{n}` is the number."""
    shown_by: tuple[str, ...]


HERE = "test_formats.py"
FORMATS = {
    "registry/bundle.py:MANIFEST_FORMAT": Format("manifest-{n}.json", (HERE, "registry/test_catalog.py")),
    "runtimes/worker/manifest.py:FORMAT": Format("manifest-{n}.json", (HERE,)),
    "registry/release.py:RELEASE_FORMAT": Format("release-{n}.json", (HERE, "registry/test_release.py")),
    "registry/last_seen.py:SEEN_FORMAT": Format("formats/last-seen-{n}.json", (HERE,)),
    "registry/standing.py:STANDING_FORMAT": Format("formats/standing-{n}.json", (HERE,)),
    "runtimes/roster.py:ROSTER_FORMAT": Format("formats/workers-{n}.json", (HERE,)),
    "log/segments.py:SEGMENT_FORMAT": Format("log-format-{n}/spool", ("log/test_formats.py", "log/test_segments.py")),
    "values.py:RECORD_FORMAT": Format("log-format-{n}/spool", ("log/test_formats.py", "log/test_ship.py")),
    "log/columns.py:COLUMNS_FORMAT": Format("log-format-{n}/spool", ("log/test_formats.py", "log/test_columns.py")),
    "drivers/sqlite/opening.py:DATABASE_FORMAT": Format(
        "log-format-{n}/log.db", ("log/test_formats.py", "drivers/test_sqlite.py")
    ),
    "drivers/sqlite_keys.py:KEYS_FORMAT": Format("formats/keys-{n}.db", (HERE, "drivers/test_sqlite_keys.py")),
    "drivers/parquet/actions.py:FORMAT": Format("formats/parquet-{n}", (HERE, "drivers/test_parquet.py")),
    "drivers/http.py:_FORMAT": Format("formats/sent-{n}.json", (HERE, "drivers/test_http.py")),
    "drivers/postgres/keys.py:KEYS_FORMAT": Format("formats/postgres-keys-{n}.sql", ("drivers/test_postgres_keys.py",)),
    "log/chain.py:SEAL_FORMAT": Format("formats/seal-{n}.msgpack", (HERE, "log/test_sealing.py")),
    "log/export.py:STATE_FORMAT": Format("formats/export-state-{n}.json", (HERE, "log/test_export.py")),
    "log/sealing.py:ANCHOR_FORMAT": Format("formats/anchor-{n}.json", (HERE,)),
    "erasure/orders.py:ORDER_FORMAT": Format("formats/orders-{n}", (HERE, "erasure/test_orders.py")),
    "erasure/forget.py:STATE_FORMAT": Format("formats/carried-out-{n}.json", (HERE,)),
    "erasure/exports.py:LIST_FORMAT": Format("formats/exports-{n}.jsonl", (HERE,)),
    "registry/erased.py:ERASED_FORMAT": Format("formats/erased-{n}.json", (HERE,)),
    "erasure/backups.py:PLACES_FORMAT": Format("formats/backups-{n}.jsonl", (HERE,)),
    "erasure/retention.py:STATE_FORMAT": Format("formats/retention-{n}.json", (HERE,)),
    "insight/rollups.py:FORMAT": Format("", ("insight/test_rollups.py",)),  # made anew from the records
    "backup/place.py:BACKUP_FORMAT": Format("formats/backup-{n}", (HERE, "backup/test_backup.py")),
}


def formats_in_the_code():
    """Return every constant that is the number of a format."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(getattr(node, "value", None), "value", None)
            if isinstance(target, ast.Name) and target.id.endswith("FORMAT") and isinstance(value, int):
                found[f"{path.relative_to(SOURCE).as_posix()}:{target.id}"] = value
    return found


def test_every_format_ever_written_has_a_fixture_and_tests_that_it_is_read():
    known = formats_in_the_code()
    assert known.keys() == FORMATS.keys()
    for name, newest in known.items():
        for number in range(1, newest + 1):
            assert (FIXTURES / FORMATS[name].fixture.format(n=number)).exists(), name
        for shown in FORMATS[name].shown_by:
            text = (UNIT / shown).read_text()
            assert "format" in text.lower(), (name, shown)


@pytest.fixture
def fixture(tmp_path) -> Callable[[str], Path]:
    """Return a copy of a fixture, by its name."""

    def copied(name, to=None):
        source, target = FIXTURES / name, tmp_path / (to or Path(name).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        return target

    return copied


def newer(path: Path) -> Path:
    """Let a file of JSON say that it is of the next format."""
    text = path.read_text()
    changed = text.replace('"format": 1', '"format": 2').replace('"format":1', '"format":2')
    assert changed != text
    path.write_text(changed)
    return path


def refused(what: str):
    return pytest.raises(NewerFormat, match=rf"{what}.* has format 2.*this Cloche reads up to 1.*pip install --upgrade")


def test_a_manifest(fixture):
    path = fixture("manifest-1.json")
    assert decode_manifest(path.read_bytes(), "it").format == 1
    with refused("it"):
        decode_manifest(newer(path).read_bytes(), "it")


def test_a_manifest_in_a_worker(fixture):
    path = fixture("manifest-1.json", "bundle/manifest.json")
    assert worker_manifest.read_manifest(path.parent).flavor == decode_manifest(path.read_bytes(), "it").flavor
    newer(path)
    with pytest.raises(ValueError, match="the bundle has format 2; this worker reads up to 1"):
        worker_manifest.read_manifest(path.parent)


def test_a_release(fixture):
    path = fixture("release-1.json")
    assert decode_release(path.read_bytes(), 42).format == 1
    with refused("release 42"):
        decode_release(newer(path).read_bytes(), 42)


def test_what_a_host_saw_last(fixture):
    path = fixture("formats/last-seen-1.json", "last-seen.json")
    seen = LastSeen(path.parent, "somewhere")
    found = seen.read()
    assert found is not None
    assert found.live.models["area"].default == "1.0.0"
    newer(path)
    assert seen.read() is None, "a copy that can't be read is none: the registry is asked"


def test_how_a_gateway_stands(fixture):
    path = fixture("formats/standing-1.json", "standing.json")
    found = read_standing(path.parent)
    assert found is not None
    assert found.in_force == {"area": 3}
    newer(path)
    assert read_standing(path.parent) is None, "it is true only while its gateway runs"


def test_how_workers_are_doing(fixture):
    path = fixture("formats/workers-1.json", "workers.json")
    (crew,) = read_roster(path.parent)
    assert (crew.model, crew.pids, crew.crashing) == ("area", [41, 42], True)
    newer(path)
    assert read_roster(path.parent) == [], "it is true only while its supervisor runs"


async def test_kept_answers(fixture):
    path = fixture("formats/keys-1.db")
    keys = SqliteKeys(path, lambda: 4_102_444_800_000_000)
    claim = await keys.claim(b"k" * 32, b"d" * 32, b"p" * 32, 10)
    assert claim is not None
    assert claim.answer == b'{"output":1}'
    await keys.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 2")
    with refused("the file of idempotency keys"):
        await SqliteKeys(path).claim(b"k" * 32, b"d" * 32, b"p" * 32, 10)


async def test_a_log_in_parquet(fixture, tmp_path):
    address = fixture("formats/parquet-1").as_uri().replace("file", "parquet+file", 1)
    reader = open_reader(address, tmp_path)
    assert await reader.count(Filter()) == 2
    assert await reader.positions() == {"spool": Position(1, 100)}
    records = [record async for record in reader.scan(Filter())]
    sink = open_sink(address, tmp_path)
    assert await sink.write(records) == 0
    await SealedSink(sink).write([make_record(3)], Mark("spool", Position(1, 200)))
    await sink.close()
    report = await verify(reader, tmp_path / "spools")
    assert (report.ok, report.seals.sealed, report.seals.unsealed) == (True, 1, 2), "it is older than seals"


async def test_a_log_in_parquet_with_seals(fixture, tmp_path):
    address = fixture("formats/sealed-parquet-1").as_uri().replace("file", "parquet+file", 1)
    report = await verify(open_reader(address, tmp_path), tmp_path / "spools")
    assert (report.ok, report.seals.sealed, report.seals.unsealed) == (True, 2, 0)
    sink = open_sink(address, tmp_path)
    assert (await sink.last_seal("spool")).end == 2
    await sink.close()


async def test_the_positions_of_an_endpoint(fixture):
    path = fixture("formats/sent-1.json")
    assert await HttpSink("https://example.org/", {}, path).positions() == {"spool": Position(2, 30)}
    with refused("the positions in"):
        await HttpSink("https://example.org/", {}, newer(path)).positions()


def test_an_export_that_was_cut_short(fixture, tmp_path):
    path = fixture("formats/export-state-1.json", "out.csv.part/state.json")
    found = unfinished(tmp_path / "out.csv")
    assert found is not None
    assert (found.written, found.query.where.model) == (10, "area")
    newer(path)
    with refused("the export in"):
        unfinished(tmp_path / "out.csv")


async def test_orders_about_people(fixture):
    store = open_objects(fixture("formats/orders-1").as_uri())
    (order,) = await Orders(store).all()
    assert (order.kind, order.marks, order.model) == ("forget", (b"m" * 32,), "area")
    newer(Path(store.where, "erasures/000000000001.json"))
    with refused("order 1 of erasures"):
        await Orders(store).all()


async def test_which_orders_were_carried_out(fixture, tmp_path):
    path = fixture("formats/carried-out-1.json")
    forgetting = Forgetting(Orders(open_objects(tmp_path.as_uri())), None, (), None, path)  # type: ignore[arg-type]
    assert await forgetting.repeat() is None
    path.write_text('{"done":7,"format":2}')
    with refused("the state at"):
        await forgetting.repeat()


def test_the_list_of_exports(fixture):
    exports = Exports(fixture("formats/exports-1.jsonl"), lambda _: None)  # type: ignore[arg-type, return-value]
    assert exports._paths() == [Path("/srv/out.csv")]
    newer(exports._file)
    with refused("the list of exports"):
        exports._paths()


def test_what_retention_has_done(fixture):
    path = fixture("formats/retention-1.json")
    retention = Retention(None, None, None, (), path)  # type: ignore[arg-type]
    assert retention._read()["area"].until_us == 5
    newer(path)
    assert retention._read() == {}, "everything is looked through again, which changes nothing that was done"


def test_the_list_of_backups(fixture):
    path = fixture("formats/backups-1.jsonl")
    assert Backups(path, None, None).urls() == ["s3://backups/cloche"]  # type: ignore[arg-type]
    with refused("the list of backups"):
        Backups(newer(path), None, None).urls()  # type: ignore[arg-type]


def test_small_things_that_are_read_as_they_are():
    formats = FIXTURES / "formats"
    assert msgspec.json.decode((formats / "quarantine-1.json").read_bytes(), type=Note).reason == "no valid frame"
    tombstone = msgspec.msgpack.decode((formats / "tombstone-1.msgpack").read_bytes(), type=Tombstone)
    assert (tombstone.by, tombstone.order) == ("ada", 3)
    assert msgspec.json.decode((formats / "erased-1.json").read_bytes(), type=ErasedFile).order == 3
    anchor = msgspec.json.decode((formats / "anchor-1.json").read_bytes(), type=Anchor)
    assert anchor.chains["spool"].count == 2
    seal = msgspec.msgpack.decode((formats / "seal-1.msgpack").read_bytes(), type=Seal)
    assert (known(seal).spool, seal.end) == ("spool", 2)
    with refused("a seal of spool spool"):
        known(msgspec.structs.replace(seal, format=2))


async def test_a_backup(fixture):
    store = open_objects(fixture("formats/backup-1").as_uri())
    place = BackupPlace(store)
    backup = await place.read()
    assert [kept.path for kept in backup.files] == ["log/kept.json"]
    assert [await place.piece(sha256) for sha256 in backup.files[0].pieces] == [b"[1]"]
    assert backup.database is None
    newer(next(Path(store.where, "backups").iterdir()))
    with pytest.raises(BackupDamaged):
        await place.read()


@pytest.mark.usefixtures("clients")
async def test_a_backup_with_a_database(fixture, tmp_path, database):
    place = BackupPlace(open_objects(fixture("formats/backup-2").as_uri()))
    backup = await place.read()
    assert backup.database is not None
    dumping = open_dumping(database)
    assert dumping is not None
    assert dumping.kind == backup.database.kind
    await dumping.load(dumped(place, backup.database, lambda *_: None), backup.id)
    reader = open_reader(database, tmp_path)
    records = [record async for record in reader.scan(Filter())]
    assert len(records) == 2
    assert await reader.positions() == {"spool": Position(1, 100)}
    sink = open_sink(database, tmp_path)
    assert await sink.write(records) == 0
    await sink.close()
