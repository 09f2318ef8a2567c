"""A call that has waited for the event loop for too long, by ASGI: it is turned away before it is read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from live_models import gateway, live, row, version

from cloche.settings import Settings
from cloche.web import predict
from cloche.web.access import Access
from cloche.web.predict import ARRIVED, Address, PredictDoor


@pytest.mark.parametrize(("ago_s", "others", "status"), [(0.5, 20, 503), (0.5, 3, 200), (0.0, 20, 200)])
async def test_a_call_that_has_waited_behind_many_is_turned_away(ago_s: float, others: int, status: int) -> None:
    answering = gateway(live(version("toy", row(age={"type": "number"}))))
    door = PredictDoor(answering, Access(Settings()), 1000)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b'{"input": {"age": 3}}'}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"host", b"localhost")]}
    scope[ARRIVED] = (time.perf_counter() - ago_s, range(others))
    await door(Address("toy"), scope, receive, send)
    start, body = sent
    assert start["status"] == status
    if status == 503:
        assert json.loads(body["body"])["code"] == "overloaded"
        assert b"retry-after" in dict(start["headers"])


@pytest.mark.parametrize(
    ("headers", "heard"),
    [
        ([(b"connection", b"close")], 4),
        ([(b"connection", b"Close"), (b"content-length", b"4000")], 4),
        ([(b"connection", b"close"), (b"content-length", b"4000"), (b"expect", b"100-continue")], 0),
        ([(b"content-length", b"4000")], 0),
        ([], 2),
    ],
)
async def test_a_body_that_is_too_large_is_heard_out_where_the_connection_ends(
    headers: list[tuple[bytes, bytes]], heard: int
) -> None:
    door = PredictDoor(gateway(live(version("toy", row(age={"type": "number"})))), Access(Settings()), 1000)
    parts = [{"type": "http.request", "body": b" " * 1000, "more_body": left > 0} for left in (3, 2, 1, 0)]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return parts.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"host", b"localhost"), *headers]}
    await door(Address("toy"), scope, receive, send)
    assert sent[0]["status"] == 413
    assert len(parts) == 4 - heard


async def test_a_caller_who_never_ends_is_not_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "HEARS_OUT_S", 0.01)
    door = PredictDoor(gateway(live(version("toy", row(age={"type": "number"})))), Access(Settings()), 1000)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return await asyncio.get_running_loop().create_future()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"connection", b"close"), (b"content-length", b"4000")]
    await door(Address("toy"), {"type": "http", "method": "POST", "headers": headers}, receive, send)
    assert sent[0]["status"] == 413
