from __future__ import annotations

import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import NewerFormat
from cloche.log import segments
from cloche.log.segments import (
    Damage,
    Frame,
    framed,
    header,
    locked,
    read_segment,
    seed_of,
    segment_path,
    written_bytes,
)

SPOOL = "0001-abc"
PAYLOADS = [b"first", b"", b"x" * 3000, b"last"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / SPOOL
    folder.mkdir()
    return folder


def write(folder, data, number=1):
    segment_path(folder, number).write_bytes(data)
    return segment_path(folder, number)


def segment(payloads, number=1, spool=SPOOL):
    seed = seed_of(spool, number)
    return header(seed) + framed(payloads, seed)


def payloads(pieces):
    return [piece.payload for piece in pieces if isinstance(piece, Frame)]


def damages(pieces):
    return [piece for piece in pieces if isinstance(piece, Damage)]


def test_frames_come_back_from_any_offset(folder):
    path = write(folder, segment(PAYLOADS))
    pieces = list(read_segment(path, SPOOL))
    assert payloads(pieces) == PAYLOADS
    assert pieces[-1].end == path.stat().st_size
    for done, piece in enumerate(pieces):
        assert payloads(read_segment(path, SPOOL, piece.end)) == PAYLOADS[done + 1 :]


def test_frames_larger_than_the_window_come_back(folder, monkeypatch):
    monkeypatch.setattr(segments, "_WINDOW", 64)
    path = write(folder, segment(PAYLOADS))
    assert payloads(read_segment(path, SPOOL)) == PAYLOADS


def test_every_cut_leaves_the_frames_before_it_and_one_tail(folder):
    whole = segment([b"one", b"two", b"three"])
    ends = [len(segment([b"one", b"two", b"three"][:count])) for count in range(4)]
    for size in range(len(whole)):
        pieces = list(read_segment(write(folder, whole[:size]), SPOOL))
        complete = [end for end in ends if end <= size]
        assert len(payloads(pieces)) == max(0, len(complete) - 1)
        expected = [] if size in (0, *ends) else [Damage(max(complete, default=0), size, True)]
        assert damages(pieces) == expected


@pytest.mark.parametrize("window", [16, 1024 * 1024])
def test_every_flipped_byte_costs_one_frame_at_most(folder, monkeypatch, window):
    monkeypatch.setattr(segments, "_WINDOW", window)
    kept = [b"one", b"two", b"three", b"four"]
    whole = segment(kept)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        pieces = list(read_segment(write(folder, bytes(damaged)), SPOOL))
        left = payloads(pieces)
        assert [payload for payload in kept if payload in left] == left
        in_header = place < segments.HEADER_BYTES
        assert len(left) == (4 if in_header else 3)
        (damage,) = damages(pieces)
        assert damage.start <= place < damage.end
        assert damage.tail == (place >= len(segment(kept[:3])))


@given(noise=st.binary(max_size=200), place=st.integers(0, 3))
def test_noise_between_frames_is_told_from_them(tmp_path_factory, noise, place):
    folder = tmp_path_factory.mktemp("spool") / SPOOL
    folder.mkdir()
    seed = seed_of(SPOOL, 1)
    data = header(seed) + framed(PAYLOADS[:place], seed) + noise + framed(PAYLOADS[place:], seed)
    pieces = list(read_segment(write(folder, data), SPOOL))
    assert payloads(pieces) == PAYLOADS
    assert [damage.end - damage.start for damage in damages(pieces)] == [len(noise)] * bool(noise)


def test_frames_of_another_segment_or_spool_are_noise(folder):
    for foreign in (seed_of(SPOOL, 2), seed_of("0001-abd", 1)):
        data = segment([b"mine"]) + framed([b"forged"], foreign) + framed([b"mine too"], seed_of(SPOOL, 1))
        pieces = list(read_segment(write(folder, data), SPOOL))
        assert payloads(pieces) == [b"mine", b"mine too"]
        assert len(damages(pieces)) == 1


def test_a_newer_format_is_refused_and_a_damaged_format_number_is_not_taken_for_one(folder, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_FORMAT", 2)
    newer = segment([b"payload"])
    monkeypatch.undo()
    with pytest.raises(NewerFormat, match="format 2"):
        list(read_segment(write(folder, newer), SPOOL))
    damaged = bytearray(segment([b"payload"]))
    damaged[8] = 9
    assert payloads(read_segment(write(folder, bytes(damaged)), SPOOL)) == [b"payload"]


def test_the_magic_of_a_frame_can_not_be_in_text():
    for byte in segments.FRAME_MAGIC:
        for before in range(256):
            with pytest.raises(UnicodeDecodeError):
                bytes([before, byte]).decode("utf-8")


def test_a_writer_that_lives_keeps_the_lock(folder):
    with locked(folder) as gone:
        assert gone
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with locked(folder) as gone:
        assert not gone
    os.close(lock)
    with locked(folder) as gone:
        assert gone


def test_any_number_may_look_for_a_writer_at_once(folder):
    (folder / "lock").touch()
    with locked(folder) as gone, locked(folder) as seen_gone:
        assert (gone, seen_gone) == (True, True)
    lock = os.open(folder / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with locked(folder) as gone, locked(folder) as seen_gone:
        assert (gone, seen_gone) == (False, False)
    os.close(lock)


def test_room_for_more_does_not_count(folder):
    whole = segment(PAYLOADS)
    for room in (0, 1, 1000, 64 * 1024, 200_000):
        path = write(folder, whole + bytes(room))
        assert written_bytes(path) == len(whole)
        assert [type(piece) for piece in read_segment(path, SPOOL)] == [Frame] * len(PAYLOADS)
    assert written_bytes(write(folder, bytes(100_000))) == 0


def test_a_write_that_was_cut_short_within_the_room_is_a_tail(folder):
    whole = segment([b"kept", b"torn" * 100])
    torn = whole[:-7] + bytes(5000)
    pieces = list(read_segment(write(folder, torn), SPOOL))
    assert payloads(pieces) == [b"kept"]
    assert damages(pieces) == [Damage(len(segment([b"kept"])), len(torn), True)]
