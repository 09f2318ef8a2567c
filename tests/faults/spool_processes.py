"""Processes to be killed, or to meet faults.

`append FOLDER MODE` prints the id of each acknowledged record, `ship FOLDER` ships them; `turns FOLDER MODE` does both
in turn, a few times, and ends. `fill FOLDER MODE` does both at once until the disk is full, and again once it is not,
a few times.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from cloche.drivers.sqlite import SqliteSink
from cloche.errors import LogError, LogUnavailable
from cloche.log.columns import pack_text
from cloche.log.ship import Shipper
from cloche.log.spool import DiskSpool, open_spool
from cloche.log.writing import Files
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import Personal

SEGMENT_BYTES = 200_000
TURNS = 4
FILLS = 20 if os.environ.get("CLOCHE_PROVE") == "1" else 2
RECORD_BYTES = 25_000
WELL_S = 15


class HastySpool(DiskSpool):
    """Wrong on purpose: acknowledges before it writes."""

    async def append(self, record):
        super().append(record)


class DeafSpool(DiskSpool):
    """Wrong on purpose: hears of no failure."""

    def _keep(self, records):
        super()._keep(records)


async def append(folder, mode):
    log = Log(mode="disk" if mode == "hasty" else mode, segment_bytes=SEGMENT_BYTES)
    spool = HastySpool(folder / "spool", log, Files()) if mode == "hasty" else open_spool(folder / "spool", log)

    async def caller():
        while True:
            record = make_record()
            await spool.append(msgspec.msgpack.encode(record))
            os.write(1, record.id.hex().encode() + b"\n")
            if mode == "hasty":
                await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(8)))


async def ship(folder):
    shipper = Shipper(folder / "spool", {"log": SqliteSink(folder / "log.db")})
    os.write(1, b"ready\n")
    await shipper.run(asyncio.Event())


async def turns(folder, mode="disk"):
    log = Log(segment_bytes=3000)
    spool = DeafSpool(folder / "spool", log, Files()) if mode == "deaf" else open_spool(folder / "spool", log)
    shipper = Shipper(folder / "spool", {"log": SqliteSink(folder / "log.db")})
    for _ in range(TURNS):
        records = [make_record() for _ in range(4)]
        waiting = (spool.append(msgspec.msgpack.encode(record)) for record in records)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        kept = [record.id.hex() for record, answer in zip(records, answers, strict=True) if answer is None]
        os.write(1, "".join(f"{name}\n" for name in kept).encode())
        with suppress(LogError, OSError):
            await shipper.ship_once()
    await spool.close()
    await shipper.close()


async def fill(folder, mode):
    spool, over = open_spool(folder / "spool", Log(mode=mode)), asyncio.Event()
    shipper = Shipper(folder / "spool", {"log": SqliteSink(folder / "log.db")})
    shipping = asyncio.create_task(shipper.run(over))
    for _ in range(FILLS):
        with suppress(LogUnavailable):
            while True:
                record = make_record(0, Personal(input=pack_text(b'["%s"]' % os.urandom(RECORD_BYTES).hex().encode())))
                await spool.append(msgspec.msgpack.encode(record))
                os.write(1, record.id.hex().encode() + b"\n")
        async with asyncio.timeout(WELL_S):
            while not spool.state.healthy:
                await asyncio.sleep(0.05)
        os.write(1, b"well\n")
    await spool.close()
    over.set()
    await shipping
    await shipper.close()


if __name__ == "__main__":
    command, folder, *mode = sys.argv[1:]
    asyncio.run({"append": append, "ship": ship, "turns": turns, "fill": fill}[command](Path(folder), *mode))
