"""Cutting what is backed up into pieces: what two backups have in common should make the same ones."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import IO, Final

PIECE_BYTES: Final = 4 * 1024 * 1024
"""Few enough of them for a store that takes its time for each, and small enough for memory to hold some at once."""

SEAM: Final = re.compile(rb"\xa7\x1c[\x00-\x0f]", re.DOTALL)
"""Where a stream is cut: in compressed bytes there is one every MB, and it stays when something comes before it."""

_TOGETHER: Final = 4

Pieces = list[tuple[str, bytes]]
"""Some pieces that follow each other, with their SHA-256."""


async def of_file(file: IO[bytes], most: int | None) -> AsyncGenerator[Pieces]:
    """Yield the pieces of a file of `most` bytes, or of all of it: each of the same size but the last.

    A file that was changed in one place has all other pieces in common with what it was.
    """
    while some := await asyncio.to_thread(_next_pieces, file, most):
        most = None if most is None else most - sum(len(piece) for _, piece in some)
        yield some


async def of_stream(stream: AsyncIterator[bytes], piece_bytes: int = PIECE_BYTES) -> AsyncGenerator[Pieces]:
    """Yield the pieces of a stream of compressed bytes, which is cut where its bytes say so.

    A stream into which something was put, or from which something was taken, has all other pieces in common with what
    it was.

    Args:
        stream: the bytes.
        piece_bytes: the most that a piece may have; it has at least an eighth of that, but for the last.
    """
    some: Pieces = []
    async for piece in _cut(stream, piece_bytes):
        some.append((await asyncio.to_thread(_digest, piece), piece))
        if len(some) == _TOGETHER:
            yield some
            some = []
    if some:
        yield some


async def _cut(stream: AsyncIterator[bytes], most: int) -> AsyncGenerator[bytes]:
    held = bytearray()
    async for more in stream:
        held += more
        while len(held) >= most:
            yield _taken(held, most)
    while held:
        yield _taken(held, most)


def _taken(held: bytearray, most: int) -> bytes:
    """Take the next piece out of what is held: up to the first seam, or as much as a piece may have."""
    seam = SEAM.search(held, most // 8, most)
    piece = bytes(held[: seam.end() if seam else most])
    del seam, held[: len(piece)]  # a match keeps what it was found in from shrinking
    return piece


def _next_pieces(file: IO[bytes], most: int | None) -> Pieces:
    found: Pieces = []
    while len(found) < _TOGETHER:
        piece = file.read(PIECE_BYTES if most is None else min(PIECE_BYTES, most))
        if not piece:
            break
        most = None if most is None else most - len(piece)
        found.append((_digest(piece), piece))
    return found


def _digest(piece: bytes) -> str:
    return hashlib.sha256(piece).hexdigest()
