"""Versions are loaded once, kept as long as somebody needs them, and a few of them for longer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from cloche.errors import BundleCorrupt, DoesNotLoad
from cloche.gateway.loading import why_not
from cloche.gateway.versions import Versions
from cloche.settings import Limits

from .following import Follows, Shop, following, until

VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
TWO = Limits(history_versions=2)


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    for version in VERSIONS:
        await shop.publish(version)
    return shop


@pytest.fixture
async def follows(shop: Shop) -> AsyncIterator[Follows]:
    async with following(shop, TWO) as follows:
        yield follows


async def loaded(versions: Versions, shop: Shop, *wanted: str) -> None:
    await asyncio.gather(*(versions.load(shop.pinned(version)) for version in wanted))


async def test_all_who_ask_share_one_load_and_nobody_cancels_it(shop: Shop, follows: Follows) -> None:
    first = follows.versions.load(shop.pinned("1.0.0"))
    assert follows.versions.load(shop.pinned("1.0.0")) is first
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.wait([first])
    found = await first
    assert await follows.versions.load(shop.pinned("1.0.0")) is found
    assert found.runtime.state == "ready"
    assert shop.loads("1.0.0") == 1


async def test_what_failed_is_tried_anew_by_the_next_to_ask(shop: Shop, follows: Follows) -> None:
    await shop.publish("4.0.0", top="raise RuntimeError")
    loading = follows.versions.load(shop.pinned("4.0.0"))
    with pytest.raises(DoesNotLoad):
        await loading
    assert follows.versions.load(shop.pinned("4.0.0")) is not loading
    await until(lambda: shop.loads("4.0.0") == 2)


async def test_a_failed_version_leaves_no_worker(shop: Shop, follows: Follows) -> None:
    await shop.publish("4.0.0", answer="row['height']")
    loading = follows.versions.load(shop.pinned("4.0.0"))
    await asyncio.wait([loading])
    assert "KeyError: 'height'" in str(why_not(loading))
    await until(lambda: not follows.pool.pids)


async def test_what_is_held_is_never_stopped(shop: Shop, follows: Follows) -> None:
    versions = follows.versions
    versions.hold(("toy", 1), [shop.pinned(version).digest for version in VERSIONS])
    await loaded(versions, shop, *VERSIONS)
    versions.sweep()
    assert len(follows.pool.pids) == 3
    versions.drop(("toy", 1))
    versions.sweep()
    await until(lambda: len(follows.pool.pids) == 2)


async def test_the_one_unused_for_longest_gives_way(shop: Shop, follows: Follows) -> None:
    versions = follows.versions
    await loaded(versions, shop, "1.0.0")
    await loaded(versions, shop, "2.0.0")
    await loaded(versions, shop, "1.0.0")
    third = versions.load_spare(shop.pinned("3.0.0"))
    assert third is not None
    await third
    await until(lambda: follows.pool.pids.keys() == {shop.pinned(version).digest for version in ("1.0.0", "3.0.0")})


async def test_there_is_no_room_while_all_places_are_loading_or_lingering(shop: Shop, follows: Follows) -> None:
    versions = follows.versions
    versions.hold(("toy", 1), [shop.pinned("1.0.0").digest])
    await loaded(versions, shop, "1.0.0")
    versions.drop(("toy", 1), linger_s=60)
    second = versions.load_spare(shop.pinned("2.0.0"))
    assert second is not None
    assert versions.load_spare(shop.pinned("3.0.0")) is None
    assert versions.load_spare(shop.pinned("2.0.0")) is second
    await second
    assert versions.load_spare(shop.pinned("3.0.0")) is not None, "the second gives way, the first lingers"
    await until(lambda: shop.pinned("2.0.0").digest not in follows.pool.pids)
    assert shop.pinned("1.0.0").digest in follows.pool.pids


async def test_what_a_call_is_on_its_way_to_does_not_give_way(shop: Shop) -> None:
    async with following(shop, Limits(history_versions=1, history_idle_ms=0)) as follows:
        versions, first, second = follows.versions, shop.pinned("1.0.0"), shop.pinned("2.0.0")
        await loaded(versions, shop, "1.0.0")
        with versions.wanted(first), versions.wanted(first), versions.wanted(second):
            versions.sweep()
            assert versions.load_spare(second) is None
        assert versions.load_spare(second) is not None
        await until(lambda: follows.pool.pids.keys() == {second.digest})


async def test_what_is_idle_for_long_is_stopped(shop: Shop) -> None:
    async with following(shop, Limits(history_idle_ms=50)) as follows:
        await loaded(follows.versions, shop, "1.0.0")
        follows.versions.sweep()
        assert len(follows.pool.pids) == 1
        await until(lambda: follows.versions.sweep() or not follows.pool.pids)


async def test_a_damaged_bundle_is_never_started(shop: Shop, follows: Follows) -> None:
    data = b"open('/dev/null')"
    name = hashlib.sha256(data).hexdigest()
    await shop.publish("4.0.0", top="pass")
    for blob in (shop.folder / "registry" / "blobs").rglob("*"):
        if blob.is_file() and b"'4.0.0'" in blob.read_bytes():
            blob.write_bytes(data)
    loading = follows.versions.load(shop.pinned("4.0.0"))
    with pytest.raises(BundleCorrupt, match=name):
        await loading
    assert follows.pool.pids == {}


async def test_a_graph_in_the_gateway_answers_until_it_is_closed(shop: Shop, follows: Follows) -> None:
    onnx = pytest.importorskip("skl2onnx")
    linear = pytest.importorskip("sklearn.linear_model")
    types = pytest.importorskip("skl2onnx.common.data_types")
    model = linear.LinearRegression().fit(np.array([[1.0], [2.0]]), np.array([2.0, 4.0]))
    graph = onnx.to_onnx(model, initial_types=[("X", types.FloatTensorType([None, 1]))], target_opset=18)
    await shop.publish_graph("5.0.0", graph.SerializeToString())
    found = await follows.versions.load(shop.pinned("5.0.0"))
    answers = [asyncio.create_task(follows.predict(found)) for _ in range(50)]
    await asyncio.sleep(0)
    await follows.versions.close()
    assert found.runtime.state == "closed"
    assert {answer.outputs for answer in await asyncio.gather(*answers)} == {b"[2.0]"}
