"""Every journal passes the contract of its port: the modes of the spool, the sink itself, and the one in memory."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from cloche.log.direct import SinkJournal
from cloche.log.segments import Frame, read_segment, segment_numbers, segment_path
from cloche.log.spool import open_spool
from cloche.settings import Log
from cloche.testing import JournalContract, make_record
from cloche.testing.memory import MemoryJournal
from sinks import MemorySink


class OfASpool(JournalContract):
    mode: ClassVar[str]

    def open_journal(self, folder):
        return open_spool(folder, Log(mode=self.mode))

    async def end(self, journal):
        await journal.close()

    def kept(self, journal):
        return [
            piece.payload
            for number in segment_numbers(journal.folder)
            for piece in read_segment(segment_path(journal.folder, number), journal.folder.name)
            if isinstance(piece, Frame)
        ]


class TestDisk(OfASpool):
    mode = "disk"


class TestOperatingSystem(OfASpool):
    mode = "os"


class TestAsync(OfASpool):
    mode = "async"


class Wrapping(SinkJournal):
    """Takes any bytes, as the personal part of a record."""

    def append(self, record):
        return super().append(msgspec.msgpack.encode(make_record(personal=msgspec.msgpack.encode(record))))


class TestSink(JournalContract):
    def open_journal(self, folder):
        self.sink = MemorySink()
        return Wrapping(self.sink, patience_ms=10_000)

    async def end(self, journal):
        await journal.close()

    def kept(self, journal):
        return [msgspec.msgpack.decode(record.personal) for record in self.sink.kept]


class TestMemory(JournalContract):
    def open_journal(self, folder):
        return MemoryJournal()

    async def end(self, journal):
        pass

    def kept(self, journal):
        return journal.kept


async def test_the_one_in_memory_reads_its_records():
    journal, record = MemoryJournal(), make_record(7)
    await journal.append(msgspec.msgpack.encode(record))
    assert journal.records == [record]
