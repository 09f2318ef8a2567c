"""A spool that may grow only so large: what callers are told, and that it ends when sinks take records again."""

from __future__ import annotations

import asyncio

import pytest

from cloche.errors import InvalidSetting, LogUnavailable
from cloche.log import bound, spool, writing
from cloche.log.bound import BoundedFiles
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.settings import Log, load_settings
from cloche.testing import make_record
from sinks import MemorySink


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(bound, "_LOOK_S", 0.005)
    monkeypatch.setattr(spool, "_PROBE_S", 0.005)
    monkeypatch.setattr(writing, "_PROBE_BYTES", 100)
    monkeypatch.setattr(writing, "_LAID_OUT_BYTES", 1000)


async def fill(journal, encode):
    """Append records until one is refused; return the ids of the others."""
    kept = []
    for number in range(1000):
        record = make_record(number)
        try:
            await journal.append(encode(record))
        except LogUnavailable:
            return kept
        kept.append(record.id)
    pytest.fail("it grew without a bound")


@pytest.mark.parametrize("mode", ["disk", "os"])
async def test_a_spool_that_is_full_refuses_and_goes_on_when_it_was_shipped(place, encode, mode, caplog):
    journal = open_spool(place.spool, Log(mode=mode, segment_bytes=4000), BoundedFiles(10_000))
    sink, kept = MemorySink(), []
    shipper = Shipper(place.spool, {"log": sink})
    for _ in range(3):
        kept += await fill(journal, encode)
        assert sum(path.stat().st_size for path in journal.folder.iterdir()) <= 10_000
        assert "full" in journal.state.reason
        await shipper.ship_once()
        async with asyncio.timeout(5):
            while not journal.state.healthy:
                await asyncio.sleep(0.005)
    await journal.close()
    while await shipper.ship_once():
        pass
    assert sink.ids == kept
    assert len(kept) > 40
    assert caplog.text.count("log.backlog_bytes") >= 3


async def test_where_records_may_be_dropped_they_are(place, encode):
    journal = open_spool(place.spool, Log(mode="os", segment_bytes=4000, when_full="drop"), BoundedFiles(10_000))
    for number in range(100):
        await journal.append(encode(make_record(number)))
    assert journal.state.appended + journal.state.dropped == 100
    assert journal.state.dropped > 50
    await journal.close()


def test_a_bound_that_the_newest_file_alone_could_reach_is_refused():
    with pytest.raises(InvalidSetting, match="twice segment_bytes"):
        load_settings(environ={"CLOCHE_LOG_BACKLOG_BYTES": "100000000"})
    assert load_settings(environ={"CLOCHE_LOG_BACKLOG_BYTES": "200000000"}).log.backlog_bytes == 200_000_000
