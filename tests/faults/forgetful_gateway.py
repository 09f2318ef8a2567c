"""A gateway that is wrong on purpose: it answers, and writes its record afterwards."""

from __future__ import annotations

import asyncio

from cloche.processes import gateway


class Forgetful:
    """A journal that takes its time."""

    def __init__(self, spool):
        self._spool = spool
        self._writing = set()

    async def append(self, record):
        writing = asyncio.create_task(self._spool.append(record))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)


def open_forgetful(home, settings, workers, opened=gateway.open_gateway):
    parts = opened(home, settings, workers)
    parts.gateway._journal = Forgetful(parts.spool)
    return parts


if __name__ == "__main__":
    gateway.open_gateway = open_forgetful
    gateway.main()
