"""Inferences as one Parquet file: typed columns, and JSON text for what callers sent and got."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cloche.drivers.parquet.columns import EXPORTED, erased, exported, exported_rows
from cloche.errors import ExportDamaged
from cloche.values import ExportedRow, Record

_GROUP_ROWS = 100_000
_GROUP_BYTES = 64 * 1024 * 1024
"""Of the columns of one row group in memory, at most this and one piece more."""


class ParquetFile:
    """Keeps the promise `TableFile`. A mark is a number of pieces: files of their own, until they are joined.

    A Parquet file can't be read, nor added to, before its end is written.
    """

    def __init__(self, folder: Path) -> None:
        self.whole = folder / "whole.parquet"
        self._folder = folder
        self._pieces = 0

    async def rewind(self, mark: int) -> None:
        """Go back to so many pieces.

        Raises:
            ExportDamaged: there are not so many.
        """
        if not all(self._piece(number).exists() for number in range(mark)):
            raise ExportDamaged(folder=self._folder)
        self._pieces = mark

    async def add(self, records: Sequence[Record]) -> int:
        """Add a piece; return how many there are."""
        await asyncio.to_thread(self._write, self._piece(self._pieces), [exported(records)])
        self._pieces += 1
        return self._pieces

    async def finish(self) -> None:
        """Join the pieces."""
        await asyncio.to_thread(self._write, self.whole, _groups(map(self._piece, range(self._pieces))))

    @staticmethod
    def erase(file: Path, draft: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        """Write a draft of a file with nothing but envelopes of the rows that are meant; return how many it had.

        Raises:
            OSError, ValueError: it is no such file.
        """
        count = 0
        with pq.ParquetFile(file) as rows, draft.open("wb") as kept:
            with pq.ParquetWriter(kept, rows.schema_arrow, compression="zstd") as writer:
                for group in range(rows.num_row_groups):
                    found = rows.read_row_group(group)
                    table, more = erased(found, [row.id for row in exported_rows(found) if is_meant(row)])
                    count += more
                    writer.write_table(table)
            kept.flush()
            os.fsync(kept.fileno())
        return count

    def _piece(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"

    def _write(self, path: Path, tables: Iterator[pa.Table] | Sequence[pa.Table]) -> None:
        with path.open("wb") as file:
            with pq.ParquetWriter(file, EXPORTED, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=_GROUP_ROWS)
            file.flush()
            os.fsync(file.fileno())


def _groups(pieces: Iterator[Path]) -> Iterator[pa.Table]:
    """Yield row groups: pieces together, as long as they are not too large."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        table = pq.read_table(piece, schema=EXPORTED)
        rows = sum(each.num_rows for each in waiting) + table.num_rows
        if waiting and (rows > _GROUP_ROWS or sum(each.nbytes for each in waiting) > _GROUP_BYTES):
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
    if waiting:
        yield pa.concat_tables(waiting)
