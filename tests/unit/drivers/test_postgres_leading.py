from __future__ import annotations

import psycopg
import pytest

from cloche.drivers import open_leadership
from cloche.errors import SinkUnavailable


@pytest.fixture
async def keepers(database):
    pair = [open_leadership(database, name) for name in ("first", "second")]
    yield pair
    for each in pair:
        await each.resign()


def cut_all(database):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 9999) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


async def test_one_leads_until_it_resigns(keepers):
    first, second = keepers
    assert [await first.lead(), await second.lead(), await first.lead()] == [True, False, True]
    await first.resign()
    assert [await second.lead(), await first.lead()] == [True, False]


async def test_who_lost_its_connection_says_so_and_asks_again(keepers, database):
    first, second = keepers
    assert await first.lead()
    cut_all(database)
    assert await second.lead()
    with pytest.raises(SinkUnavailable):
        await first.lead()
    assert not await first.lead()


async def test_it_keeps_nothing_from_vacuum(keepers, database):
    assert await keepers[0].lead()
    assert await keepers[0].lead()
    with psycopg.connect(database, autocommit=True) as connection:
        held = "select backend_xmin, backend_xid from pg_stat_activity where state = 'idle in transaction'"
        assert connection.execute(held).fetchall() == [(None, None)]
