"""The gateways of one server, as one of them sees them: which are there and ready, how busy, and what all have counted.

They share a table, in which each writes a line of its own, and the memory in which each counts. Nothing in the table
has to be true for calls to be answered: a line that is old says nothing, and who dies writes no more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from cloche.siblings.cells import Cells, Sheet, read_cells, shared_memory

FRESH_S: Final = 3.0
"""How old the line of a gateway that is there may be."""

_FIELDS: Final = 3
_LINE_BYTES: Final = 8 * _FIELDS
_READY: Final = 1.0


class Shared(msgspec.Struct, frozen=True):
    """What the gateways of a server share: open files."""

    table: int
    cells: list[int]
    """The memory in which each counts."""

    @classmethod
    def make(cls, gateways: int) -> Shared:
        """Return what so many gateways need."""
        table = shared_memory()
        os.pwrite(table, bytes(gateways * _LINE_BYTES), 0)
        return cls(table, [shared_memory() for _ in range(gateways)])

    def clear(self, number: int) -> None:
        """Have gateway `number` not be there: it died."""
        os.pwrite(self.table, bytes(_LINE_BYTES), (number - 1) * _LINE_BYTES)

    @property
    def files(self) -> list[int]:
        """All of them."""
        return [self.table, *self.cells]


class Sibling(NamedTuple):
    """One gateway, as it said of itself last."""

    number: int
    """From 1."""
    there: bool
    ready: bool
    connections: int


class Siblings:
    """The gateways of a server, for one of them.

    Args:
        shared: what they share.
        number: of this one, from 1.
        run: the server's folder for what is true only while it runs, where each says how far it has come.
        now_s: seconds of a clock that all processes of this host share.
    """

    def __init__(self, shared: Shared, number: int, run: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self.number = number
        self.run = run
        self.count = len(shared.cells)
        self.cells = Cells(shared.cells[number - 1])
        """Where this one counts."""
        self._files = shared.cells
        self._table = memoryview(mmap(shared.table, self.count * _LINE_BYTES)).cast("d")
        self._now_s = now_s

    @classmethod
    def alone(cls, run: Path) -> Siblings:
        """Return a gateway without siblings."""
        return cls(Shared.make(1), 1, run)

    def tell(self, *, ready: bool, connections: int) -> None:
        """Say how this one is; to be said again before it is old."""
        start = (self.number - 1) * _FIELDS
        self._table[start + 1] = float(ready)
        self.tell_connections(connections)
        self._table[start] = self._now_s()

    def tell_connections(self, connections: int) -> None:
        """Say how many connections this one has."""
        self._table[(self.number - 1) * _FIELDS + 2] = float(connections)

    def comes_here(self, connections: int) -> bool:
        """Whether a new connection is for this one, which has so many: of those that may take it none has fewer."""
        self.tell_connections(connections)
        if not self.may_take:
            return False
        ready = self._read(self.number).ready
        return all(connections <= other.connections for other in self.others if other.there and other.ready >= ready)

    @property
    def may_take(self) -> bool:
        """Whether this one may take connections: it is ready, or nobody else is, and somebody has to say so."""
        return self._read(self.number).ready or not self.others_ready

    @property
    def all(self) -> list[Sibling]:
        """Each of them, this one too."""
        return [self._read(number) for number in range(1, self.count + 1)]

    @property
    def others(self) -> list[Sibling]:
        """The others, whether they are there or not."""
        return [self._read(number) for number in range(1, self.count + 1) if number != self.number]

    @property
    def others_ready(self) -> bool:
        """Whether a call that does not come here is answered elsewhere."""
        return any(other.ready for other in self.others)

    def counted(self) -> Iterator[tuple[Sibling, Sheet]]:
        """Yield what each of them has counted, those before it in its place included."""
        for sibling, file in zip(self.all, self._files, strict=True):
            yield sibling, read_cells(file)

    def _read(self, number: int) -> Sibling:
        start = (number - 1) * _FIELDS
        told_s, ready, connections = self._table[start : start + _FIELDS]
        there = number == self.number or (told_s > 0 and self._now_s() - told_s < FRESH_S)
        return Sibling(number, there, there and ready == _READY, int(connections))
