"""Every caller gets exactly its own rows: whatever the size of a batch, and whatever happens to the others in it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cloche.errors import ModelFailed, PoisonInput, ServingError, WorkerCrashed
from cloche.runtimes import crew
from cloche.runtimes.attached import Attached
from cloche.runtimes.connection import Call
from cloche.runtimes.inline.runtime import InlineRuntime
from cloche.runtimes.inline.together import MOST_ROWS
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.remote import WorkerRuntime
from cloche.runtimes.replica import WorkerSpec
from cloche.schema.listing import items_of
from cloche.values import CRITICALITIES, Ask, Batching, CallContext
from serving import PROVE

from .conftest import MakeBundle

CALLERS = 200
CALLS = 100_000 if PROVE else 800
DEATHS = 100 if PROVE else 2
"""Calls that kill the worker which has them."""

MODEL = """
import os, time
from cloche import Model, Refusal

class M(Model):
    def predict(self, rows):
        return [self.one(row) for row in rows]

    def one(self, row):
        fate = row["fate"]
        if fate == "die":
            os._exit(3)
        if fate == "sleep":
            time.sleep(0.005)
        if fate == "fail":
            raise ValueError(row["name"])
        if fate == "refuse":
            return Refusal("no", row["name"])
        return row["score"] if "score" in row else row["name"]
"""

FATES = ["answer"] * 50 + ["sleep", "refuse", "fail", "cancel", "hurry"]


class Kind:
    """Calls with rows, each of which is answered with its name."""

    each: ClassVar[dict[str, str] | None] = None

    def payload(self, call: str, size: int, fate: str) -> list[Any]:
        rows = [{"name": f"{call}.{row}", "fate": "answer"} for row in range(size)]
        rows[-1]["fate"] = fate
        return rows

    def answer(self, call: str, size: int, fate: str) -> Any:
        names = [f"{call}.{row}" for row in range(size)]
        return [*names[:-1], None] if fate == "refuse" else names


class Ranking(Kind):
    """Calls with one list of items, which come back in the order of their scores."""

    each: ClassVar = {"path": "/items", "item_id": "sku"}

    def payload(self, call: str, size: int, fate: str) -> list[Any]:
        items = [{"sku": f"{call}.{item}", "score": item, "name": call, "fate": "answer"} for item in range(size)]
        items[-1]["fate"] = fate
        return [{"items": items}]

    def answer(self, call: str, size: int, fate: str) -> Any:
        best, *rest = ({"sku": f"{call}.{item}", "score": item} for item in reversed(range(size)))
        return [rest if fate == "refuse" else [best, *rest]]  # an item that is refused is in no place


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [Kind(), Ranking()], ids=["rows", "rankings"])
async def test_every_caller_gets_exactly_its_own_rows(
    kind: Kind, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Callable[..., None]
) -> None:
    monkeypatch.setattr(crew, "CRASHES", 10 * DEATHS)
    monkeypatch.setattr(crew, "BACK_OFF_S", (0.0,))
    together: list[int] = []
    give = Attached.give

    def counted(worker: Attached, batch: list[Call], watch: asyncio.TimerHandle) -> None:
        together.append(len(batch))
        give(worker, batch, watch)

    monkeypatch.setattr(Attached, "give", counted)
    bundle = make_bundle(MODEL, **({"each": kind.each} if kind.each else {}))
    pool = WorkerPool()
    spec = WorkerSpec("toy", "1.0.0", "sha256:0", str(bundle), str(tmp_path / "log"), replicas=2)
    runtime = WorkerRuntime(spec, pool, 30.0)
    await asyncio.wait_for(runtime.wait_ready(), 30)
    chance = random.Random(11)
    fatal = set(chance.sample(range(CALLS), DEATHS))
    numbers = iter(range(CALLS))
    seen: Counter[str] = Counter()

    async def one(number: int) -> None:
        fate = "die" if number in fatal else chance.choice(FATES)
        size = 1 if chance.random() < 0.5 else chance.randint(1, 20)
        payload = kind.payload(f"{number}", size, fate)
        batching = Batching(chance.choice([0, 0, 0, 3]), chance.choice([None, None, 10, 200]))
        ask = Ask(
            *(json.dumps(payload).encode(), len(payload), kind.each is None, CallContext(f"id-{number}", 0), 60_000),
            caller=chance.choice("abc"),
            criticality=chance.choice(CRITICALITIES),
            batching=batching,
            items=items_of(payload[0], "items") if kind.each and chance.random() < 0.5 else None,
        )
        deadline = asyncio.get_running_loop().time() + (chance.random() / 50 if fate == "hurry" else 60)
        call = asyncio.ensure_future(runtime.predict(ask, deadline))
        if fate == "cancel":
            await asyncio.sleep(chance.random() / 50)
            call.cancel()
        await asyncio.wait([call])
        if call.cancelled():
            seen["cancelled"] += 1
            assert fate == "cancel"
            return
        error = call.exception()
        seen[type(error).__name__ if error else "answered"] += 1
        if error is None:
            assert json.loads(call.result().outputs) == kind.answer(f"{number}", size, fate)
            assert set(call.result().refusals) == ({size - 1} if fate == "refuse" else set())
        elif fate == "fail":
            assert isinstance(error, ModelFailed), error
            assert f"ValueError: {payload[-1].get('name', number)}" in error.private["traceback"]
        elif fate == "die":
            assert isinstance(error, PoisonInput | WorkerCrashed), error
        else:
            assert fate == "hurry", (fate, error)
            assert isinstance(error, ServingError), error
            assert not isinstance(error, PoisonInput | ModelFailed), error

    async def caller() -> None:
        for number in numbers:
            await one(number)

    for _ in range(8):  # as the examples of a version warm it
        first = Ask(json.dumps(kind.payload("", 1, "answer")).encode(), 1, False, CallContext("id", 0), 60_000)
        await runtime.predict(first, asyncio.get_running_loop().time() + 60)
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert max(together) > 10, "nothing was ever batched"
    assert runtime.waiting == 0
    assert seen["PoisonInput"] + seen["WorkerCrashed"] >= DEATHS
    assert seen["cancelled"], seen
    assert seen["DeadlineExceeded"] + seen["Overloaded"], "some of those in a hurry came too late, or would have"
    assert seen["DeadlineExceeded"] or not PROVE, seen
    await runtime.close()
    await pool.stop()
    evidence(
        f"Calls to a worker come apart as they went together ({type(kind).__name__.lower()}), beside cancelled, late, "
        "failing, refused and deadly ones: everyone gets exactly their own rows",
        f"{CALLS:,} calls, {DEATHS} deadly",
        f"{sum(together) / len(together):.1f} calls a batch, "
        + ", ".join(f"{count:,} {what}" for what, count in seen.most_common()),
    )


class Triples:
    """Answers each number with its triple, inline; a negative one fails whatever is asked with it."""

    takes_values = comes_apart = True

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def of_values(self, values: Any) -> list[Any]:
        self.sizes.append(len(values))
        if any(number < 0 for (number,) in values):
            raise ValueError(f"{min(values)} is below zero")
        return [3 * number for (number,) in values]

    of_rows = of_columns = of_values


async def test_every_caller_of_an_inline_model_gets_exactly_its_own_rows(evidence: Callable[..., None]) -> None:
    model = Triples()
    runtime = InlineRuntime(model, None)
    chance = random.Random(7)
    numbers = iter(range(CALLS))
    seen: Counter[str] = Counter()
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        size = 1 if chance.random() < 0.7 else chance.randint(1, MOST_ROWS + 4)
        rows = tuple((number * 100 + row,) for row in range(size))
        fate = chance.choice(["answer"] * 20 + ["fail", "cancel"])
        asked = (*rows[:-1], (-1 - number,)) if fate == "fail" else rows
        payload = json.dumps(asked).encode()
        call = asyncio.ensure_future(
            runtime.predict(Ask(payload, size, True, CallContext(f"id-{number}", 0), 60_000, asked), 0.0)
        )
        if fate == "cancel":
            await asyncio.sleep(0)
            call.cancel()
        await asyncio.wait([call])
        if call.cancelled():
            seen["cancelled"] += 1
            assert fate == "cancel"
        elif error := call.exception():
            seen["failed"] += 1
            assert fate == "fail"
            assert isinstance(error, ModelFailed)
            assert f"({-1 - number},) is below zero" in error.private["traceback"]
        else:
            seen["answered"] += 1
            assert json.loads(call.result().outputs) == [3 * number for (number,) in rows]
        most = max(most, *model.sizes[-2:])

    async def caller() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert sum(seen.values()) == CALLS
    assert all(seen[fate] for fate in ("answered", "failed", "cancelled")), seen
    assert 10 < most <= MOST_ROWS + 4, "nothing was ever asked together, or too much"
    evidence(
        "Calls to an inline model come apart as they went together, beside failing and cancelled ones",
        f"{CALLS:,} calls",
        f"{sum(model.sizes) / len(model.sizes):.1f} rows asked at once, "
        + ", ".join(f"{count:,} {what}" for what, count in seen.most_common()),
    )
