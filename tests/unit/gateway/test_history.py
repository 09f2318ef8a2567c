"""Calls back in time: versions that are not active, and moments of the past."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloche.errors import (
    NotLiveThen,
    PilotOnly,
    SchemaMismatch,
    ServingError,
    UnknownModel,
    UnknownVersion,
    VersionLoading,
    VersionUnavailable,
)
from cloche.processes import eager
from cloche.registry.bundle import digest_of
from cloche.registry.traffic import Arm, Canary, Constant, Experiment, Fallback, Override, Pilot
from cloche.settings import Limits
from cloche.values import Request

from .conftest import SCHEMA
from .following import ROW, Follows, Shop, following, until, written_at

TEXTS = {**SCHEMA, "properties": {"age": {"type": "string"}}}


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        await shop.publish(version)
    return shop


@pytest.fixture
async def follows(shop: Shop) -> AsyncIterator[Follows]:
    """Three releases of one version each."""
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        await shop.release(version)
    async with following(shop) as follows:
        await follows.look()
        yield follows


async def fault_of(follows: Follows, as_of: Any, **more: Any) -> str:
    with pytest.raises(SchemaMismatch) as raised:
        await follows.ask(as_of=as_of, **more)
    (fault,) = raised.value.faults
    assert fault["pointer"] == "/as_of"
    return fault["code"]


async def test_a_moment_is_answered_by_the_release_in_force_then(shop: Shop, follows: Follows) -> None:
    for number, version in enumerate(("1.0.0", "2.0.0", "3.0.0"), start=1):
        answer = await follows.ask(as_of=await written_at(shop, number))
        assert (answer["release"], answer["version"], answer["output"]) == (number, version, version)
        if number > 1:
            before = await follows.ask(as_of=await written_at(shop, number, later_us=-1))
            assert before["release"] == number - 1
    assert (await follows.ask())["release"] == 3


async def test_it_is_recorded_as_history_with_the_release_and_its_digest(shop: Shop, follows: Follows) -> None:
    await follows.ask(as_of=await written_at(shop, 1))
    await follows.ask(version="2.0.0")
    await follows.ask(version="3.0.0")
    found = [(record.kind, record.reason, record.release, record.version) for record in follows.journal.records]
    assert found == [
        ("history", "as_of", 1, "1.0.0"),
        ("history", "explicit", 3, "2.0.0"),
        ("live", "explicit", 3, "3.0.0"),
    ]
    stored = [(shop.folder / f"registry/releases/{number:012d}.json").read_bytes() for number in (1, 3, 3)]
    assert [record.release_digest for record in follows.journal.records] == [digest_of(data) for data in stored]


async def test_it_is_kept_out_of_what_is_counted(shop: Shop, follows: Follows) -> None:
    await follows.ask(version="2.0.0")
    assert not follows.gateway.tally.calls
    assert not follows.gateway.tally.latency
    await follows.ask()
    assert dict(follows.gateway.tally.calls) == {("toy", "3.0.0", "ok"): 1}


@pytest.mark.parametrize(
    "as_of", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "", "1700000000", "2026-13-01T00:00:00Z"]
)
async def test_a_moment_without_a_zone_or_that_is_none_is_refused(follows: Follows, as_of: str) -> None:
    assert await fault_of(follows, as_of) == "format"
    assert follows.journal.records == []


@pytest.mark.parametrize("zone", ["Z", "+14:00", "-12:00"])
async def test_a_moment_to_come_is_refused(follows: Follows, zone: str) -> None:
    assert await fault_of(follows, f"2999-01-01T00:00:00{zone}") == "in_the_future"


async def test_now_is_not_in_the_future(shop: Shop, follows: Follows) -> None:
    follows.now_us = (await shop.registry.releases.read(3)).created_us
    assert (await follows.ask(as_of=await written_at(shop, 3)))["release"] == 3
    assert await fault_of(follows, await written_at(shop, 3, later_us=1)) == "in_the_future"


async def test_a_zone_is_reckoned_with(shop: Shop, follows: Follows) -> None:
    east = (await written_at(shop, 2)).replace("Z", "+05:30")
    with pytest.raises(NotLiveThen):
        await follows.ask(as_of=east)


async def test_before_the_first_release_nothing_was_live(follows: Follows) -> None:
    with pytest.raises(NotLiveThen):
        await follows.ask(as_of="1999-01-01T00:00:00Z")


async def test_a_moment_that_is_no_text_is_the_callers_mistake(follows: Follows) -> None:
    with pytest.raises(SchemaMismatch) as raised:
        await follows.ask(as_of=5)
    assert raised.value.faults[0]["pointer"] == "/as_of"


async def test_a_version_and_a_moment_contradict_each_other(shop: Shop, follows: Follows) -> None:
    for version in ("3.0.0", "1.0.0"):
        assert await fault_of(follows, await written_at(shop, 1), version=version) == "contradiction"


async def test_the_body_is_held_to_the_schema_of_that_time(shop: Shop) -> None:
    await shop.publish("0.1.0", input_schema=TEXTS, answer="row['age'] * 2 if row['age'] != 1 else ''")
    for version in ("0.1.0", "3.0.0"):
        await shop.release(version)
    async with following(shop) as follows:
        await follows.look()
        then = await written_at(shop, 1)
        assert (await follows.ask(as_of=then, input={"age": "ab"}))["output"] == "abab"
        with pytest.raises(SchemaMismatch) as raised:
            await follows.ask(as_of=then)
        assert raised.value.faults[0]["pointer"] == "/input/age"
        with pytest.raises(SchemaMismatch):
            await follows.ask(input={"age": "ab"})


async def test_what_is_not_published_stays_unknown(shop: Shop, follows: Follows) -> None:
    for version in ("9.9.9", "../../etc", "latest", "2.*", "é", "9" * 500):
        with pytest.raises(UnknownVersion):
            await follows.ask(version=version)
    with pytest.raises(UnknownModel):
        await follows.ask(version="1.0.0", model="nobody")


async def test_guesses_cost_the_registry_one_look_each(shop: Shop, follows: Follows) -> None:
    shop.store.asked.clear()
    for _ in range(5):
        with pytest.raises(UnknownVersion):
            await follows.ask(version="9.9.9")
        await follows.ask(version="1.0.0")
    for version in ("9.9.9", "1.0.0"):
        looks = [key for key in shop.store.asked if key == f"models/toy/{version}/manifest.json"]
        assert len(looks) <= 2, "who it is, and its files"


async def test_a_call_waits_for_the_version_only_until_its_deadline(shop: Shop) -> None:
    await shop.publish("0.1.0", top="__import__('time').sleep(1)")
    await shop.release("3.0.0")
    async with following(shop) as follows:
        await follows.look()
        with pytest.raises(VersionLoading) as raised:
            await follows.gateway.answer(Request("toy", b'{"input": {"age": 1}}', "0.1.0", deadline_ms=50))
        assert raised.value.retry_after_s == 2
        assert follows.journal.records == []
        assert (await follows.ask(version="0.1.0"))["output"] == "0.1.0"
        assert shop.loads("0.1.0") == 1, "loading went on meanwhile"


async def test_a_version_that_does_not_load_is_not_tried_by_every_call(shop: Shop) -> None:
    await shop.publish("0.1.0", top="raise RuntimeError")
    await shop.release("3.0.0")
    async with following(shop) as follows:
        await follows.look()
        for _ in range(3):
            with pytest.raises(VersionUnavailable):
                await follows.ask(version="0.1.0")
        assert shop.loads("0.1.0") == 1


async def test_a_registry_that_fails_is_no_unknown_version(shop: Shop, follows: Follows) -> None:
    shop.store.broken |= {"models/toy/1.0.0/manifest.json", "releases/000000000002.json"}
    with pytest.raises(VersionUnavailable):
        await follows.ask(version="1.0.0")
    with pytest.raises(VersionUnavailable):
        await follows.ask(as_of=await written_at_from(shop, 2))
    shop.store.broken.clear()
    assert (await follows.ask(version="1.0.0"))["output"] == "1.0.0"


async def written_at_from(shop: Shop, number: int) -> str:
    """Return the moment of a release, read past the store."""
    data = json.loads((shop.folder / f"registry/releases/{number:012d}.json").read_bytes())
    return datetime.fromtimestamp(data["created_us"] / 1e6, UTC).isoformat()


async def test_only_a_few_run_at_a_time(shop: Shop) -> None:
    await shop.release("3.0.0")
    async with following(shop, Limits(deadline_ms=20_000, history_versions=1)) as follows:
        await follows.look()
        for version in ("1.0.0", "2.0.0", "1.0.0"):
            assert (await follows.ask(version=version))["output"] == version
        await until(lambda: follows.pool.pids.keys() == {shop.pinned(name).digest for name in ("1.0.0", "3.0.0")})
        early = asyncio.create_task(follows.ask(version="2.0.0"))
        await until(lambda: shop.pinned("2.0.0").digest in follows.pool.pids)
        with pytest.raises(VersionLoading):
            await follows.ask(version="1.0.0")
        await early


async def test_with_no_place_for_any_there_is_no_way_back(shop: Shop) -> None:
    for version in ("1.0.0", "3.0.0"):
        await shop.release(version)
    async with following(shop, Limits(deadline_ms=20_000, history_versions=0)) as follows:
        await follows.look()
        with pytest.raises(UnknownVersion):
            await follows.ask(version="1.0.0")
        assert await fault_of(follows, await written_at(shop, 1)) == "not_supported"


async def test_a_moment_takes_no_part_in_what_was_tried_then(shop: Shop) -> None:
    """Of experiments, a canary and a pilot nobody can know who was in them; overrides are plain facts of a call."""
    half = [Arm("a", "2.0.0", 0.5), Arm("b", "2.0.0", 0.5)]
    await shop.release(
        "1.0.0",
        "2.0.0",
        "3.0.0",
        experiments={"x": Experiment(half)},
        canary=Canary("2.0.0", 1.0, "seed"),
        pilot=Pilot("2.0.0", subjects=["*"]),
    )
    await shop.release("3.0.0")
    async with following(shop) as follows:
        await follows.look()
        then = await written_at(shop, 1)
        answer = await follows.ask(as_of=then, subject="ann")
        assert (answer["version"], answer["variant"]) == ("1.0.0", None)


async def test_a_market_gets_what_was_its_default_then(shop: Shop) -> None:
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "market": {"type": "string"}}}
    for version in ("1.1.0", "2.1.0"):
        await shop.publish(version, input_schema=schema)
    overrides = [Override({"market": ["de", "at"]}, default="2.1.0", deadline_ms=17_000)]
    await shop.release("1.1.0", "2.1.0", attributes={"market": "/market"}, overrides=overrides)
    await shop.release("1.1.0")
    async with following(shop) as follows:
        await follows.look()
        then = await written_at(shop, 1)
        found = [await follows.ask(as_of=then, input={"age": 1, "market": market}) for market in ("at", "fr")]
        assert [answer["version"] for answer in found] == ["2.1.0", "1.1.0"]


async def test_a_pilot_is_no_back_door(shop: Shop) -> None:
    await shop.release("1.0.0", "2.0.0", pilot=Pilot("2.0.0", subjects=["staff-*"]))
    async with following(shop) as follows:
        await follows.look()
        with pytest.raises(PilotOnly):
            await follows.ask(version="2.0.0", subject="ann")
        assert (await follows.ask(subject="staff-1"))["version"] == "2.0.0"


async def test_nothing_stands_in_for_a_version_of_the_past(shop: Shop) -> None:
    await shop.publish("0.1.0", answer="1 // (row['age'] - 2)")
    fallback = Fallback([Constant("nobody")])
    for version in ("0.1.0", "3.0.0"):
        await shop.release(version, fallback=fallback)
    async with following(shop) as follows:
        await follows.look()
        with pytest.raises(Exception, match="raised an exception"):
            await follows.ask(as_of=await written_at(shop, 1), input={"age": 2})
        assert [(record.kind, record.outcome) for record in follows.journal.records] == [("history", "model_failed")]


async def test_a_version_is_not_stopped_before_the_call_has_come_to_it(shop: Shop) -> None:
    schema = await shop.registry.keep(json.dumps(SCHEMA).encode())
    await shop.release("1.0.0", schemas={"1.0.0": schema})
    await shop.release("3.0.0")
    async with following(shop, Limits(deadline_ms=20_000, history_versions=1)) as follows:
        await follows.look()
        key = f"blobs/sha256/{schema.removeprefix('sha256:')[:2]}/{schema.removeprefix('sha256:')}"
        reading = shop.store.hanging[key] = asyncio.Event()
        call = asyncio.create_task(follows.ask(as_of=await written_at(shop, 1)))
        await until(lambda: key in shop.store.asked)
        with pytest.raises(VersionLoading):
            await follows.ask(version="2.0.0")
        reading.set()
        assert (await call)["output"] == "1.0.0"
        assert (await follows.ask(version="2.0.0"))["output"] == "2.0.0"


@pytest.mark.parametrize("hangs", ["releases/000000000001.json", "models/toy/1.0.0/manifest.json", "blobs"])
async def test_a_store_that_hangs_is_waited_for_until_the_deadline(shop: Shop, hangs: str) -> None:
    """As the fast lane has it: without a task, until the call first waits."""
    schema = await shop.registry.keep(json.dumps(SCHEMA).encode())
    await shop.release("1.0.0", schemas={"1.0.0": schema})
    await shop.release("3.0.0")
    async with following(shop) as follows:
        await follows.look()
        as_of, digest = await written_at(shop, 1), schema.removeprefix("sha256:")
        key = f"blobs/sha256/{digest[:2]}/{digest}" if hangs == "blobs" else hangs
        if hangs == "blobs":
            await follows.versions.load(shop.pinned("1.0.0"))
        named = {"version": "1.0.0"} if key.startswith("models") else {}
        body = json.dumps({"input": ROW} | ({} if named else {"as_of": as_of})).encode()
        reading = shop.store.hanging[key] = asyncio.Event()
        said: list[Any] = []

        async def call(deadline_ms: int) -> None:
            try:
                said.append(
                    (await follows.gateway.answer(Request("toy", body, **named, deadline_ms=deadline_ms))).answer
                )
            except ServingError as error:
                said.append(error.code)

        loop, tasks, abreast = asyncio.get_running_loop(), set[asyncio.Task[None]](), eager.Abreast()
        abreast.run(call(50), loop, tasks)
        await until(lambda: said == ["version_loading"], within_s=2)
        abreast.run(call(20_000), loop, tasks)
        await asyncio.sleep(0.05)
        reading.set()
        await until(lambda: len(said) == 2)
        assert said[1].version == "1.0.0"
