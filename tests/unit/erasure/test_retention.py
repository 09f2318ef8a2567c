"""What is older than its model's routing says loses its personal part, once, but for people who are held."""

from __future__ import annotations

import pytest

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.erasure.orders import Orders
from cloche.erasure.retention import Retention
from cloche.registry.release import Reason, Releases, Routing
from cloche.values import is_erased

HOUR_US = 3_600_000_000


@pytest.fixture
async def retention(host, person):
    """Records of hours 0 to 3 of two models, one of which keeps them for two hours; `moment` is what time it is."""
    releases = Releases(host.store)
    live = {"toy": Routing({}, "1.0.0", retention_ms=7_200_000), "other": Routing({}, "1.0.0")}
    await releases.write(live, Reason("me"), after=0)
    sink = SqliteSink(host.log)
    await sink.write([
        person(name, model=model, time_us=hour * HOUR_US)
        for hour in range(4) for model in live for name in ("ann", "bob")
    ])  # fmt: skip
    moment = [4 * HOUR_US]
    made = Retention(
        releases, Orders(host.store), SqliteReader(host.log), [sink], host.folder / "retention.json", lambda: moment[0]
    )
    yield made, moment
    await sink.close()


async def erased(host):
    return [
        (record.time_us // HOUR_US, record.model, is_erased(record.personal))
        for record in await host.kept()
        if is_erased(record.personal)
    ]


async def test_what_is_too_old_goes_and_the_rest_stays(host, retention):
    made, moment = retention
    assert [said async for said in made.run()][-1] == "erased 4 personal parts"
    assert await erased(host) == [(hour, "toy", True) for hour in (0, 0, 1, 1)]
    moment[0] += HOUR_US
    assert [said async for said in made.run()][-1] == "erased 2 personal parts"
    assert [said async for said in made.run()] == []


async def test_who_is_held_stays_and_goes_after_the_release_within_a_week(host, retention):
    made, moment = retention
    orders = Orders(host.store)
    marks = (await orders.marking()).marks(["ann"])
    await orders.give("hold", marks, None, "lawyer", "case")
    assert [said async for said in made.run()][-1] == "erased 2 personal parts"
    await orders.give("release", marks, None, "lawyer", "over")
    moment[0] += 8 * 24 * HOUR_US
    assert [said async for said in made.run()][-1] == "erased 6 personal parts"
    assert len(await erased(host)) == 8


async def test_a_clock_that_was_ahead_and_is_right_again_leaves_nothing_out(host, retention, person):
    made, moment = retention
    moment[0] += 100 * 365 * 24 * HOUR_US
    assert [said async for said in made.run()][-1] == "erased 8 personal parts"
    moment[0] = 5 * HOUR_US
    sink = made._sinks[0]
    await sink.write([person("ann", 100, time_us=2 * HOUR_US), person("bob", 101, time_us=4 * HOUR_US)])
    assert [said async for said in made.run()][-1] == "erased 1 personal parts"


async def test_a_hold_counts_from_the_moment_it_is_given(host, retention, monkeypatch):
    made, _ = retention
    monkeypatch.setattr("cloche.erasure.retention._SLICE", 1)
    orders = Orders(host.store)
    run = made.run()
    assert await anext(run) == "erased 1 personal parts"
    await orders.give("hold", (await orders.marking()).marks(["bob"]), None, "lawyer", "case")
    assert [said async for said in run][-1] == "erased 2 personal parts"
    assert await erased(host) == [(0, "toy", True), (1, "toy", True)]


@pytest.mark.parametrize("damaged", [b'{"models":', b'{"models":{"\xff":{"until_us":1,"whole_us":1}}}'])
async def test_without_a_sound_note_of_what_was_done_all_is_looked_through_again(host, retention, damaged):
    made, _ = retention
    (host.folder / "retention.json").write_bytes(damaged)
    assert [said async for said in made.run()][-1] == "erased 4 personal parts"
