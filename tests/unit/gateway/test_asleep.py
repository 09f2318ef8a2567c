"""Of many models a gateway loads few; the others are loaded by their first call, and let go of when they have none."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from cloche.errors import ModelLoading, UnknownVersion, VersionLoading
from cloche.gateway import follow
from cloche.gateway.asleep import Sleepers, stays_awake
from cloche.registry.release import Live, Routing
from cloche.registry.traffic import (
    Arm,
    Canary,
    Constant,
    Experiment,
    Fallback,
    Override,
    Pilot,
    Rollout,
    RolloutPlan,
    Shadow,
)
from cloche.settings import Limits, Workers
from cloche.values import Request

from .following import Follows, Hasty, Shop, following, until

ONE = Workers(warm=1, idle_ms=1)
MODELS = ("a", "b", "c")
AT_ONCE = Limits(deadline_ms=20_000, history_versions=0)
ROUNDS = 60 if os.environ.get("CLOCHE_PROVE") else 6
PLAIN = Routing({"1.0.0": "sha256:1"}, "1.0.0")


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    """Three models, `c` released last."""
    shop = Shop(tmp_path)
    for model in MODELS:
        await shop.publish("1.0.0", model=model)
        await shop.release("1.0.0", model=model)
    return shop


def asleep(follows: Follows) -> set[str]:
    return set(follows.gateway.loaded.asleep)


async def test_a_gateway_that_starts_loads_what_was_released_last(shop: Shop) -> None:
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        assert asleep(follows) == {"a", "b"}
        assert [shop.loads("1.0.0", model) for model in MODELS] == [0, 0, 1]
        assert follows.in_force == {"a": 1, "b": 2, "c": 3}
        assert follows.progress.waiting == []


async def test_a_call_wakes_the_model_and_is_answered(shop: Shop) -> None:
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        answer = await follows.ask(model="a")
        assert (answer["output"], answer["release"]) == ("1.0.0", 1)
        assert asleep(follows) == {"b"}
        (record,) = follows.journal.records
        assert (record.model, record.kind, record.outcome) == ("a", "live", "ok")


async def test_calls_that_come_together_wake_it_once(shop: Shop) -> None:
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        answers = await asyncio.gather(*(follows.ask(model="a") for _ in range(10)))
        assert [answer["output"] for answer in answers] == ["1.0.0"] * 10
        assert (shop.loads("1.0.0", "a"), follows.progress.wakes) == (1, 1)


async def test_past_its_deadline_a_call_is_told_to_ask_again_and_loading_goes_on(shop: Shop) -> None:
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        with pytest.raises(VersionLoading) as caught:
            await follows.gateway.answer(Request("a", b'{"input": {"age": 1}}', deadline_ms=1))
        assert caught.value.retry_after_s
        assert follows.journal.records == []
        await until(lambda: "a" in follows.gateway.loaded.models)
        assert (await follows.ask(model="a"))["output"] == "1.0.0"


async def test_a_call_back_in_time_wakes_its_model_first(shop: Shop) -> None:
    await shop.publish("2.0.0", model="a")
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        assert (await follows.ask("2.0.0", model="a"))["output"] == "2.0.0"
        assert {record.kind for record in follows.journal.records} == {"history"}
        with pytest.raises(UnknownVersion):
            await follows.ask("9.9.9", model="b")


async def test_a_first_call_brings_the_headers_that_its_model_declares(shop: Shop) -> None:
    await shop.publish("2.0.0", model="a")
    override = Override({"market": ["de"]}, default="2.0.0")
    attributes = {"market": "header:X-Market"}
    await shop.release("1.0.0", "2.0.0", model="a", attributes=attributes, overrides=[override])
    await shop.release("1.0.0", model="c")
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        assert "a" in asleep(follows)
        assert follows.gateway.loaded.headers == {"x-market"}
        request = Request("a", b'{"input": {"age": 1}}', deadline_ms=20_000, attributes={"x-market": "de"})
        reply = await follows.gateway.answer(request)
        assert json.loads(msgspec.json.encode(reply.answer))["version"] == "2.0.0"
        assert follows.gateway.loaded.headers == {"x-market"}


async def test_what_has_no_calls_is_put_to_sleep_but_for_the_newest(shop: Shop) -> None:
    async with following(shop, AT_ONCE, Hasty, ONE) as follows:
        await follows.look()
        for model in MODELS:
            await follows.ask(model=model)
        assert asleep(follows) == set()
        await swept(follows)
        await until(lambda: len(follows.pool.pids) == 1)
        assert len(asleep(follows)) == 2
        for model in MODELS:
            assert (await follows.ask(model=model))["output"] == "1.0.0"


async def test_what_was_woken_in_vain_is_there_for_the_next_call(shop: Shop) -> None:
    """A caller that had no time to wait comes again in seconds: it must not find the model asleep once more."""
    async with following(shop, AT_ONCE, Hasty, Workers(warm=1, idle_ms=2_000)) as follows:
        await follows.look()
        await follows.ask(model="a")
        await swept(follows)
        await follows.ask(model="c")
        await until(lambda: follows.follower._put_to_sleep() or "a" in asleep(follows))
        follows.versions.sweep()
        with pytest.raises(VersionLoading):
            await follows.gateway.answer(Request("a", b'{"input": {"age": 1}}', deadline_ms=1))
        await until(lambda: "a" in follows.gateway.loaded.models)
        await swept(follows)
        assert "a" not in asleep(follows)


async def test_what_is_called_stays_awake(shop: Shop) -> None:
    async with following(shop, AT_ONCE, workers=Workers(warm=1, idle_ms=200)) as follows:
        await follows.look()
        stopping = asyncio.Event()

        async def call(model: str) -> None:
            while not stopping.is_set():
                assert (await follows.ask(model=model))["output"] == "1.0.0"

        callers = [asyncio.create_task(call(model)) for model in ("a", "b")]
        await until(lambda: {"a", "b"} <= follows.gateway.loaded.models.keys())
        await swept(follows, for_s=0.6)
        assert asleep(follows) == {"c"}
        stopping.set()
        await asyncio.gather(*callers)


async def test_a_call_that_is_under_way_is_not_disturbed(shop: Shop) -> None:
    await shop.publish("2.0.0", "__import__('time').sleep(0.6) or 'slow'", model="a")
    await shop.release("2.0.0", model="a")
    async with following(shop, AT_ONCE, workers=ONE) as follows:
        await follows.look()
        await follows.ask(model="b")
        slow = asyncio.create_task(follows.ask(model="a"))
        await until(lambda: follows.gateway.loaded.models["a"].default.runtime.busy)
        await swept(follows)
        assert "a" not in asleep(follows)
        assert (await slow)["output"] == "slow"


async def test_a_new_release_of_a_model_that_sleeps_is_loaded_before_it_is_in_force(shop: Shop) -> None:
    await shop.publish("2.0.0", model="a", top="raise RuntimeError('it has a hole')")
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        await shop.release("2.0.0", model="a")
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert (waiting.model, waiting.version, waiting.answering) == ("a", "2.0.0", 1)
        assert (await follows.ask(model="a"))["version"] == "1.0.0"


async def test_a_model_that_does_not_wake_is_said_to_be_no_reason_to_wait(shop: Shop) -> None:
    await shop.publish("1.0.0", model="broken", top="raise RuntimeError('it has a hole')")
    await shop.release("1.0.0", model="broken")
    await shop.release("1.0.0", model="c")
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        with pytest.raises(ModelLoading):
            await follows.ask(model="broken")
        (waiting,) = follows.progress.waiting
        assert (waiting.model, waiting.woken, waiting.loading) == ("broken", True, False)
        with pytest.raises(ModelLoading):
            await asyncio.wait_for(follows.ask(model="broken"), 1)


async def test_only_so_many_are_woken_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MOST_WAKING", 1)
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        first = asyncio.create_task(follows.ask(model="a"))
        await asyncio.sleep(0)
        with pytest.raises(VersionLoading):
            await follows.ask(model="b")
        assert (await first)["output"] == "1.0.0"
        assert (await follows.ask(model="b"))["output"] == "1.0.0"


async def test_only_so_many_are_awake_and_those_unused_for_longest_make_room(shop: Shop) -> None:
    two = Workers(warm=1, awake=2, idle_ms=600_000)
    async with following(shop, AT_ONCE, Hasty, two) as follows:
        await follows.look()
        for model in ("a", "b"):
            assert (await follows.ask(model=model))["output"] == "1.0.0"
            await swept(follows)
            assert len(follows.gateway.loaded.models) <= 2
        assert asleep(follows) == {"c"}
        await until(lambda: len(follows.pool.pids) == 2)


async def test_who_is_answering_makes_no_room(shop: Shop) -> None:
    await shop.publish("2.0.0", "__import__('time').sleep(0.6) or 'slow'", model="c")
    await shop.release("2.0.0", model="c")
    async with following(shop, AT_ONCE, workers=Workers(warm=1, awake=1)) as follows:
        await follows.look()
        slow = asyncio.create_task(follows.ask(model="c"))
        await until(lambda: follows.gateway.loaded.models["c"].default.runtime.busy)
        with pytest.raises(VersionLoading) as caught:
            await follows.ask(model="a")
        assert caught.value.retry_after_s
        assert (await slow)["output"] == "slow"
        assert (await follows.ask(model="a"))["output"] == "1.0.0"
        assert asleep(follows) == {"b", "c"}


async def test_hundreds_of_calls_at_once_wake_no_more_than_may_be(shop: Shop) -> None:
    async with following(shop, AT_ONCE, Hasty, Workers(warm=1, awake=2)) as follows:
        await follows.look()
        most = 0

        async def call(model: str) -> object:
            nonlocal most
            try:
                return (await follows.ask(model=model))["output"]
            except VersionLoading as told:
                return told
            finally:
                most = max(most, len(follows.gateway.loaded.models))

        told = await asyncio.gather(*(call(MODELS[number % 3]) for number in range(300)))
        assert most <= 2
        assert {str(each) for each in told if isinstance(each, str)} == {"1.0.0"}


async def test_what_sleeps_can_be_looked_at_and_sleeps_on(shop: Shop) -> None:
    async with following(shop, workers=ONE) as follows:
        await follows.look()
        looked = await follows.gateway.loaded.asleep["a"].look()
        assert (looked.name, looked.release, looked.default.manifest.version) == ("a", 1, "1.0.0")
        assert looked.default.runtime.state == "asleep"
        assert looked.default.accept.schema["properties"]["age"] == {"type": "number"}
        assert "a" in asleep(follows)
        assert shop.loads("1.0.0", "a") == 0


async def test_few_models_never_sleep(shop: Shop) -> None:
    async with following(shop, AT_ONCE, workers=Workers(warm=3, idle_ms=1)) as follows:
        await follows.look()
        await swept(follows)
        assert asleep(follows) == set()
        assert len(follows.pool.pids) == 3


async def test_whatever_sleeps_wakes_and_is_released_meanwhile_no_call_fails(shop: Shop) -> None:
    for model in MODELS:
        await shop.publish("2.0.0", model=model)
    allowed = {number: ("1.0.0", model) for number, model in enumerate(MODELS, 1)}
    chance = random.Random(7)
    seen: Counter[tuple[int, str, str]] = Counter()
    async with following(shop, AT_ONCE, Hasty, ONE) as follows:
        await follows.look()
        stopping = asyncio.Event()

        async def call() -> None:
            while not stopping.is_set():
                model = chance.choice(MODELS)
                answer = await follows.ask(model=model)
                seen[answer["release"], answer["output"], model] += 1
                await asyncio.sleep(chance.random() / 20)

        async def sweep() -> None:
            while not stopping.is_set():
                await swept(follows, 0.02)

        tasks = [asyncio.create_task(each) for each in (call(), call(), call(), sweep())]
        for number in range(ROUNDS):
            version, model = ("2.0.0", "1.0.0")[number % 2], chance.choice(MODELS)
            allowed[await shop.release(version, model=model)] = (version, model)
            await follows.look()
            await asyncio.sleep(0.2)
        stopping.set()
        await asyncio.gather(*tasks)
        assert follows.progress.wakes > ROUNDS / 2
    assert all(allowed[release] == (output, model) for release, output, model in seen)


@pytest.mark.parametrize(
    "needs",
    [
        {"fallback": Fallback([Constant(1)])},
        {"shadow": Shadow("1.0.0")},
        {"canary": Canary("1.0.0", 0.1, "seed")},
        {"pilot": Pilot("1.0.0")},
        {"experiments": {"x": Experiment([Arm("a", "1.0.0", 1.0)])}},
        {"overrides": [Override({"market": ["de"]}, shadow=Shadow("1.0.0"))]},
        {"progress": Rollout("2.0.0", "1.0.0", RolloutPlan(), "paused", 0, 0, 0)},
    ],
    ids=lambda needs: next(iter(needs)),
)
def test_what_is_needed_besides_its_calls_stays_awake(needs: dict[str, object]) -> None:
    assert stays_awake(msgspec.structs.replace(PLAIN, **needs))


@pytest.mark.parametrize(
    "does_not",
    [
        {},
        {"experiments": {"x": Experiment([Arm("a", "1.0.0", 1.0)], status="stopped")}},
        {"overrides": [Override({"market": ["de"]}, default="1.0.0")]},
        {"progress": Rollout("2.0.0", "1.0.0", RolloutPlan(), "promoted", 0, 0, 0)},
    ],
)
def test_what_is_over_needs_nothing(does_not: dict[str, object]) -> None:
    assert not stays_awake(msgspec.structs.replace(PLAIN, **does_not))


def test_what_stays_awake_counts_among_the_warm() -> None:
    kept = msgspec.structs.replace(PLAIN, fallback=Fallback([Constant(1)]))
    names = [f"m{number}" for number in range(6)]
    models = {name: kept if name in ("m0", "m1") else PLAIN for name in names}
    sleepers = Sleepers(Workers(warm=3))
    sleepers.lay_down(Live(6, models, {name: number for number, name in enumerate(names)}, {}))
    assert sleepers.names == {"m2", "m3", "m4"}


async def swept(follows: Follows, for_s: float = 0.05) -> None:
    """Do what the follower does every few seconds, for a while."""
    until_s = asyncio.get_running_loop().time() + for_s
    while asyncio.get_running_loop().time() < until_s:
        follows.follower._put_to_sleep()
        follows.versions.sweep()
        await asyncio.sleep(0.01)
