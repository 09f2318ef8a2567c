"""What was in a database before there were rollups, and what processes write to it that know of none."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from cloche.drivers import postgres
from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.drivers.postgres.migrate import upgrade
from cloche.drivers.postgres.opening import ALONE
from cloche.testing import make_record
from cloche.upkeep.ports import Span

MINUTE_US = 60_000_000
OLDER = """
insert into cloche.inference
select gen_random_uuid(), time_us + {later}, format, model, version, digest, release, variant, reason, caller, kind,
    outcome, fallback, answered_by, rows, timings_us, personal_digest, many, failed, release_digest, labels, exposure,
    shadows, hurried
from cloche.inference limit 1
"""


def up_to(revision: str, folder: Path) -> str:
    """Return where the migrations are up to a revision."""
    shutil.copytree(Path(postgres.__file__).parent / "migrations", folder / "migrations")
    for step in (folder / "migrations" / "versions").glob("format_*.py"):
        if step.stem.removeprefix("format_").replace("_", ".") > revision:
            step.unlink()
    return str(folder / "migrations")


async def test_all_of_the_past_is_due_and_what_an_older_process_writes_too(database, tmp_path):
    address = Address.from_url(database)
    upgrade(address, ALONE, up_to("1.1", tmp_path))
    reader, record = PostgresReader(address), make_record()
    assert (await reader.due(10), await reader.rollups("minute", 0, record.time_us)) == ([], [])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table cloche.inference_all partition of cloche.inference default")
        connection.execute(
            "insert into cloche.inference values (gen_random_uuid(), %s, 1, 'toy', '1', '', 1, null, '', '', 'live',"
            " 'ok', null, null, 1, '{}', '', false, false, null, null, null, null, false)",
            (record.time_us,),
        )
        sink = PostgresSink(address)
        await sink.positions()
        (past,) = await reader.due(10)
        assert past.span == Span("past", record.time_us // MINUTE_US * MINUTE_US + MINUTE_US)
        connection.execute(OLDER.format(later=MINUTE_US))
    newest, again = await reader.due(10)
    assert newest.span == Span("minute", (record.time_us // MINUTE_US + 1) * MINUTE_US)
    assert again == past
    await sink.close()
