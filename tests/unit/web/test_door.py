"""A call that has waited for the event loop for too long, by ASGI: it is turned away before it is read."""

from __future__ import annotations

import json
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from live_models import gateway, live, row, version

from cloche.settings import Settings
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
