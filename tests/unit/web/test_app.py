"""What is asked less often: addresses that are nearly right."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloche.settings import Settings
from cloche.web.access import Access
from cloche.web.app import Pages, json_response


async def ready(request: Request) -> Response:
    del request
    return json_response({"ready": True})


@pytest.mark.parametrize(("path", "status"), [("/ready", 200), ("/ready/", 404), ("//ready", 404), ("/nothing/", 404)])
async def test_an_address_is_answered_as_it_is_and_never_redirected(path: str, status: int) -> None:
    app = Pages([Route("/ready", ready)], Access(Settings()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get(f"http://localhost{path}")
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["code"] == "unknown_path"
