from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from cloche.drivers.sqlite import SqliteReader, SqliteSink, reader
from cloche.drivers.sqlite.opening import DATABASE_FORMAT, open_for_reading
from cloche.drivers.sqlite.rows import row_of
from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.errors import LogCorrupt, LogInUse, NewerFormat, QueryTooSlow, SinkUnavailable
from cloche.ports import Cursor, Filter, Mark, Position
from cloche.testing import RollupContract, SealedLogContract, make_record
from cloche.upkeep.ports import Span


class TestSqlite(SealedLogContract):
    def open_sink(self, folder: Path) -> SqliteSink:
        return SqliteSink(folder / "inferences.db")

    def open_reader(self, folder: Path) -> SqliteReader:
        return SqliteReader(folder / "inferences.db")


class TestRollups(RollupContract):
    def open_sink(self, folder: Path) -> SqliteSink:
        return SqliteSink(folder / "inferences.db")

    def open_reader(self, folder: Path) -> SqliteReader:
        return SqliteReader(folder / "inferences.db")


async def test_what_an_older_cloche_wrote_beside_the_rollups_is_due_too(tmp_path):
    path = tmp_path / "log.db"
    sink = SqliteSink(path)
    await sink.write([make_record(time_us=60_000_000)])
    notes = [note for due in await SqliteReader(path).due(10) for note in due.notes]
    await sink.roll_up(notes, [], [])
    await sink.close()
    envelope, personal = row_of(make_record(time_us=7_260_000_001))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(STATEMENTS["keep_personal"], personal)
        connection.execute(STATEMENTS["keep_inference"], envelope)
    for _ in range(2):
        await SqliteSink(path).close()
        assert [due.span for due in await SqliteReader(path).due(10)] == [Span("minute", 7_260_000_000)]


async def test_what_was_there_before_there_were_seals_is_noted_and_of_an_empty_file_nothing(tmp_path):
    for number, records in enumerate(([], [make_record(4), make_record(2), make_record(7)])):
        path = tmp_path / f"{number}.db"
        sink = SqliteSink(path)
        await sink.write(records)
        sink._connection.execute("drop table seal")
        await sink.close()
        await SqliteSink(path).close()
        noted = [seal async for seal in SqliteReader(path).seals()]
        spans = [(records[1].time_us, records[2].time_us)] if records else []
        assert [(seal.spool, seal.since_us, seal.until_us) for seal in noted] == [("", *span) for span in spans]


def test_statements_are_such_as_an_older_sqlite_takes():
    """`having` without `group by` came with 3.39; what else may be too new, only an older SQLite can tell."""
    assert not [title for title, text in STATEMENTS.items() if "having" in text and "group by" not in text]


async def test_the_second_writer_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "log.db"
    first = SqliteSink(path)
    with pytest.raises(LogInUse):
        SqliteSink(path)
    assert await first.write([make_record()], Mark("a", Position(1, 1))) == 1
    await first.close()
    await first.close()
    await SqliteSink(path).close()


async def test_commits_are_synced_and_the_file_is_private(tmp_path):
    sink = SqliteSink(tmp_path / "log.db")
    assert sink._connection.execute("pragma synchronous").fetchone() == (2,)
    assert sink._connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert os.stat(tmp_path / "log.db").st_mode & 0o077 == 0
    await sink.close()


async def test_a_newer_database_is_refused_by_writer_and_reader(tmp_path):
    path = tmp_path / "log.db"
    connection = sqlite3.connect(path)
    connection.execute(f"pragma user_version = {DATABASE_FORMAT + 1}")
    connection.close()
    with pytest.raises(NewerFormat, match="pip install --upgrade"):
        SqliteSink(path)
    with pytest.raises(NewerFormat):
        await SqliteReader(path).count(Filter())


async def test_what_is_no_database_is_named_and_left_alone(tmp_path):
    path = tmp_path / "log.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(LogCorrupt):
        SqliteSink(path)
    with pytest.raises(LogCorrupt):
        await SqliteReader(path).count(Filter())
    assert path.read_bytes() == b"something else entirely" * 100


async def test_a_reader_reads_beside_a_writer_and_can_not_write(tmp_path):
    path = tmp_path / "log.db"
    sink, reader = SqliteSink(path), SqliteReader(path)
    for number in range(3):
        await sink.write([make_record(number)], Mark("a", Position(1, number)))
        assert await reader.count(Filter()) == number + 1
    await sink.close()
    connection = open_for_reading(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("delete from inference")
    connection.close()


async def test_a_write_that_fails_keeps_neither_records_nor_position(tmp_path):
    sink = SqliteSink(tmp_path / "log.db")
    await sink.write([make_record()], Mark("a", Position(1, 1)))
    size = sink._connection.execute("pragma page_count").fetchone()[0]
    sink._connection.execute(f"pragma max_page_count = {size}")
    with pytest.raises(SinkUnavailable, match="full"):
        await sink.write([make_record(number) for number in range(500)], Mark("a", Position(9, 9)))
    assert await sink.positions() == {"a": Position(1, 1)}
    sink._connection.execute("pragma max_page_count = 1000000")
    assert await sink.write([make_record(number) for number in range(500)], Mark("a", Position(9, 9))) == 500
    await sink.close()


async def test_records_without_their_position_are_not_kept(tmp_path):
    sink = SqliteSink(tmp_path / "log.db")
    sink._connection.execute("create temp trigger t before insert on position begin select raise(abort, 'no'); end")
    with pytest.raises(LogCorrupt):
        await sink.write([make_record()], Mark("a", Position(1, 1)))
    assert await SqliteReader(tmp_path / "log.db").count(Filter()) == 0
    sink._connection.execute("drop trigger t")
    assert await sink.write([make_record()], Mark("a", Position(1, 1))) == 1
    await sink.close()


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "inference_time"),
        (Filter(model="toy"), "inference_model_time"),
        (Filter(model="toy", since_us=1, until_us=2, outcome="ok"), "inference_model_time"),
        (Filter(subject="ann"), "personal_subject"),
        (Filter(subject="ann", model="toy"), "personal_subject"),
        (Filter(failed=True), "inference_failed"),
        (Filter(model="toy", failed=True), "inference_failed"),
        (Filter(shadows=b"0" * 16), "inference_shadows"),
        (Filter(model="toy", shadowed=True), "inference_shadows"),
    ],
)
async def test_every_search_uses_its_index(tmp_path, wanted, index):
    path = tmp_path / "log.db"
    sink = SqliteSink(path)
    await sink.write([make_record(number) for number in range(300)], Mark("a", Position(1, 1)))
    await sink.close()
    connection = open_for_reading(path)
    plans = []

    class Explaining:
        def execute(self, query, values=()):
            if query.startswith("pragma"):
                return connection.execute(query)
            plans.extend(row[3] for row in connection.execute(f"explain query plan {query}", values))
            return []

    for before in (None, Cursor(150, b"0" * 16)):
        reader._find(Explaining(), wanted, 10, before)
    connection.close()
    assert sum(index in step for step in plans) == 2
    assert not [step for step in plans if "SCAN" in step and "USING INDEX" not in step]
    if wanted.shadows is None:
        assert "USE TEMP B-TREE FOR ORDER BY" not in plans


async def test_a_file_from_before_there_were_shadows_is_read_and_then_grows_the_column(tmp_path):
    path = tmp_path / "log.db"
    live = make_record(1)
    sink = SqliteSink(path)
    await sink.write([live], Mark("a", Position(1, 1)))
    sink._connection.execute("drop index inference_shadows")
    sink._connection.execute("alter table inference drop column shadows")
    await sink.close()
    reader = SqliteReader(path)
    assert list(await reader.find(Filter(), 10)) == [live]
    assert list(await reader.find(Filter(shadowed=True), 10)) == []
    assert await reader.count(Filter(shadowed=True)) == 0
    sink = SqliteSink(path)
    shadow = make_record(1, kind="shadow", shadows=live.id)
    await sink.write([shadow], Mark("a", Position(1, 2)))
    await sink.close()
    assert [record async for record in reader.scan(Filter(shadowed=True))] == [live, shadow]


async def test_a_query_that_takes_too_long_ends_and_the_reader_goes_on(tmp_path):
    path = tmp_path / "log.db"
    sink = SqliteSink(path)
    await sink.write([make_record(number) for number in range(3_000)])
    await sink.close()
    hurried = SqliteReader(path, timeout_ms=0)
    for query in (hurried.find(Filter(caller="nobody"), 10), hurried.count(Filter(caller="nobody"))):
        with pytest.raises(QueryTooSlow, match="model and since"):
            await query
    assert len([record async for record in hurried.scan(Filter())]) == 3_000
    assert await SqliteReader(path, timeout_ms=60_000).count(Filter(caller="nobody")) == 0


def test_as_many_rows_are_read_at_once_as_memory_should_hold():
    rows = "with recursive made(n) as (select 1 union all select n + 1 from made where n < 500) select n, zeroblob({})"
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        for size, first in ((10, 200), (1_000_000, 9), (20_000_000, 1)):
            cursor = database.execute(f"{rows.format(size)} from made")
            assert len(reader._some(cursor)) == first
            assert next(cursor)[0] == first + 1
        assert reader._some(database.execute("select 1, null where 0")) == []
