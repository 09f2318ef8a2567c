"""Orders about people on the keeper's port."""

from __future__ import annotations

import httpx
import pytest

from cloche.assembly.keeper import KeeperParts
from cloche.drivers import open_objects
from cloche.erasure.report import Hold, Report
from cloche.errors import NotHeld
from cloche.registry.catalog import Registry
from cloche.settings import Settings, Token
from cloche.web.control import keeper_app

ORDER = {"subject": "ann", "reason": "ticket"}
TOKENS = {
    "desk": Token(secret="desk-secret", may=("manage",)),
    "shop": Token(secret="shop-secret", may=("predict", "history")),
}


class Obedient:
    """Notes what it was told."""

    def __init__(self):
        self.told = []

    async def forget(self, *told):
        self.told.append(told)
        return Report(1, 3, [])

    async def hold(self, *told):
        self.told.append(told)
        return Hold(2, None, told[1], told[2], "now")

    async def release(self, *told):
        raise NotHeld(what="any model")


@pytest.fixture
def forgetting():
    return Obedient()


@pytest.fixture
async def keeper(tmp_path, forgetting):
    def opened(settings=None, token=None):
        registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
        parts = dict.fromkeys(KeeperParts.__dataclass_fields__) | {"registry": registry, "forgetting": forgetting}
        transport = httpx.ASGITransport(keeper_app(KeeperParts(**parts), settings or Settings()))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002", headers=headers)

    return opened


async def test_an_order_is_carried_out_in_the_name_of_the_token(keeper, forgetting):
    settings = Settings(tokens=TOKENS)
    async with keeper(settings, "desk-secret") as client:
        done = await client.post("/log/forget", json=ORDER | {"model": "toy", "by": "ada"})
        held = await client.post("/log/hold", json=ORDER)
    assert (done.status_code, done.json()["erased"]) == (200, 3)
    assert held.json()["by"] == "desk"
    assert forgetting.told == [("ann", "ada (desk)", "ticket", "toy"), ("ann", "desk", "ticket", None)]
    async with keeper(settings, "shop-secret") as client:
        assert (await client.post("/log/forget", json=ORDER)).status_code == 403
    assert len(forgetting.told) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subject": "ann"}, "the top level: reason is missing"),
        ({"subject": "", "reason": "why"}, "subject"),
        ({"subject": "a" * 257, "reason": "why"}, "subject"),
        ({"subject": "ann", "reason": " "}, "reason"),
        ({"subject": "ann", "reason": "why", "model": "No Model"}, "model"),
        ({"subject": 7, "reason": "why"}, "subject"),
        ({"subject": "ann", "reason": "why", "else": 1}, "else"),
        ([], "the top level"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(keeper, forgetting, body, field):
    async with keeper() as client:
        answer = await client.post("/log/forget", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"].startswith(f"the body: {field}")
    assert forgetting.told == []


async def test_nobody_who_is_held_is_a_404(keeper):
    async with keeper() as client:
        answer = await client.post("/log/release", json=ORDER)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_held")
