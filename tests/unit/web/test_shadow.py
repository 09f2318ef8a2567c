"""Shadows on the keeper's port."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.assembly.keeper import KeeperParts
from cloche.drivers import open_objects
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.insight.shadow import ShadowWatch
from cloche.ports import Mark, Position
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from cloche.registry.standing import STANDING_FORMAT, Shadowed, Standing
from cloche.registry.traffic import Shadow
from cloche.settings import Settings
from cloche.testing import make_record
from cloche.web.control import keeper_app


@pytest.fixture
async def keeper(tmp_path):
    """A keeper of `flights` 1.0.0 with the shadow 2.0.0, of which one call is in the log."""
    registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
    digests = {version: (await registry.add(*bundle(version=version))).digest for version in ("1.0.0", "2.0.0")}
    routing = Routing(digests, "1.0.0", shadow=Shadow("2.0.0", 0.5))
    release = await registry.releases.write({"flights": routing}, Reason("ada"), after=0)
    sink = SqliteSink(tmp_path / "log.db")
    live = make_record(0, model="flights", time_us=release.created_us + 1)
    beside = {"version": "2.0.0", "kind": "shadow", "shadows": live.id}
    await sink.write([live, make_record(0, model="flights", time_us=live.time_us, **beside)], Mark("a", Position(1, 1)))
    await sink.close()
    counts = Shadowed("flights", "2.0.0", 1, {"ok": 1}, {"queue_full": 1})
    standing = Standing(STANDING_FORMAT, 1, {"flights": 1}, [], None, [counts])
    watch = ShadowWatch(registry, SqliteReader(tmp_path / "log.db"), lambda: standing, 1000)
    others = dict.fromkeys(KeeperParts.__dataclass_fields__)
    app = keeper_app(KeeperParts(**(others | {"registry": registry, "shadows": watch})), Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8002") as client:
        yield client


async def test_the_comparison(keeper):
    for _ in range(2):
        found = (await keeper.get("/models/flights/shadow")).json()
        assert (found["model"], found["release"], found["shadows"]) == (
            "flights",
            1,
            [{"version": "2.0.0", "share": 0.5}],
        )
        (comparison,) = found["comparisons"]
        assert (comparison["calls"], comparison["same"]) == (1, 1.0)
        assert comparison["against"] == {"1.0.0": 1}
        assert found["counts"][0]["dropped"] == {"queue_full": 1}
        assert "queue_full" in found["notes"][0]


async def test_since_a_moment(keeper):
    found = (await keeper.get("/models/flights/shadow", params={"since": "2126-01-01T00:00:00Z"})).json()
    assert (found["since"], found["comparisons"]) == ("2126-01-01T00:00:00.000000Z", [])


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00", "", "2h"])
async def test_a_moment_that_is_none(keeper, since):
    answer = await keeper.get("/models/flights/shadow", params={"since": since})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_an_unknown_model_and_a_broken_log_tell_no_place(keeper, tmp_path):
    answer = await keeper.get("/models/trains/shadow")
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert str(tmp_path) not in answer.text
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    answer = await keeper.get("/models/flights/shadow")
    assert (answer.status_code, answer.json()["code"]) == (500, "log_corrupt")
    assert str(tmp_path) not in answer.text
