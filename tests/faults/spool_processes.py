"""Processes to be killed: `append FOLDER MODE`, which prints the id of each acknowledged record; `ship FOLDER`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from cloche.drivers.sqlite import SqliteSink
from cloche.log.ship import Shipper
from cloche.log.spool import DiskSpool, open_spool
from cloche.log.writing import Files
from cloche.settings import Log
from cloche.testing import make_record

SEGMENT_BYTES = 200_000


class HastySpool(DiskSpool):
    """Wrong on purpose: acknowledges before it writes."""

    async def append(self, record):
        super().append(record)


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
    shipper = Shipper(folder / "spool", SqliteSink(folder / "log.db"))
    os.write(1, b"ready\n")
    await shipper.run(asyncio.Event())


if __name__ == "__main__":
    command, folder, *mode = sys.argv[1:]
    asyncio.run(append(Path(folder), *mode) if command == "append" else ship(Path(folder)))
