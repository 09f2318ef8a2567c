"""Mode `sink`: what a caller is told when the sink is well, away, slow, or back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from cloche.errors import LogUnavailable
from cloche.log import direct
from cloche.log.direct import SinkJournal
from cloche.testing import make_record
from sinks import MemorySink


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(direct, "_PROBE_S", 0.005)


@pytest.fixture
async def sink():
    return MemorySink()


@pytest.fixture
async def journal(sink):
    journal = SinkJournal(sink, patience_ms=10_000)
    yield journal
    sink.free.set()
    await journal.close()
    assert sink.closed


def encoded(number=0):
    return msgspec.msgpack.encode(make_record(number))


async def test_it_is_not_healthy_before_the_sink_was_reached(sink):
    sink.free.clear()
    journal = SinkJournal(sink, patience_ms=10_000)
    await asyncio.sleep(0.01)
    assert "not reached yet" in journal.state.reason
    sink.free.set()
    async with asyncio.timeout(5):
        while not journal.state.healthy:
            await asyncio.sleep(0.001)
    await journal.close()


async def test_what_comes_while_one_write_runs_goes_together(sink, journal):
    sink.free.clear()
    waiting = [journal.append(encoded(0))]
    await asyncio.sleep(0)
    waiting += [journal.append(encoded(number)) for number in range(1, 50)]
    await asyncio.sleep(0)
    assert not any(caller.done() for caller in waiting)
    assert journal.state.bytes_waiting > 0
    sink.free.set()
    await asyncio.gather(*waiting)
    assert (sink.writes, len(sink.kept)) == (2, 50)
    assert (journal.state.appended, journal.state.healthy, journal.state.mode) == (50, True, "sink")


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(sink, journal):
    troubles = iter(["before", None])
    sink.trouble = lambda: next(troubles, None)
    await journal.append(encoded())
    assert journal.state.healthy


async def test_an_answer_that_got_lost_keeps_the_record_once(sink, journal):
    troubles = iter(["after", None])
    sink.trouble = lambda: next(troubles, None)
    await journal.append(encoded())
    assert len(sink.kept) == 1


@pytest.mark.parametrize("trouble", ["before", "bug"])
async def test_a_sink_that_is_away_is_said_and_found_again(sink, journal, trouble, caplog):
    sink.trouble = lambda: trouble
    results = await asyncio.gather(journal.append(encoded(1)), journal.append(encoded(2)), return_exceptions=True)
    assert all(isinstance(result, LogUnavailable) for result in results)
    assert "memory" not in str(results[0]), "a caller is told no address"
    assert not journal.state.healthy
    sink.trouble = lambda: None
    async with asyncio.timeout(5):
        while not journal.state.healthy:
            await asyncio.sleep(0.005)
    await journal.append(encoded(3))
    assert [record.time_us % 1000 for record in sink.kept] == [3]


async def test_nobody_waits_longer_than_the_patience_and_what_is_unwanted_is_not_written(sink):
    journal = SinkJournal(sink, patience_ms=20)
    sink.free.clear()
    under_way = journal.append(encoded(1))
    await asyncio.sleep(0)
    behind_it = journal.append(encoded(2))
    results = await asyncio.gather(under_way, behind_it, return_exceptions=True)
    assert all(isinstance(result, LogUnavailable) for result in results)
    assert not journal.state.healthy
    sink.free.set()
    await journal.append(encoded(3))
    assert [record.time_us % 1000 for record in sink.kept] == [1, 3]
    assert journal.state.healthy
    await journal.close()
    with pytest.raises(LogUnavailable):
        journal.append(encoded(4))
