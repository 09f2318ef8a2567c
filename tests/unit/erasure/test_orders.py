"""Orders are one line for all hosts, name nobody, and say what is held."""

from __future__ import annotations

import asyncio

import pytest

from cloche.drivers import open_objects
from cloche.erasure.orders import Orders
from cloche.errors import BundleCorrupt, NewerFormat


@pytest.fixture
def store(tmp_path):
    return open_objects((tmp_path / "registry").as_uri())


async def test_many_hosts_give_orders_at_once_and_each_has_a_number(store):
    lines = [Orders(store) for _ in range(8)]
    marking = await lines[0].marking()
    given = await asyncio.gather(
        *(line.give("forget", (marking.mark(f"s{place}"),), None, "me", "why") for place, line in enumerate(lines))
    )
    assert sorted(order.number for order in given) == list(range(1, 9))
    assert sorted(order.marks for order in await Orders(store).all()) == sorted(order.marks for order in given)


async def test_who_ask_one_line_at_the_same_time_all_get_all_orders(store):
    given = [await Orders(store).give("forget", (b"m",), None, "me", "why") for _ in range(5)]
    line = Orders(store)
    assert await asyncio.gather(*(line.all() for _ in range(8))) == [tuple(given)] * 8
    assert await line.all() == tuple(given)


async def test_hosts_share_a_key_and_nobody_is_named(store, tmp_path):
    one, two = [await each.marking() for each in (Orders(store), Orders(store))]
    assert one.mark("ann") == two.mark("ann") != one.mark("bob")
    await Orders(store).give("forget", one.marks(["ann-marker"]), None, "me", "why")
    stored = [path.read_bytes() for path in (tmp_path / "registry").rglob("*") if path.is_file()]
    assert not any(b"ann-marker" in data for data in stored)


async def test_what_is_held_follows_from_the_orders_before(store):
    orders = Orders(store)
    marking = await orders.marking()
    ann, bob = marking.marks(["ann"]), marking.marks(["bob"])
    await orders.give("hold", ann, "pricing", "me", "case")
    await orders.give("hold", ann, None, "me", "other case")
    await orders.give("release", ann, None, "me", "over")
    await orders.give("hold", ann, "ranking", "me", "third case")
    said = [
        ((await orders.holds(number)).of(ann, model) is not None, number, model)
        for number in (1, 2, 3, 4, 5)
        for model in ("pricing", "ranking", None)
    ]
    assert [held for held, _, _ in said] == [
        *(False, False, False),
        *(True, False, True),
        *(True, True, True),
        *(False, False, False),
        *(False, True, True),
    ]
    await orders.give("release", ann, "pricing", "me", "of none that is held")
    holds = await orders.holds()
    assert not holds.of(bob, None)
    assert (holds.releasable(ann, "pricing"), holds.releasable(ann, "ranking"), holds.releasable(ann, None)) == (
        *(False, True, True),
    )


async def test_an_order_that_a_later_cloche_gave_is_refused_and_so_is_a_strange_one(store):
    await store.put_if_absent("erasures/000000000001.json", b'{"format": 2}')
    with pytest.raises(NewerFormat):
        await Orders(store).all()
    await store.delete("erasures/000000000001.json")
    await store.put_if_absent("erasures/000000000001.json", b"[")
    with pytest.raises(BundleCorrupt):
        await Orders(store).all()
