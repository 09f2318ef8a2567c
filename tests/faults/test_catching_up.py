"""How fast a log takes what has gathered in a spool while it was away."""

from __future__ import annotations

import time

import msgspec
import pytest

from cloche.drivers import open_reader, open_sink
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.log.verify import verify
from cloche.settings import Log
from cloche.testing import make_record
from serving import PROVE

RECORDS = 200_000 if PROVE else 3_000


async def gather_records(root):
    spool = open_spool(root, Log(mode="async"))
    for number in range(RECORDS):
        await spool.append(msgspec.msgpack.encode(make_record(number)))
    await spool.close()
    assert spool.state.lost == 0


def address_of(kind, folder, request):
    if kind == "PostgreSQL":
        return request.getfixturevalue("database")
    return "sqlite" if kind == "SQLite" else f"parquet+file://{folder}/parquet"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "Parquet"])
async def test_a_log_that_was_away_catches_up(tmp_path, request, kind, evidence):
    address = address_of(kind, tmp_path, request)
    root = tmp_path / "spool"
    await gather_records(root)
    size = sum(file.stat().st_size for file in root.rglob("*.seg"))
    shipper = Shipper(root, {"log": open_sink(address, tmp_path)})
    began_s = time.monotonic()
    while await shipper.ship_once():
        pass
    took_s = time.monotonic() - began_s
    await shipper.close()
    report = await verify(open_reader(address, tmp_path), root)
    assert report.ok, report
    assert report.seals.sealed == RECORDS
    assert not any(root.iterdir())
    evidence(
        f"{kind} catches up with what gathered while it was away, every record sealed",
        f"{RECORDS:,} records of {size / RECORDS:,.0f} bytes",
        f"{RECORDS / took_s:,.0f} records a second",
    )
