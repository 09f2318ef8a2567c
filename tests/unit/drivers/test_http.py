from __future__ import annotations

import asyncio
import base64
import json
import uuid

import msgspec
import pytest

import sinks
from cloche.drivers import open_sink
from cloche.errors import InvalidSetting, NewerFormat, SinkUnavailable
from cloche.log.reading import to_json
from cloche.ports import Mark, Position
from cloche.testing import SinkContract, make_record


@pytest.fixture
def endpoint():
    endpoint = sinks.Endpoint()
    yield endpoint
    endpoint.stop()


class TestHttp(SinkContract):
    @pytest.fixture(autouse=True)
    def _open(self, endpoint):
        self.endpoint = endpoint

    def open_sink(self, folder):
        return open_sink(self.endpoint.url, folder)

    async def kept(self, folder):
        return [uuid.UUID(name).bytes for name in self.endpoint.ids]


@pytest.fixture
async def sink(endpoint, tmp_path):
    sink = open_sink(endpoint.url, tmp_path)
    yield sink
    await sink.close()


def keys(endpoint):
    return [headers["idempotency-key"] for headers, _ in endpoint.batches]


async def test_a_line_is_what_an_export_writes(endpoint, sink):
    record = make_record(7)
    await sink.write([record], Mark("a", Position(1, 1)))
    ((headers, lines),) = endpoint.batches
    assert lines == [json.loads(json.dumps(to_json(record)))]
    assert headers["content-type"] == "application/x-ndjson"
    assert headers["idempotency-key"].startswith(str(uuid.UUID(bytes=record.id)))


async def test_bodies_are_of_bounded_size_and_in_order(endpoint, sink, monkeypatch):
    monkeypatch.setattr("cloche.drivers.http._MOST_BYTES", 5000)
    records = [make_record(number) for number in range(40)]
    assert await sink.write(records, Mark("a", Position(1, 1))) == 40
    assert endpoint.ids == [str(uuid.UUID(bytes=record.id)) for record in records]
    assert len(endpoint.batches) > 3
    assert all(int(headers["content-length"]) <= 5000 for headers, _ in endpoint.batches)


@pytest.mark.parametrize("fault", ["refuse", "lost"])
async def test_what_was_not_confirmed_is_sent_again_under_the_same_key(endpoint, sink, fault):
    records = [make_record(number) for number in range(3)]
    endpoint.fault = fault
    with pytest.raises(SinkUnavailable):
        await sink.write(records, Mark("a", Position(1, 1)))
    assert await sink.positions() == {}
    endpoint.fault = None
    assert await sink.write(records, Mark("a", Position(1, 1))) == 3
    assert endpoint.distinct == [str(uuid.UUID(bytes=record.id)) for record in records]
    assert len(set(keys(endpoint))) == 1
    assert len(keys(endpoint)) == (2 if fault == "lost" else 1)


async def test_a_longer_batch_that_begins_alike_has_another_key(endpoint, sink):
    records = [make_record(number) for number in range(3)]
    await sink.write(records[:2])
    await sink.write(records)
    assert len(set(keys(endpoint))) == 2


async def test_an_endpoint_that_is_away_or_does_not_answer_says_so(endpoint, sink, monkeypatch, tmp_path):
    endpoint.stop()
    with pytest.raises(SinkUnavailable, match=r"can't be reached"):
        await sink.write([make_record()])
    endpoint.start()
    monkeypatch.setattr("cloche.drivers.http._TIMEOUT", 0.05)
    hasty = open_sink(endpoint.url, tmp_path)
    endpoint.fault, endpoint.slow_s = "slow", 0.3
    with pytest.raises(SinkUnavailable, match="in time"):
        await hasty.write([make_record()])
    await hasty.close()


@pytest.mark.parametrize(
    ("user", "sent"),
    [("ann:s3cret%21", b"Basic " + base64.b64encode(b"ann:s3cret!")), ("s3cret%21", b"Bearer s3cret!")],
)
async def test_who_asks_is_in_a_header_and_in_no_message(endpoint, tmp_path, user, sent):
    sink = open_sink(endpoint.url.replace("//", f"//{user}@"), tmp_path)
    await sink.write([make_record()], Mark("a", Position(1, 1)))
    assert endpoint.batches[0][0]["authorization"].encode() == sent
    endpoint.fault = "refuse"
    with pytest.raises(SinkUnavailable, match="503") as caught:
        await sink.write([make_record()])
    await sink.close()
    assert "s3cret" not in str(caught.value)
    assert not any(b"s3cret" in file.read_bytes() for file in tmp_path.iterdir())


async def test_positions_of_a_later_cloche_are_left_alone(sink, tmp_path):
    await sink.write([], Mark("a", Position(1, 1)))
    (kept,) = tmp_path.iterdir()
    newer = msgspec.json.decode(kept.read_bytes()) | {"format": 2}
    kept.write_bytes(msgspec.json.encode(newer))
    with pytest.raises(NewerFormat):
        await sink.positions()
    with pytest.raises(NewerFormat):
        await sink.retire("a")


async def test_positions_that_a_disk_has_damaged_are_begun_anew(sink, tmp_path, caplog):
    await sink.write([], Mark("a", Position(1, 1)))
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:-3], whole.replace(b'"a"', b'"\xff"')):
        kept.write_bytes(damaged)
        caplog.clear()
        assert await sink.positions() == {}
        assert "sent again" in caplog.text


async def test_two_endpoints_have_positions_of_their_own(endpoint, tmp_path):
    one, other = open_sink(endpoint.url, tmp_path), open_sink(f"{endpoint.url}/other", tmp_path)
    await asyncio.gather(one.write([], Mark("a", Position(1, 1))), other.write([], Mark("a", Position(2, 2))))
    assert await open_sink(endpoint.url, tmp_path).positions() == {"a": Position(1, 1)}
    await asyncio.gather(one.close(), other.close())


def test_an_address_without_a_host_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="no host"):
        open_sink("https:///inferences", tmp_path)
