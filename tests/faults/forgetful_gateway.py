"""A gateway that is wrong on purpose: it answers, and writes its record afterwards."""

from __future__ import annotations

import asyncio

from cloche.processes import gateway


class Forgetful:
    """A journal that takes its time."""

    def __init__(self, spool):
        self._spool = spool

    def append(self, record):
        loop = asyncio.get_running_loop()
        loop.call_soon(self._spool.append, record)
        kept = loop.create_future()
        kept.set_result(None)
        return kept


def open_forgetful(home, settings, workers, siblings, opened=gateway.open_gateway):
    parts = opened(home, settings, workers, siblings)
    parts.gateway._journal = Forgetful(parts.journal)
    return parts


if __name__ == "__main__":
    gateway.open_gateway = open_forgetful
    gateway.main()
