"""How fast a backlog gets into the log."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from cloche.drivers import open_sink
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.settings import Log
from cloche.testing import make_record
from serving import PROVE

BACKLOG = 100_000 if PROVE else 1_000


KINDS = {"SQLite": "sqlite", "PostgreSQL": "database", "Parquet in a folder": "folder", "Parquet in S3": "bucket"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A driver that keeps a log."""
    return request.param


@pytest.fixture
def address(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The address of a log of that kind."""
    where = KINDS[kind]
    if where == "folder":
        return f"parquet+{tmp_path.as_uri()}/store"
    if where == "bucket":
        return f"parquet+{request.getfixturevalue('bucket')}"
    return where if where == "sqlite" else request.getfixturevalue(where)


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_a_backlog_gets_into_the_log(tmp_path: Path, kind: str, address: str, evidence) -> None:
    spool = open_spool(tmp_path / "spool", Log(mode="os"))
    size = 0
    for number in range(BACKLOG):
        record = msgspec.msgpack.encode(make_record(number))
        size += len(record)
        kept = spool.append(record)
    await kept
    await spool.close()
    sink = open_sink(address, tmp_path)
    await sink.positions()
    shipper = Shipper(tmp_path / "spool", {"log": sink})
    began = time.perf_counter()
    while await shipper.ship_once():
        pass
    took_s = time.perf_counter() - began
    assert shipper.state.log.shipped == BACKLOG
    await shipper.close()
    evidence(
        f"{kind}: a backlog gets into the log",
        f"{BACKLOG:,} records of {size // BACKLOG} bytes",
        f"{BACKLOG / took_s:,.0f} a second",
    )
