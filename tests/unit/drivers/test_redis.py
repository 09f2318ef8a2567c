from __future__ import annotations

import asyncio
import json
import uuid

import pytest

import sinks
from cloche.drivers import open_sink
from cloche.errors import InvalidSetting, SinkUnavailable
from cloche.log.reading import to_json
from cloche.ports import Mark, Position
from cloche.testing import SinkContract, make_record


class TestRedis(SinkContract):
    @pytest.fixture(autouse=True)
    def _open(self, server):
        self.server = server

    def open_sink(self, folder):
        return open_sink(self.server.url, folder)

    async def kept(self, folder):
        return [uuid.UUID(name).bytes for name in self.server.ids()]


async def test_an_entry_is_what_an_export_writes(server, tmp_path):
    record = make_record(7)
    sink = open_sink(f"{server.url}?stream=other", tmp_path)
    await sink.write([record], Mark("a", Position(1, 1)))
    await sink.close()
    (entry,) = server.entries("other")
    assert json.loads(entry["record"]) == json.loads(json.dumps(to_json(record)))
    assert (entry["id"], entry["model"], entry["outcome"]) == (str(uuid.UUID(bytes=record.id)), "toy", "ok")


async def test_a_stream_is_cut_where_a_length_is_named(server, tmp_path):
    sink = open_sink(f"{server.url}?maxlen=100", tmp_path)
    await sink.write([make_record(number) for number in range(1000)], Mark("a", Position(1, 1)))
    await sink.close()
    kept = server.entries()
    assert 100 <= len(kept) < 300
    assert json.loads(kept[-1]["record"])["input"] == {"number": 999}


async def test_a_batch_that_a_server_carries_out_late_is_not_added_twice(server, tmp_path, monkeypatch):
    """The keeper gave up waiting, and gave the batch again over another connection, with more that had come."""
    monkeypatch.setattr("cloche.drivers.redis._ANSWER_S", 0.2)
    records = [make_record(number) for number in range(3)]
    first, second = open_sink(server.url, tmp_path), open_sink(server.url, tmp_path)
    await asyncio.gather(first.positions(), second.positions())
    server.pause()
    try:
        with pytest.raises(SinkUnavailable):
            await first.write(records[:2], Mark("a", Position(1, 2)))
    finally:
        server.resume()
    try:
        assert await second.write(records, Mark("a", Position(1, 3))) == 3
    except SinkUnavailable:  # the late one was first
        position = (await second.positions())["a"]
        assert position == Position(1, 2)
        assert await second.write(records[2:], Mark("a", Position(1, 3))) == 1
    await asyncio.sleep(0.05)
    assert server.ids() == [str(uuid.UUID(bytes=record.id)) for record in records]
    await first.close()
    await second.close()


async def test_whoever_has_seen_another_position_adds_nothing(server, tmp_path):
    ours, theirs = open_sink(server.url, tmp_path), open_sink(server.url, tmp_path)
    await asyncio.gather(ours.positions(), theirs.positions())
    await theirs.write([make_record(1)], Mark("a", Position(1, 1)))
    with pytest.raises(SinkUnavailable, match="another keeper"):
        await ours.write([make_record(1)], Mark("a", Position(1, 1)))
    assert len(server.ids()) == 1
    assert await ours.write([make_record(2)], Mark("a", Position(1, 2))) == 1
    await ours.close()
    await theirs.close()


@pytest.mark.parametrize("trouble", ["full", "no stream"])
async def test_what_is_refused_is_refused_whole_and_taken_later(server, tmp_path, trouble):
    sink = open_sink(server.url, tmp_path)
    batch = [make_record(number) for number in range(200)]
    with server.client() as client:
        if trouble == "full":
            client.config_set("maxmemory", "1")
        else:
            client.set("cloche:log", "taken by something else")
        with pytest.raises(SinkUnavailable, match=r"OOM|WRONGTYPE"):
            await sink.write(batch, Mark("a", Position(1, 1)))
        assert await sink.positions() == {}
        client.config_set("maxmemory", "0")
        if trouble == "no stream":
            client.delete("cloche:log")
    assert await sink.write(batch, Mark("a", Position(1, 1))) == 200
    await sink.close()
    assert len(server.ids()) == 200


async def test_a_server_that_was_away_is_found_again(tmp_path):
    server = sinks.RedisServer(tmp_path)
    sink = open_sink(server.url, tmp_path)
    await sink.write([make_record(1)], Mark("a", Position(1, 1)))
    server.stop()
    with pytest.raises(SinkUnavailable):
        await sink.write([make_record(2)], Mark("a", Position(1, 2)))
    server.start()
    try:
        assert await sink.positions() == {"a": Position(1, 1)}
        assert await sink.write([make_record(2)], Mark("a", Position(1, 2))) == 1
    finally:
        await sink.close()
        server.stop()


async def test_a_secret_is_in_no_message(tmp_path):
    sink = open_sink("redis://ann:opensesame@127.0.0.1:1/0", tmp_path)
    with pytest.raises(SinkUnavailable) as caught:
        await sink.positions()
    await sink.close()
    assert "redis://127.0.0.1:1/0" in str(caught.value)
    assert "opensesame" not in str(caught.value)


@pytest.mark.parametrize("query", ["?maxlen=many", "?no_such_option=1"])
def test_an_address_that_can_not_be_used_is_named_without_its_secret(tmp_path, query):
    with pytest.raises(InvalidSetting) as caught:
        open_sink(f"redis://:opensesame@host/0{query}", tmp_path)
    assert "redis://host/0" in str(caught.value)
    assert "opensesame" not in str(caught.value)
