"""Wiping what SQLite leaves of rows in the space that no row takes.

`secure_delete` zeroes what is deleted. A row that is moved, since its page was split or joined with others, may leave a
copy behind that is not; where the row is erased later, that copy stays. This zeroes that space on every page of a table
and of its indexes, as https://www.sqlite.org/fileformat2.html lays them out. SQLite never reads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

_INTERIOR: Final = (2, 5)
_LEAF: Final = (10, 13)
_LARGEST_PAGE: Final = 65_536


class _Page(NamedTuple):
    """A page of a B-tree; none is the first of its file, which begins with the file's own header."""

    data: bytes

    @property
    def is_interior(self) -> bool:
        """Whether it leads to other pages."""
        return self.data[0] in _INTERIOR

    @property
    def cells(self) -> range:
        """The places of the pointers to its cells."""
        first = 12 if self.is_interior else 8
        return range(first, first + 2 * self.number(3), 2)

    def number(self, place: int, size: int = 2) -> int:
        """Return the number at a place."""
        return int.from_bytes(self.data[place : place + size], "big")

    def children(self) -> Iterator[int]:
        """Yield the numbers of the pages that it leads to."""
        if self.is_interior:
            yield self.number(8, 4)
            yield from (self.number(self.number(pointer), 4) for pointer in self.cells)

    def unused(self) -> Iterator[tuple[int, int]]:
        """Yield where space begins and ends that no cell takes, but for fragments of three bytes at most."""
        yield self.cells.stop, self.number(5) or _LARGEST_PAGE
        place = self.number(1)
        while place:
            yield place + 4, place + self.number(place + 2)  # the first four bytes say where the next one is
            place = self.number(place)


def wipe(connection: sqlite3.Connection, file: int, table: str) -> int:
    """Zero what no row takes on the pages of a table and of its indexes; return on how many pages something was there.

    Args:
        connection: in a transaction that keeps everybody else from writing. There is nothing in a write-ahead log, and
            no connection that may write has pages in its memory that this one may change.
        file: the descriptor of the database, open for reading and writing. It is to be closed after the last connection
            of this process: closing any descriptor of a file lets go of the locks that SQLite has there.
        table: its name.

    Raises:
        OSError: the disk does not take it; what was zeroed until then is.
    """
    (page_bytes,) = connection.execute("pragma page_size").fetchone()
    found = connection.execute("select rootpage from sqlite_master where tbl_name = ? and rootpage > 1", (table,))
    waiting = [root for (root,) in found]
    wiped = 0
    while waiting:
        number = waiting.pop()
        page = _Page(os.pread(file, page_bytes, (number - 1) * page_bytes))
        if len(page.data) < page_bytes or page.data[0] not in (*_INTERIOR, *_LEAF):
            continue  # it is damaged, which is for others to say
        waiting += page.children()
        left = [(begin, end) for begin, end in page.unused() if any(page.data[begin:end])]
        for begin, end in left:
            os.pwrite(file, bytes(end - begin), (number - 1) * page_bytes + begin)
        wiped += bool(left)
    if wiped:
        os.fsync(file)
    return wiped
