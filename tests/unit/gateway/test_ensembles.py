"""An ensemble asks other versions first: loaded once, kept while they are asked, and named where they fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche.errors import BundleCorrupt, DeadlineExceeded, DoesNotLoad, ModelFailed, SchemaMismatch
from cloche.gateway.loading import why_not
from cloche.registry.bundle import Step
from cloche.settings import Limits
from cloche.values import Request

from .conftest import SCHEMA
from .following import ROW, Follows, Hasty, Shop, following, until, written_at

ONE, TWO = ("1.0.0", "one"), ("1.0.0", "two")


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    """Two models that answer the age and ten times the age."""
    shop = Shop(tmp_path)
    await shop.publish("1.0.0", "row['age']", model="one")
    await shop.publish("1.0.0", "10 * row['age']", model="two")
    return shop


@pytest.fixture
async def follows(shop: Shop) -> AsyncIterator[Follows]:
    async with following(shop, Limits(history_versions=4, deadline_ms=20_000)) as follows:
        yield follows


def steps(shop: Shop, **named: tuple[str, str]) -> dict[str, Step]:
    found = {name: shop.pinned(*wanted) for name, wanted in named.items()}
    return {name: Step(step.model, step.version, step.digest) for name, step in found.items()}


async def publish(shop: Shop, answer: str, version: str = "1.0.0", model: str = "both", **fields: Any) -> None:
    """Publish an ensemble of both; `answer` is an expression in the row that it gets."""
    named = fields.pop("steps", None) or steps(shop, a=ONE, b=TWO)
    await shop.publish(version, answer, model=model, flavor="ensemble", steps=named, **fields)


async def go_live(follows: Follows, shop: Shop, *versions: str, model: str = "both") -> None:
    await shop.release(*versions, model=model)
    await follows.look()


async def ask(follows: Follows, body: Any) -> Any:
    """Return what a body is answered with."""
    request = Request("both", json.dumps(body).encode(), deadline_ms=20_000)
    return json.loads(msgspec.json.encode((await follows.gateway.answer(request)).answer))


async def test_it_gets_the_row_and_each_steps_answer(shop: Shop, follows: Follows) -> None:
    await publish(shop, "[row['row']['age'], row['a'], row['b'], sorted(row)]")
    await go_live(follows, shop, "1.0.0")
    assert (await follows.ask(model="both"))["output"] == [1, 1, 10, ["a", "b", "row"]]


async def test_each_row_gets_its_own_answers(shop: Shop, follows: Follows) -> None:
    await publish(shop, "[row['row']['age'], row['a'], row['b']]")
    await go_live(follows, shop, "1.0.0")
    ages = list(range(100))
    answer = await ask(follows, {"inputs": [{"age": age} for age in ages]})
    assert answer["outputs"] == [[age, age, 10 * age] for age in ages]


@pytest.mark.parametrize(("how", "expected"), [("mean", 5.5), ("a", 1), ("b", 10)])
async def test_without_code_it_is_the_mean_or_a_steps_answer(
    shop: Shop, follows: Follows, how: str, expected: float
) -> None:
    await publish(shop, "0", entry="", combine=how, answers="number")
    await go_live(follows, shop, "1.0.0")
    assert (await follows.ask(model="both"))["output"] == expected
    assert len(follows.pool.pids) == 2


async def test_a_steps_refusal_is_told_or_is_the_refusal(shop: Shop, follows: Follows) -> None:
    top = "from cloche import Refusal"
    await shop.publish("2.0.0", "Refusal('too_young', 'Come back', path='/age')", model="two", top=top)
    refusing = steps(shop, a=ONE, b=("2.0.0", "two"))
    await publish(shop, "row['b']", steps=refusing)
    await publish(shop, "0", "2.0.0", steps=refusing, entry="", combine="mean")
    said = {"code": "too_young", "message": "Come back", "path": "/age"}
    await go_live(follows, shop, "1.0.0")
    assert (await follows.ask(model="both"))["output"] == {"refusal": said}
    await go_live(follows, shop, "2.0.0")
    assert (await follows.ask(model="both"))["refusal"] == said


async def test_a_moment_is_answered_by_the_ensemble_of_then_with_its_steps(shop: Shop, follows: Follows) -> None:
    await shop.publish("2.0.0", "20 * row['age']", model="two")
    await publish(shop, "[row['a'], row['b']]")
    await publish(shop, "[row['a'], row['b']]", "2.0.0", steps=steps(shop, a=ONE, b=("2.0.0", "two")))
    await shop.release("1.0.0", model="both")
    await go_live(follows, shop, "2.0.0")
    assert (await follows.ask(model="both"))["output"] == [1, 20]
    then = await follows.ask(model="both", as_of=await written_at(shop, 1))
    assert (then["release"], then["version"], then["output"]) == (1, "1.0.0", [1, 10])


async def test_steps_are_asked_at_once(shop: Shop, follows: Follows) -> None:
    """Each of them answers only once the other has been asked, too."""
    for model, mine, its in (("one", "x", "y"), ("two", "y", "x")):
        top = (
            "import pathlib, time\n"
            "def meet(row):\n"
            "    if row['age'] == 1: return 0\n"
            f"    pathlib.Path({str(shop.folder)!r}, {mine!r}).touch()\n"
            f"    while not pathlib.Path({str(shop.folder)!r}, {its!r}).exists(): time.sleep(0.005)\n"
            "    return 1"
        )
        await shop.publish("3.0.0", "meet(row)", model=model, top=top)
    await publish(shop, "row['a'] + row['b']", steps=steps(shop, a=("3.0.0", "one"), b=("3.0.0", "two")))
    await go_live(follows, shop, "1.0.0")
    assert (await ask(follows, {"input": {"age": 2}}))["output"] == 2


async def test_a_step_of_two_ensembles_is_loaded_once(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a']")
    await publish(shop, "row['a']", model="other", steps=steps(shop, a=ONE))
    for model in ("both", "other", "one"):
        await go_live(follows, shop, "1.0.0", model=model)
    assert {model: (await follows.ask(model=model))["output"] for model in ("both", "other", "one")} == {
        "both": 1,
        "other": 1,
        "one": 1,
    }
    assert shop.loads("1.0.0", "one") == 1
    assert len(follows.pool.pids) == 4


async def test_ensembles_can_be_steps(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a'] + row['b']")
    await publish(shop, "[row['c'], row['a']]", model="outer", steps=steps(shop, c=("1.0.0", "both"), a=ONE))
    await go_live(follows, shop, "1.0.0", model="outer")
    assert (await follows.ask(model="outer"))["output"] == [11, 1]
    assert shop.loads("1.0.0", "one") == 1


async def test_steps_stay_as_long_as_the_ensemble_and_no_longer(shop: Shop) -> None:
    limits = Limits(history_versions=0, history_idle_ms=0, deadline_ms=20_000)
    async with following(shop, limits, Hasty) as follows:
        await publish(shop, "row['a']")
        await publish(shop, "row['b']", "2.0.0", steps=steps(shop, b=TWO))
        await go_live(follows, shop, "1.0.0")
        for _ in range(3):
            follows.versions.sweep()
        assert (await follows.ask(model="both"))["output"] == 1
        assert len(follows.pool.pids) == 3
        await go_live(follows, shop, "2.0.0")
        kept = {shop.pinned("2.0.0", "both").digest, shop.pinned(*TWO).digest}
        await until(lambda: follows.versions.sweep() or (follows.pool.pids.keys() == kept))
        assert (await follows.ask(model="both"))["output"] == 10


async def test_steps_of_what_is_live_take_no_place_of_history(shop: Shop) -> None:
    async with following(shop, Limits(history_versions=1, deadline_ms=20_000)) as follows:
        await publish(shop, "row['a']")
        await go_live(follows, shop, "1.0.0")
        await shop.publish("1.0.0")
        assert follows.versions.load_spare(shop.pinned("1.0.0")) is not None


async def test_an_ensemble_that_is_one_too_many_goes_before_its_steps(shop: Shop) -> None:
    async with following(shop, Limits(history_versions=2, deadline_ms=20_000)) as follows:
        await publish(shop, "row['a']")
        await follows.versions.load(shop.pinned("1.0.0", "both"))
        await follows.versions.load(shop.pinned("1.0.0", "both"))  # so that its steps are unused for longer
        follows.versions.sweep()
        await until(lambda: shop.pinned("1.0.0", "both").digest not in follows.pool.pids)
        assert len(follows.pool.pids) == 2


async def test_an_idle_ensemble_gives_way_before_what_it_asks(shop: Shop) -> None:
    async with following(shop, Limits(history_versions=3, deadline_ms=20_000)) as follows:
        await publish(shop, "row['a']")
        spare = follows.versions.load_spare(shop.pinned("1.0.0", "both"))
        assert spare is not None
        await spare
        await shop.publish("1.0.0")
        assert follows.versions.load_spare(shop.pinned("1.0.0")) is not None
        await until(lambda: shop.pinned("1.0.0", "both").digest not in follows.pool.pids)


async def test_closing_answers_what_is_in_flight(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a'] + row['b']")
    found = await follows.versions.load(shop.pinned("1.0.0", "both"))
    answers = [asyncio.create_task(follows.predict(found)) for _ in range(20)]
    await asyncio.sleep(0)
    await follows.versions.close()
    assert {answer.outputs for answer in await asyncio.gather(*answers)} == {b"[11.0]"}
    await until(lambda: not follows.pool.pids)


async def test_a_failing_step_fails_it_by_name(shop: Shop, follows: Follows) -> None:
    await shop.publish("4.0.0", "1 / (row['age'] - 2)", model="two")
    await publish(shop, "row['a']", steps=steps(shop, a=ONE, gbm=("4.0.0", "two")))
    await go_live(follows, shop, "1.0.0")
    with pytest.raises(ModelFailed) as raised:
        await ask(follows, {"input": {"age": 2}})
    told = raised.value.private["traceback"]
    assert told.startswith("The step gbm (two 4.0.0) failed.")
    assert "ZeroDivisionError" in told
    record = follows.journal.records[-1]
    assert (record.model, record.outcome) == ("both", "model_failed")


async def test_a_failure_is_told_without_waiting_for_the_other_steps(shop: Shop, follows: Follows) -> None:
    go_on = shop.folder / "go-on"
    top = (
        "import pathlib, time\n"
        "def patient(row):\n"
        f"    while row['age'] == 2 and not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.005)\n"
    )
    await shop.publish("4.0.0", "patient(row)", model="one", top=top)
    await shop.publish("4.0.0", "1 / (row['age'] - 2)", model="two")
    await publish(shop, "row['a']", steps=steps(shop, a=("4.0.0", "one"), gbm=("4.0.0", "two")))
    await go_live(follows, shop, "1.0.0")
    with pytest.raises(ModelFailed) as raised:
        await ask(follows, {"input": {"age": 2}})
    go_on.touch()
    assert raised.value.private["traceback"].startswith("The step gbm (two 4.0.0) failed.")


async def test_a_slow_step_is_given_up_at_the_deadline(shop: Shop, follows: Follows) -> None:
    top = "import time\ndef slow(row): time.sleep(5 if row['age'] == 2 else 0)"
    await shop.publish("4.0.0", "slow(row)", model="two", top=top)
    await publish(shop, "row['a']", steps=steps(shop, a=ONE, b=("4.0.0", "two")))
    await go_live(follows, shop, "1.0.0")
    with pytest.raises(DeadlineExceeded):
        await follows.gateway.answer(Request("both", b'{"input": {"age": 2}}', deadline_ms=300))


async def test_a_row_that_a_step_does_not_take_is_the_callers_fault(shop: Shop, follows: Follows) -> None:
    narrow = {**SCHEMA, "properties": {"age": {"type": "number", "maximum": 100}}}
    await shop.publish("4.0.0", "row['age']", model="two", input_schema=narrow)
    await publish(shop, "row['b']", steps=steps(shop, a=ONE, b=("4.0.0", "two")))
    await go_live(follows, shop, "1.0.0")
    for body, pointer in (({"input": {"age": 101}}, "/input/age"), ({"inputs": [ROW, {"age": 101}]}, "/inputs/1/age")):
        with pytest.raises(SchemaMismatch, match=r"both 1\.0\.0") as raised:
            await ask(follows, body)
        (fault,) = raised.value.faults
        assert fault["pointer"] == pointer
        assert "step b (two 4.0.0)" in fault["message"]


async def test_a_step_gets_the_fields_that_it_knows(shop: Shop, follows: Follows) -> None:
    more = {**SCHEMA, "properties": {**SCHEMA["properties"], "name": {"type": "string"}}}
    await shop.publish("4.0.0", "sorted(row)", model="two", input_schema={**SCHEMA, "additionalProperties": True})
    await shop.publish("4.0.0", "sorted(row)", model="one")
    both = steps(shop, a=("4.0.0", "one"), b=("4.0.0", "two"))
    await publish(shop, "[row['a'], row['b']]", steps=both, input_schema=more)
    await go_live(follows, shop, "1.0.0")
    assert (await ask(follows, {"input": {"age": 2, "name": "x"}}))["output"] == [["age"], ["age", "name"]]


async def test_a_missing_step_never_goes_live(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a']")
    await go_live(follows, shop, "1.0.0")
    gone = {"a": Step("one", "9.9.9", "sha256:" + "0" * 64)}
    await publish(shop, "row['a']", "2.0.0", steps=gone)
    await go_live(follows, shop, "2.0.0")
    (waiting,) = follows.progress.waiting
    assert "step a, one 9.9.9, does not load: one has no version 9.9.9" in waiting.reason
    assert (await follows.ask(model="both"))["version"] == "1.0.0"


async def test_a_step_with_another_digest_never_goes_live(shop: Shop, follows: Follows) -> None:
    other = {"a": Step("one", "1.0.0", shop.pinned(*TWO).digest)}
    await publish(shop, "row['a']", steps=other)
    loading = follows.versions.load(shop.pinned("1.0.0", "both"))
    with pytest.raises((DoesNotLoad, BundleCorrupt)):
        await loading
    assert "two 1.0.0" in str(why_not(loading)) or "one 1.0.0" in str(why_not(loading))


async def test_a_tampered_step_never_goes_live(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a']")
    for blob in (shop.folder / "registry" / "blobs").rglob("*"):
        if blob.is_file() and b"return 10 * row" in blob.read_bytes():
            blob.chmod(0o600)
            blob.write_bytes(b"open('/dev/null')")
    await go_live(follows, shop, "1.0.0")
    (waiting,) = follows.progress.waiting
    assert "Its step b, two 1.0.0, does not load" in waiting.reason
    assert shop.loads("1.0.0", "two") == 0
    await until(lambda: shop.pinned("1.0.0", "both").digest not in follows.pool.pids)


async def test_a_step_that_can_not_be_read_now_is_tried_again(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['b']")
    key = "models/two/1.0.0/manifest.json"
    shop.store.broken.add(key)
    await go_live(follows, shop, "1.0.0")
    assert follows.progress.waiting[0].passing


async def test_a_dead_worker_of_a_step_is_the_calls_failure_and_comes_back(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a']")
    await go_live(follows, shop, "1.0.0")
    (loaded,) = follows.gateway.loaded.models["both"].versions.values()
    os.kill(follows.pool.pids[shop.pinned(*ONE).digest][0], signal.SIGKILL)
    await until(lambda: loaded.runtime.state == "starting")
    assert follows.progress.not_ready() == [("both", "1.0.0", "starting")]
    await until(lambda: loaded.runtime.state == "ready")
    assert (await follows.ask(model="both"))["output"] == 1


async def test_one_that_is_not_active_is_answered_like_any_version(shop: Shop, follows: Follows) -> None:
    await publish(shop, "row['a']")
    await publish(shop, "row['b']", "2.0.0")
    await go_live(follows, shop, "1.0.0")
    assert (await follows.ask("2.0.0", model="both"))["output"] == 10
    assert follows.journal.records[-1].kind == "history"
