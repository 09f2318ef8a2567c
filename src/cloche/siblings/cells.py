"""Numbers by name in memory that processes share: they outlive the process that counts, and others read them.

The memory is an open file without a name, which the supervisor makes and hands to each gateway. It consists of chunks.
A chunk is a row of entries: the bytes of the name and the number of its cells (4 each), the name as JSON and padding,
and the cells (float64). An entry without cells is where the next one will be.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

Name: TypeAlias = tuple[str, ...]
Cell: TypeAlias = "memoryview[float]"
"""The cells of one name. A single counter is `cell[0]`; whole numbers are exact up to 2⁵³."""
Sheet: TypeAlias = dict[Name, tuple[float, ...]]
"""All that one process has in its cells, at one moment."""

CHUNK_BYTES: Final = 64 * 1024
_CELL_BYTES: Final = 8
_HEAD: Final = struct.Struct("=II")
_logger = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Name).decode


def shared_memory() -> int:
    """Return a new open file that lives in memory, as long as some process has it; elsewhere than on Linux, on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cloche", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Cells:
    """The cells that this process alone writes, with all that its predecessor left in the same memory.

    Args:
        file: from `shared_memory`; without one, the memory is this process's own.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = file
        self._names: dict[Name, Cell] = {}
        self._chunk = memoryview(bytearray())
        self._free = 0
        if file is not None:
            for start in range(0, os.fstat(file).st_size, CHUNK_BYTES):
                self._find(_mapped(file, start))

    def take(self, name: Name, count: int = 1) -> Cell:
        """Return the cells of a name; where it has none, `count` new ones that are 0."""
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = self._make(name, count)
        return found

    def __iter__(self) -> Iterator[tuple[Name, Cell]]:
        """Yield each name that has cells, with them."""
        return iter(list(self._names.items()))

    def _find(self, chunk: memoryview) -> None:
        self._chunk, self._free = chunk, 0
        for name, start, end in _entries(chunk):
            self._names[name] = chunk[start:end].cast("d")
            self._free = end

    def _make(self, name: Name, count: int) -> Cell:
        said = _encode(name)
        size = _HEAD.size + _padded(len(said)) + count * _CELL_BYTES
        if size > CHUNK_BYTES:
            return _own(count)
        if self._free + size > len(self._chunk):
            try:
                self._chunk, self._free = self._grown(), 0
            except OSError as error:
                _logger.warning("what this gateway counts from now on ends with it: %s", error.strerror)
                self._chunk, self._free = memoryview(bytearray(CHUNK_BYTES)), 0
        start, end = self._free, self._free + size
        self._clear(start + _HEAD.size, end + _HEAD.size)  # one who was killed may have left half an entry
        self._chunk[start + _HEAD.size : start + _HEAD.size + len(said)] = said
        _HEAD.pack_into(self._chunk, start, len(said), count)  # last, so that nobody reads half an entry
        self._free = end
        return self._chunk[end - count * _CELL_BYTES : end].cast("d")

    def _clear(self, start: int, end: int) -> None:
        """Make zeros of the bytes up to `end`, which may lie beyond the chunk."""
        end = min(end, len(self._chunk))
        self._chunk[start:end] = bytes(end - start)

    def _grown(self) -> memoryview:
        """Return a new chunk.

        Raises:
            OSError: there is no room for it.
        """
        if self._file is None:
            return memoryview(bytearray(CHUNK_BYTES))
        size = os.fstat(self._file).st_size
        os.pwrite(self._file, bytes(CHUNK_BYTES), size)  # what is mapped without room for it ends the process
        return _mapped(self._file, size)


def read_cells(file: int) -> Sheet:
    """Return all that some process counts in this memory, as it is now."""
    found: Sheet = {}
    for start in range(0, os.fstat(file).st_size, CHUNK_BYTES):
        chunk = memoryview(os.pread(file, CHUNK_BYTES, start))
        found |= {name: tuple(chunk[begin:end].cast("d")) for name, begin, end in _entries(chunk)}
    return found


def _entries(chunk: memoryview) -> Iterator[tuple[Name, int, int]]:
    """Yield each name with where its cells begin and end."""
    offset = 0
    while offset + _HEAD.size <= len(chunk):
        size, count = _HEAD.unpack_from(chunk, offset)
        if not count:
            return
        begin = offset + _HEAD.size + _padded(size)
        end = begin + count * _CELL_BYTES
        yield _decode(chunk[offset + _HEAD.size : offset + _HEAD.size + size]), begin, end
        offset = end


def _mapped(file: int, start: int) -> memoryview:
    return memoryview(mmap.mmap(file, CHUNK_BYTES, offset=start))


def _own(count: int) -> Cell:
    return memoryview(bytearray(count * _CELL_BYTES)).cast("d")


def _padded(size: int) -> int:
    return (size + _CELL_BYTES - 1) // _CELL_BYTES * _CELL_BYTES
