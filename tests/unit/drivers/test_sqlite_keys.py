from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cloche.drivers import open_idempotency
from cloche.drivers.sqlite_keys import KEYS_FORMAT, SqliteKeys
from cloche.errors import InvalidSetting, NewerFormat, StoreUnavailable
from cloche.testing import IdempotencyContract
from cloche.testing.idempotency import DIGEST, INFERENCE, KEY, ONE, Time


class TestSqliteKeys(IdempotencyContract):
    def open_store(self, folder: Path, time: Time) -> SqliteKeys:
        return SqliteKeys(folder / "log" / "idempotency.db", time)


async def test_nothing_of_a_forgotten_answer_is_left_in_the_file(tmp_path: Path) -> None:
    store = SqliteKeys(tmp_path / "keys.db")
    await store.claim(KEY, DIGEST, ONE, 10)
    await store.settle(KEY, ONE, b"a-very-private-answer", INFERENCE)
    assert any(b"a-very-private-answer" in path.read_bytes() for path in tmp_path.iterdir())
    await store.forget([INFERENCE])
    assert not any(b"a-very-private-answer" in path.read_bytes() for path in tmp_path.iterdir())
    await store.close()


async def test_expired_answers_are_deleted_by_the_calls_that_come_later(tmp_path: Path) -> None:
    time = Time()
    store = SqliteKeys(tmp_path / "keys.db", time)
    for number in range(3):
        await store.claim(bytes([number]) * 32, DIGEST, ONE, 10)
    time.pass_s(100)
    await store.claim(KEY, DIGEST, ONE, 10)
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        assert connection.execute("select count(*) from claim").fetchone() == (1,)
    connection.close()
    await store.close()


async def test_a_file_of_a_later_cloche_is_refused_by_name(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "keys.db")
    connection.execute(f"pragma user_version = {KEYS_FORMAT + 1}")
    connection.close()
    with pytest.raises(NewerFormat):
        await SqliteKeys(tmp_path / "keys.db").claim(KEY, DIGEST, ONE, 10)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqliteKeys(tmp_path / "keys.db").claim(KEY, DIGEST, ONE, 10)


async def test_its_url_names_the_file(tmp_path: Path) -> None:
    store = open_idempotency((tmp_path / "with a blank.db").as_uri())
    await store.claim(KEY, DIGEST, ONE, 10)
    assert (tmp_path / "with a blank.db").exists()
    await store.close()
    with pytest.raises(InvalidSetting, match="not one of"):
        open_idempotency("gopher://there")
