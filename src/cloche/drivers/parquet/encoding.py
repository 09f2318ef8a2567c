"""Tables as the bytes of Parquet files, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

GROUP_ROWS: Final = 8192
"""Rows that are looked at together."""


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, compression="zstd")
    return bytes(sink.getvalue())


class Opened:
    """A Parquet file in memory.

    Raises:
        pyarrow.ArrowException: it is none; its methods, too.
    """

    def __init__(self, data: bytes) -> None:
        with _as_arrow():
            self._file = pq.ParquetFile(pa.BufferReader(data))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all of it, or some columns."""
        with _as_arrow():
            return self._file.read(columns)

    def groups(self, *, last_first: bool = False) -> Iterator[Group]:
        """Yield its groups of rows, in their order or in the other."""
        numbers = range(self._file.num_row_groups)
        yield from (Group(self._file, number) for number in (reversed(numbers) if last_first else numbers))


class Group:
    """Some rows of a file, one after the other."""

    def __init__(self, file: Any, number: int) -> None:
        self._file = file
        self._number = number

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some of its columns."""
        with _as_arrow():
            return self._file.read_row_group(self._number, columns)


@contextmanager
def _as_arrow() -> Iterator[None]:
    """Let damage be called what it is: pyarrow has an OSError for some of it."""
    try:
        yield
    except OSError as error:
        raise pa.ArrowInvalid(str(error)) from None


def by_time(table: pa.Table) -> pa.Table:
    """Return rows in the order of their time, and of their ids."""
    return table.take(pc.sort_indices(table, sort_keys=[("time", "ascending"), ("id", "ascending")]))
