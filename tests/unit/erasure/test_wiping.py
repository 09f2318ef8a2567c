"""Nothing is left of a row that was moved and erased, and everything else is as it was."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.erasure.wiping import wipe
from cloche.testing import make_record
from cloche.values import Personal, Tombstone

LEFT = b"what somebody said"


def rows_of(connection):
    return connection.execute("select * from t order by id").fetchall()


@settings(max_examples=200 if os.environ.get("CLOCHE_PROVE") == "1" else 10, deadline=None)
@given(seed=st.integers(0, 2**32), page_bytes=st.sampled_from([512, 1024, 4096, 65536]), most=st.integers(1, 3000))
def test_what_no_row_takes_is_zeros_and_all_rows_are_as_they_were(tmp_path_factory, seed, page_bytes, most):
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("wiped") / "some.db"
    gone = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma page_size = {page_bytes}")
        connection.execute("pragma secure_delete = on")
        connection.execute("pragma synchronous = off")
        connection.execute("begin")
        connection.execute("create table t (id blob primary key, name text, data blob) without rowid")
        connection.execute("create index by_name on t (name)")
        connection.execute("create table other (id integer primary key, t text)")
        for number in range(300):
            marked = chance.randbytes(8).hex()
            row = (chance.randbytes(16), marked, marked.encode() + bytes([255]) * chance.randrange(most))
            connection.execute("insert into t values (?, ?, ?)", row)
            connection.execute("insert into other values (?, ?)", (number, "x" * 50))
            if chance.random() < 0.4:
                connection.execute("update t set name = null, data = zeroblob(?) where id = ?", (most // 2, row[0]))
                gone.append(marked.encode())
        connection.execute("commit")
        before = rows_of(connection)
        file = os.open(path, os.O_RDWR)
        connection.execute("begin exclusive")
        wipe(connection, file, "t")
        assert wipe(connection, file, "t") == 0
        connection.execute("commit")
    os.close(file)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert rows_of(connection) == before
    content = path.read_bytes()
    assert [marked for marked in gone if marked in content] == []


@pytest.mark.parametrize(("page_bytes", "rows", "is_gone"), [(512, 500, 7), (65536, 30, 1)], ids=["some", "all"])
def test_what_was_deleted_and_left_lying_goes_from_the_table_and_from_its_index(tmp_path, page_bytes, rows, is_gone):
    path = tmp_path / "some.db"
    names = {number: f"somebody {number:04}" for number in range(rows)}
    gone = {number for number in names if number % is_gone == 0 or number == rows - 1}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma page_size = {page_bytes}")
        connection.execute("pragma secure_delete = off")
        connection.execute("create table t (id integer primary key, name text)")
        connection.execute("create index by_name on t (name)")
        connection.execute("begin")
        connection.executemany("insert into t values (?, ?)", names.items())
        connection.executemany("delete from t where id = ?", [(number,) for number in gone])
        connection.execute("commit")
        assert b"somebody 0000" in path.read_bytes()
        file = os.open(path, os.O_RDWR)
        connection.execute("begin exclusive")
        assert wipe(connection, file, "t") > 1
        connection.execute("commit")
        assert rows_of(connection) == [(number, name) for number, name in names.items() if number not in gone]
    os.close(file)
    content = path.read_bytes()
    assert [number for number in gone if names[number].encode() in content] == []


def leave_behind(path, table):
    """Leave something on the page of a table, where no row is."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("select rootpage from sqlite_master where name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 1000)
        file.write(LEFT)


async def test_what_is_left_of_somebody_in_a_log_goes_and_does_not_come_back(tmp_path):
    ann, bob, eve = (make_record(number, Personal(name)) for number, name in enumerate(("ann", "bob", "eve")))
    path = tmp_path / "log.db"
    sink = SqliteSink(path)
    await sink.write([ann, bob])
    await sink.close()
    leave_behind(path, "personal")
    sink = SqliteSink(path)
    await sink.write([])
    assert await sink.erase([ann], Tombstone(1, "me", "ticket")) == 1, "it has the page in its memory now"
    await sink.scrub()
    assert LEFT not in path.read_bytes()
    await sink.write([eve])
    await sink.scrub()
    await sink.close()
    assert LEFT not in path.read_bytes()
    reader = SqliteReader(path)
    assert [await reader.get(record.id) for record in (bob, eve)] == [bob, eve]
    assert list(await reader.faults()) == []


async def test_what_is_left_of_an_answer_goes_and_does_not_come_back_by_another_gateway(tmp_path):
    path, owner = tmp_path / "keys.db", bytes(16)
    keeper, gateway = SqliteKeys(path), SqliteKeys(path)
    for number in range(3):
        await keeper.claim(bytes([number]) * 32, bytes(32), owner, 60)
        await keeper.settle(bytes([number]) * 32, owner, b"answer", bytes([number]) * 16)
    leave_behind(path, "claim")
    assert await gateway.claim(bytes([3]) * 32, bytes(32), owner, 60) is None, "it has the page in its memory now"
    assert LEFT in path.read_bytes()
    assert await keeper.forget([bytes(16)]) == 1
    assert LEFT not in path.read_bytes()
    await gateway.settle(bytes([3]) * 32, owner, b"answer", bytes([3]) * 16)
    assert LEFT not in path.read_bytes()
    assert (await gateway.claim(bytes([2]) * 32, bytes(32), owner, 60)).answer == b"answer"
    await keeper.close()
    await gateway.close()
