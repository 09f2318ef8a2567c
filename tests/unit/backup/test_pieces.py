"""Pieces are all of what was cut, of a size that memory can hold, and mostly those of the time before."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random

from hypothesis import given
from hypothesis import strategies as st

from cloche.backup.pieces import PIECE_BYTES, SEAM, of_file, of_stream

MOST = 64
SEAMS = [b"\xa7\x1c\x00", b"\xa7\x1c\x0f"]


def cut(data: bytes, chunk: int = 1000, most: int = MOST) -> list[tuple[str, bytes]]:
    async def stream():
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    async def gather():
        return [piece async for some in of_stream(stream(), most) for piece in some]

    return asyncio.run(gather())


@given(st.lists(st.sampled_from([*SEAMS, b"\xa7\x1c\x10", b"\xa7", bytes(MOST)]) | st.binary()), st.integers(1, 200))
def test_a_stream_is_all_of_its_pieces_however_it_comes(parts, chunk):
    data = b"".join(parts)
    pieces = cut(data, chunk)
    assert b"".join(piece for _, piece in pieces) == data
    assert all(len(piece) <= MOST for _, piece in pieces)
    assert all(len(piece) >= MOST // 8 for _, piece in pieces[:-1])
    assert all(digest == hashlib.sha256(piece).hexdigest() for digest, piece in pieces)
    assert cut(data) == pieces


def test_what_was_put_into_a_stream_changes_the_pieces_around_it_alone():
    chance = random.Random(8)
    parts = [chance.randbytes(chance.randrange(60)) + SEAMS[0] for _ in range(400)]
    before = dict(cut(b"".join(parts)))
    after = dict(cut(b"a header" + b"".join([*parts[:200], b"a record", *parts[200:]])))
    assert len(before) > 200
    assert len(after.keys() - before.keys()) < 20


def test_compressed_bytes_have_seams_enough():
    assert 8 <= len(SEAM.findall(random.Random(8).randbytes(4 * PIECE_BYTES))) <= 32


def test_a_file_is_cut_where_it_was_cut_before():
    async def gather(data, most):
        return [piece async for some in of_file(io.BytesIO(data), most) for piece in some]

    data = bytes(5 * PIECE_BYTES + 7)
    pieces = asyncio.run(gather(data, None))
    assert [len(piece) for _, piece in pieces] == [*[PIECE_BYTES] * 5, 7]
    some = asyncio.run(gather(data, PIECE_BYTES + 1))
    assert [len(piece) for _, piece in some] == [PIECE_BYTES, 1]
    assert some[0] == pieces[0]
