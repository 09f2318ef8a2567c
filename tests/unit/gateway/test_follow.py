"""Following the releases: what is new is loaded beside what answers, and takes its place in one step or not at all."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from cloche.errors import BundleCorrupt, NewerFormat, SchemaMismatch, UnknownModel
from cloche.gateway import follow
from cloche.registry.traffic import Constant, Fallback, Override, Shadow
from cloche.settings import Limits
from cloche.values import Request

from .following import Hasty, Shop, following, until

SLOW = "__import__('time').sleep(0.3) or "
"""In front of an answer that takes a while."""

AT_ONCE = Limits(deadline_ms=20_000, history_versions=0)
"""With these nothing that has left is kept."""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once what did not load."""
    monkeypatch.setattr(follow, "RETRY_S", 0.05)
    monkeypatch.setattr(follow, "MOST_RETRY_S", 0.05)


def key(number: int) -> str:
    return f"releases/{number:012d}.json"


async def test_what_loaded_is_kept_while_what_failed_is_tried_again(shop: Shop, soon: None) -> None:
    mended = shop.folder / "mended"
    await shop.publish("1.0.0")
    await shop.publish("2.0.0", top=f"assert __import__('os').path.exists({str(mended)!r}), 'no such file'")
    await shop.release("2.0.0", "1.0.0")
    async with following(shop, AT_ONCE, Hasty) as follows:
        await follows.look()
        await until(lambda: follows.versions.sweep() or shop.loads("2.0.0") >= 3)
        assert follows.in_force == {}
        (waiting,) = follows.progress.waiting
        assert (waiting.model, waiting.release, waiting.version, waiting.loading) == ("toy", 1, "2.0.0", False)
        assert waiting.reason is not None
        assert "no such file" in waiting.reason
        mended.touch()
        await until(lambda: follows.in_force == {"toy": 1})
        assert shop.loads("1.0.0") == 1, "the sound one is never started again"
        assert (await follows.ask())["version"] == "2.0.0"


async def test_a_release_that_does_not_load_replaces_nothing_and_says_why(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.publish("2.0.0", top="raise RuntimeError('it has a hole')")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await follows.look()
        answer = await follows.ask()
        assert (answer["version"], answer["release"]) == ("1.0.0", 1)
        standing = follows.progress.standing
        assert (standing.seen, standing.in_force) == (2, {"toy": 1})
        (waiting,) = standing.waiting
        assert (waiting.release, waiting.answering, waiting.version) == (2, 1, "2.0.0")
        assert waiting.reason is not None
        assert "it has a hole" in waiting.reason
        await shop.publish("2.0.1")
        await shop.release("2.0.1")
        await follows.look()
        assert (follows.in_force, follows.progress.waiting) == ({"toy": 3}, [])


async def test_a_release_that_contradicts_itself_replaces_nothing_and_says_why(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await shop.release("1.0.0", shadow=Shadow("9.9.9"), schemas={"8.8.8": "sha256:x"})
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert (waiting.answering, waiting.version) == (1, "9.9.9")
        assert waiting.reason == "the release names it, and it is not active"


async def test_calls_are_held_to_the_schema_of_the_release(shop: Shop) -> None:
    await shop.publish("1.0.0")
    narrow = {"type": "object", "properties": {"age": {"type": "number", "maximum": 50}}, "required": ["age"]}
    kept = await shop.registry.keep(json.dumps(narrow).encode())
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        assert (await follows.ask(input={"age": 99}))["release"] == 1
        await shop.release("1.0.0", schemas={"1.0.0": kept})
        await follows.look()
        assert (await follows.ask(input={"age": 50}))["release"] == 2
        with pytest.raises(SchemaMismatch):
            await follows.ask(input={"age": 51})
        await shop.release("1.0.0", schemas={"1.0.0": "sha256:" + "0" * 64})
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert (waiting.release, waiting.answering, waiting.version) == (3, 2, "1.0.0")
        assert shop.loads("1.0.0") == 1


async def test_a_gateway_that_starts_anew_takes_the_newest_release_that_loads(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.publish("1.5.0")
    await shop.publish("2.0.0", top="raise RuntimeError")
    for versions in (["1.0.0"], ["2.0.0", "1.5.0"], ["2.0.0", "1.0.0"]):
        await shop.release(*versions)
    async with following(shop, AT_ONCE) as follows:
        await follows.look()
        assert follows.in_force == {"toy": 1}
        await until(lambda: follows.versions.sweep() or follows.pool.pids.keys() == {shop.pinned("1.0.0").digest})
        assert [(each.release, each.answering) for each in follows.progress.waiting] == [(3, 1)]
        assert (await follows.ask())["release"] == 1
        await shop.release("1.0.0", deadline_ms=19_000)
        await follows.look()
        assert follows.in_force == {"toy": 4}
        assert shop.loads("1.0.0") == 1


async def test_a_bundle_that_is_not_there_is_no_trouble_for_other_models(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    await shop.release("9.9.9", model="missing")
    async with following(shop) as follows:
        await follows.look()
        assert follows.in_force == {"toy": 1}
        assert [(each.model, each.version) for each in follows.progress.waiting] == [("missing", "9.9.9")]


async def test_a_call_in_flight_is_answered_by_the_version_it_came_to(shop: Shop) -> None:
    gate = shop.folder / "gate"
    wait = f"def wait():\n    while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    await shop.publish("1.0.0", answer="row['age'] > 1 and wait() or 'slow'", top=f"import os, time\n{wait}")
    await shop.publish("2.0.0")
    await shop.release("1.0.0")
    async with following(shop, AT_ONCE, Hasty) as follows:
        await follows.look()
        early = [asyncio.create_task(follows.ask(input={"age": 2})) for _ in range(4)]
        await asyncio.sleep(0)
        await shop.release("2.0.0")
        await follows.look()
        follows.versions.sweep()
        assert follows.in_force == {"toy": 2}
        assert not any(call.done() for call in early)
        gate.touch()
        answers = await asyncio.gather(*early)
        assert [(answer["release"], answer["output"]) for answer in answers] == [(1, "slow")] * 4
        await until(lambda: len(follows.pool.pids) == 1)


async def test_a_call_in_flight_still_finds_what_stands_in_for_its_version(shop: Shop) -> None:
    await shop.publish("1.0.0", answer="__import__('time').sleep(1.5 * (row['age'] > 1))")
    for version in ("0.1.0", "2.0.0"):
        await shop.publish(version)
    chain = Fallback(["0.1.0", Constant("nobody")], reserve_ms=1_000)
    await shop.release("1.0.0", "0.1.0", fallback=chain, deadline_ms=2_000)
    async with following(shop, AT_ONCE) as follows:
        await follows.look()
        call = asyncio.create_task(follows.ask(input={"age": 2}))
        await asyncio.sleep(0)
        await shop.release("2.0.0")
        await follows.look()
        follows.versions.sweep()
        assert follows.in_force == {"toy": 2}
        assert (await call)["fallback"] == {"reason": "deadline_exceeded", "answered_by": "0.1.0"}


async def test_what_stands_in_is_there_for_the_longest_deadline_of_all_overrides(shop: Shop) -> None:
    await shop.publish("1.0.0", answer="__import__('time').sleep(1.5 * (row['age'] > 1))")
    for version in ("0.1.0", "2.0.0"):
        await shop.publish(version)
    chain = Fallback(["0.1.0", Constant("nobody")], reserve_ms=3_000)
    slow = Override({"market": ["de"]}, default="1.0.0", deadline_ms=4_000, fallback=chain)
    attributes = {"market": "header:x-market"}
    await shop.release("2.0.0", "1.0.0", "0.1.0", deadline_ms=50, attributes=attributes, overrides=[slow])
    async with following(shop, AT_ONCE) as follows:
        await follows.look()
        request = Request("toy", b'{"input": {"age": 2}}', attributes={"x-market": "de"})
        call = asyncio.create_task(follows.gateway.answer(request))
        await asyncio.sleep(0)
        await shop.release("2.0.0")
        await follows.look()
        await asyncio.sleep(0.1)
        follows.versions.sweep()
        assert follows.in_force == {"toy": 2}
        answer = json.loads(msgspec.json.encode((await call).answer))
        assert answer["fallback"] == {"reason": "deadline_exceeded", "answered_by": "0.1.0"}


async def test_releases_and_undos_under_load_fail_no_call(shop: Shop) -> None:
    """Every release has one active version, and what leaves is stopped at once: the harshest way to swap."""
    swaps = 40 if os.environ.get("CLOCHE_PROVE") else 6
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    allowed = {await shop.release("1.0.0"): "1.0.0"}
    async with following(shop, AT_ONCE, Hasty) as follows:
        await follows.look()
        stopping = asyncio.Event()
        seen: Counter[tuple[int, str, str]] = Counter()

        async def call() -> None:
            while not stopping.is_set():
                answer = await follows.ask()
                seen[answer["release"], answer["version"], answer["output"]] += 1

        callers = [asyncio.create_task(call()) for _ in range(8)]
        for version, _ in zip(itertools.cycle(["2.0.0", "1.0.0"]), range(swaps), strict=False):
            allowed[await shop.release(version)] = version
            await follows.look()
            follows.versions.sweep()
        stopping.set()
        await asyncio.gather(*callers)
    assert all(version == output == allowed[release] for release, version, output in seen)
    assert len({release for release, _, _ in seen}) > swaps / 2
    assert shop.loads("1.0.0") + shop.loads("2.0.0") == swaps + 1


async def test_an_undo_finds_the_version_still_warm(shop: Shop) -> None:
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    await shop.release("1.0.0")
    async with following(shop) as follows:
        for version in ("2.0.0", "1.0.0", "2.0.0"):
            await follows.look()
            await shop.release(version)
        await follows.look()
        assert (await follows.ask())["output"] == "2.0.0"
    assert (shop.loads("1.0.0"), shop.loads("2.0.0")) == (1, 1)


async def test_a_release_that_is_overtaken_while_it_loads_is_never_in_force(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.publish("2.0.0", top="__import__('time').sleep(0.5)")
    await shop.release("1.0.0")
    async with following(shop, AT_ONCE) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await follows.follower.look()
        await shop.release("1.0.0")
        await follows.look()
        assert follows.in_force == {"toy": 3}
        await follows.versions.load(shop.pinned("2.0.0"))
        assert (await follows.ask())["release"] == 3
        await until(lambda: follows.versions.sweep() or len(follows.pool.pids) == 1)


async def test_a_look_that_finds_nothing_begins_nothing(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await follows.follower.look()
        assert follows.progress.waiting == []


async def test_many_versions_load_at_the_same_time(shop: Shop) -> None:
    """Each waits until the others have begun; one after the other they would never load."""
    everyone = [("1.0.0", "a"), ("2.0.0", "a"), ("1.0.0", "b")]
    for version, model in everyone:
        others = [str(shop.loads_file(*other)) for other in everyone]
        await shop.publish(
            version, model=model, top=f"while not all(map(__import__('os').path.exists, {others!r})): pass"
        )
    await shop.release("1.0.0", "2.0.0", model="a")
    await shop.release("1.0.0", model="b")
    async with following(shop) as follows:
        await follows.look()
        assert follows.in_force == {"a": 1, "b": 2}


async def test_after_an_outage_no_release_in_between_is_gone_through(shop: Shop) -> None:
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await shop.release("1.0.0")
        shop.store.broken.add(key(3))
        with pytest.raises(OSError, match="Input/output"):
            await follows.look()
        assert (follows.in_force, follows.progress.waiting) == ({"toy": 1}, [])
        shop.store.broken.clear()
        await follows.look()
        assert follows.in_force == {"toy": 3}
    assert shop.loads("2.0.0") == 0


async def test_releases_before_one_that_never_will_be_read_are_followed(shop: Shop) -> None:
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await shop.store.put_if_absent(key(3), b'{"format": 99}')
        with pytest.raises(NewerFormat):
            await follows.look()
        await follows.progress.settled(30)
        assert follows.in_force == {"toy": 2}


async def test_a_gateway_that_can_not_read_all_releases_starts_with_none(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    await shop.store.put_if_absent(key(2), b"torn")
    async with following(shop) as follows:
        with pytest.raises(BundleCorrupt):
            await follows.look()
        assert (follows.progress.started, follows.in_force) == (False, {})


async def test_a_copy_serves_a_gateway_whose_registry_lost_the_bundle(shop: Shop) -> None:
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
    shop.store.broken.add("models/toy/1.0.0/manifest.json")
    async with following(shop) as follows:
        await follows.look()
        assert follows.in_force == {"toy": 1}


async def test_closing_answers_what_is_in_flight_and_gives_up_what_loads(shop: Shop) -> None:
    await shop.publish("1.0.0", answer=SLOW + "'late'")
    await shop.publish("2.0.0", top="__import__('time').sleep(30)")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await follows.follower.look()
        call = asyncio.create_task(follows.ask())
        await asyncio.sleep(0)
        await asyncio.wait_for(follows.follower.close(), 10)
        assert (await call)["output"] == "late"
        with pytest.raises(UnknownModel):
            await follows.ask()
