"""Personal parts are blanked in spools, and nothing else moves or changes."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.log.batches import BatchReader, decode_record, list_spools
from cloche.log.erasing import ask_to_end, erase_in_quarantine, erase_in_spool, has_ended
from cloche.log.quarantine import Quarantine
from cloche.log.segments import Damage, Frame, locked, read_segment, segment_numbers, segment_path, written_bytes
from cloche.log.settle import held
from cloche.log.spool import open_spool
from cloche.ports import Position
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import Personal, is_erased


def pieces_of(folder):
    return [
        piece for number in segment_numbers(folder) for piece in read_segment(segment_path(folder, number), folder.name)
    ]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), min_size=1, max_size=12), st.integers(300, 3000))
async def test_blanked_frames_stay_where_they_are_and_all_others_as_they_were(tmp_path_factory, drawn, segment_bytes):
    root = tmp_path_factory.mktemp("spool")
    records = [
        make_record(place, Personal("ann" if meant else "bob", parameters={"secret": b"s" + data}))
        for place, (meant, data) in enumerate(drawn)
    ]
    spool = open_spool(root, Log(mode="os", segment_bytes=segment_bytes))
    for record in records:
        await spool.append(msgspec.msgpack.encode(record))
    await spool.close()
    before = pieces_of(spool.folder)
    (folder,) = list_spools(root)
    wanted = {record.id for record, (meant, _) in zip(records, drawn, strict=True) if meant}
    assert erase_in_spool(folder, lambda record: record.id in wanted) == (len(wanted), 0)
    after = pieces_of(spool.folder)
    assert not any(isinstance(piece, Damage) for piece in after)
    assert [piece.end for piece in after] == [piece.end for piece in before]
    read = [decode_record(piece.payload) for piece in after if isinstance(piece, Frame)]
    expected = [msgspec.structs.replace(each, personal=b"") if each.id in wanted else each for each in records]
    assert read == expected
    assert erase_in_spool(folder, lambda record: True) == (len(records) - len(wanted), 0)
    batch = BatchReader().next_batch(folder, Position())
    assert all(is_erased(record.personal) for record in batch.records)


async def test_a_segment_that_is_written_is_ended_on_request_and_not_before(tmp_path):
    spool = open_spool(tmp_path, Log(mode="disk"))
    (folder,) = list_spools(tmp_path)
    assert ask_to_end(folder) is None, "there is nothing in it"
    await spool.append(msgspec.msgpack.encode(make_record(1)))
    assert erase_in_spool(folder, lambda record: True) == (0, 1), "its writer still has it"
    number = ask_to_end(folder)
    assert number == 1
    assert not has_ended(folder, number)
    while not has_ended(folder, number):
        await asyncio.sleep(0.02)
    end = written_bytes(segment_path(spool.folder, 1))
    assert held(tmp_path) == {folder.name: Position(1, end)}, "there is nothing to wait for in the one after it"
    assert erase_in_spool(folder, lambda record: True) == (1, 0)
    await spool.append(msgspec.msgpack.encode(make_record(2)))
    await spool.close()
    assert [decode_record(piece.payload).time_us % 10 for piece in pieces_of(spool.folder)] == [1, 2]


async def test_a_writer_that_is_gone_is_asked_for_nothing_whoever_looks_at_the_same_moment(tmp_path):
    spool = open_spool(tmp_path, Log(mode="os"))
    await spool.append(msgspec.msgpack.encode(make_record(1)))
    await spool.close()
    with locked(spool.folder):
        (folder,) = list_spools(tmp_path)
    assert ask_to_end(folder) is None
    assert has_ended(folder, 1)
    assert not (spool.folder / "end").exists()


def test_damaged_bytes_with_a_name_are_blanked(tmp_path):
    segment = tmp_path / "spool-a" / "00000001.seg"
    segment.parent.mkdir()
    segment.write_bytes(b"x" * 10 + b"of ann" + b"of bob")
    quarantine = Quarantine(tmp_path)
    quarantine.add(segment, Damage(10, 16, False), "no valid frame")
    quarantine.add(segment, Damage(16, 22, False), "no valid frame")
    assert erase_in_quarantine(tmp_path, [b"ann"]) == ["spool-a-00000001-10"]
    kept = sorted(path.read_bytes() for path in quarantine.folder.glob("*.bin"))
    assert kept == [bytes(6), b"of bob"]
    assert len(quarantine.notes()) == 2


def test_a_note_that_is_damaged_itself_hides_no_other(tmp_path):
    segment = tmp_path / "spool-a" / "00000001.seg"
    segment.parent.mkdir()
    segment.write_bytes(b"x" * 22)
    quarantine = Quarantine(tmp_path)
    quarantine.add(segment, Damage(10, 16, False), "no valid frame")
    (quarantine.folder / "garbage.json").write_bytes(b"\xff")
    assert [note.spool for note in quarantine.notes()] == ["garbage", "spool-a"]
