"""Why a version does not load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloche.gateway import follow

from .conftest import SCHEMA
from .following import Shop, following, until


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def test_what_fails_for_now_is_told_from_a_version_that_does_not_load(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RETRY_S", 0.05)
    await shop.publish("1.0.0")
    await shop.publish("2.0.0", top="raise RuntimeError")
    for title in ("manifest", "schema"):  # of two schemas, since a host keeps a copy of each that it has read
        schema = await shop.registry.keep(json.dumps(SCHEMA | {"title": title}).encode())
        digest = schema.removeprefix("sha256:")
        blob = f"blobs/sha256/{digest[:2]}/{digest}"
        shop.store.broken.add(blob if title == "schema" else "models/toy/1.0.0/manifest.json")
        await shop.release("1.0.0", schemas={"1.0.0": schema})
        async with following(shop) as follows:
            await follows.look()
            assert [(each.version, each.passing) for each in follows.progress.waiting] == [("1.0.0", True)]
            shop.store.broken.clear()
            await until(lambda follows=follows: not follows.progress.waiting)
            await shop.release("2.0.0")
            await follows.look()
            assert [(each.version, each.passing) for each in follows.progress.waiting] == [("2.0.0", False)]


async def test_a_version_that_fails_on_an_example_does_not_load(shop: Shop) -> None:
    await shop.publish("1.0.0", answer="row['height']")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert waiting.reason is not None
        assert "KeyError: 'height'" in waiting.reason
