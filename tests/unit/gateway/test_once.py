"""Calls with an idempotency key, against a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.errors import (
    AnswerPending,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    InvalidHeader,
    ModelFailed,
    UnknownModel,
)
from cloche.gateway import Gateway, Reply, once
from cloche.gateway.decide import Answer
from cloche.gateway.once import Once
from cloche.testing.idempotency import Time
from cloche.values import Record, Request

from .conftest import Journal, Scripted, loaded, version


class Counted:
    """Doubles an age, and counts how often it was asked; waits, or fails, where it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.fails = False

    def __call__(self, rows: list[dict[str, Any]]) -> list[float]:
        self.asked += 1
        if self.fails:
            raise ModelFailed(id="x")
        return [row["age"] * 2 for row in rows]


@pytest.fixture
def model() -> Counted:
    return Counted()


def gateway_of(model: Counted, store: SqliteKeys, journal: Journal) -> Gateway:
    class Waits(Scripted):
        async def predict(self, ask: Any, deadline: float) -> Any:
            await model.goes_on.wait()
            return await super().predict(ask, deadline)

    made = Gateway(journal, once=Once(store))
    made.loaded = loaded(version("1.0.0", Waits(model)), deadline_ms=2000)
    return made


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteKeys]:
    opened = SqliteKeys(tmp_path / "keys.db", Time())
    yield opened
    await opened.close()


@pytest.fixture
def keyed(model: Counted, store: SqliteKeys, journal: Journal) -> Gateway:
    return gateway_of(model, store, journal)


def request(age: float = 4, key: str | None = "key-1", **more: Any) -> Request:
    body = msgspec.json.encode({"input": {"age": age}})
    return Request("toy", body, idempotency_key=key, **more)


def kept(journal: Journal) -> list[Record]:
    return journal.records


async def test_asked_again_it_gives_the_same_answer_and_records_it_once(
    keyed: Gateway, model: Counted, journal: Journal
) -> None:
    first, second = await keyed.answer(request()), await keyed.answer(request())
    assert first.answer == second.answer
    assert (first.repeated, second.repeated) == (False, True)
    assert model.asked == 1
    assert len(kept(journal)) == 1
    assert keyed.tally.repeated == {("toy",): 1}


async def test_the_same_key_with_another_call_is_refused(keyed: Gateway, model: Counted) -> None:
    await keyed.answer(request())
    for other in (request(age=5), request(version="1.0.0"), request(subject="ann")):
        with pytest.raises(IdempotencyKeyReused):
            await keyed.answer(other)
    assert model.asked == 1
    assert keyed.tally.refused == {("toy", "idempotency_key_reused"): 3}


async def test_two_callers_may_use_the_same_key(keyed: Gateway, model: Counted) -> None:
    ann, bob = await keyed.answer(request(caller="ann")), await keyed.answer(request(caller="bob"))
    assert ann.answer.id != bob.answer.id
    assert model.asked == 2


async def test_a_call_without_a_key_asks_again(keyed: Gateway, model: Counted) -> None:
    await keyed.answer(request(key=None))
    await keyed.answer(request(key=None))
    assert model.asked == 2


async def test_in_flight_the_second_waits_for_the_first(keyed: Gateway, model: Counted) -> None:
    model.goes_on.clear()
    calls = [asyncio.create_task(keyed.answer(request())) for _ in range(10)]
    await asyncio.sleep(0)
    model.goes_on.set()
    replies: list[Reply] = await asyncio.gather(*calls)
    assert len({reply.answer.id for reply in replies}) == 1
    assert sum(reply.repeated for reply in replies) == 9
    assert model.asked == 1


async def test_in_flight_at_another_gateway_it_waits_too(
    keyed: Gateway, model: Counted, store: SqliteKeys, journal: Journal
) -> None:
    other = gateway_of(model, store, journal)
    model.goes_on.clear()
    calls = [asyncio.create_task(each.answer(request())) for each in (keyed, other)]
    await asyncio.sleep(3 * once.LOOK_AGAIN_S)
    model.goes_on.set()
    replies = await asyncio.gather(*calls)
    assert replies[0].answer == replies[1].answer
    assert model.asked == 1


async def test_who_does_not_get_an_answer_by_the_deadline_is_told_to_ask_again(
    keyed: Gateway, model: Counted, store: SqliteKeys
) -> None:
    model.goes_on.clear()
    first = asyncio.create_task(keyed.answer(request(deadline_ms=2000)))
    await asyncio.sleep(0)
    with pytest.raises(AnswerPending):
        await keyed.answer(request(deadline_ms=50))
    model.goes_on.set()
    answered = await first
    assert (await keyed.answer(request())).answer == answered.answer


async def test_a_failure_is_not_kept(keyed: Gateway, model: Counted) -> None:
    model.fails = True
    with pytest.raises(ModelFailed):
        await keyed.answer(request())
    model.fails = False
    assert not (await keyed.answer(request())).repeated


async def test_who_was_given_up_frees_the_key(keyed: Gateway, model: Counted) -> None:
    model.goes_on.clear()
    first = asyncio.create_task(keyed.answer(request()))
    second = asyncio.create_task(keyed.answer(request()))
    await asyncio.sleep(5 * once.LOOK_AGAIN_S)
    first.cancel()
    model.goes_on.set()
    assert not (await second).repeated
    assert model.asked == 1


async def test_who_leaves_while_the_key_is_taken_frees_it(
    keyed: Gateway, model: Counted, store: SqliteKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, claim = asyncio.Event(), store.claim

    async def slow(*said: Any) -> Any:
        held = await claim(*said)
        taken.set()
        await asyncio.sleep(0)
        return held

    monkeypatch.setattr(store, "claim", slow)
    leaving = asyncio.create_task(keyed.answer(request()))
    await taken.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not (await keyed.answer(request(deadline_ms=1000))).repeated
    assert model.asked == 1


async def test_a_call_that_outlived_its_lease_takes_nothing_from_the_next(tmp_path: Path) -> None:
    time = Time()
    store = SqliteKeys(tmp_path / "keys.db", time)
    keys, ends = Once(store), [asyncio.Event(), asyncio.Event()]

    def asking(number: int) -> asyncio.Task[Answer | None]:
        async def ask() -> Answer:
            await ends[number].wait()
            return Answer(str(UUID(int=number)), "toy", "1.0.0", 1, None)

        return asyncio.create_task(keys.answer(request(), [0.05, 5.0][number], ask))

    first = asking(0)
    while not keys._running:
        await asyncio.sleep(0)
    (over,) = keys._running.values()
    time.pass_s(0.05 + once.GRACE_S + 1)
    second = asking(1)
    while over in keys._running.values():
        await asyncio.sleep(0.01)
    ends[0].set()
    await over.wait()
    ends[1].set()
    assert await first is None
    told = await second
    assert told is not None
    assert told.id == str(UUID(int=0)), "both are told what the first has made"
    await store.close()


async def test_an_unknown_model_takes_no_key(keyed: Gateway, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        await keyed.answer(Request("nobody", b"{}", idempotency_key="k"))
    assert not (tmp_path / "keys.db").exists()


async def test_without_a_place_for_answers_a_key_is_refused(gateway: Gateway) -> None:
    with pytest.raises(InvalidHeader, match="Idempotency-Key"):
        await gateway.answer(request())


async def test_a_broken_store_fails_calls_with_keys_alone(model: Counted, tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "keys.db").write_bytes(b"no database" * 1000)
    keyed = gateway_of(model, SqliteKeys(tmp_path / "keys.db"), journal)
    with pytest.raises(IdempotencyUnavailable):
        await keyed.answer(request())
    assert model.asked == 0, "an answer that can't be kept is not made"
    assert not (await keyed.answer(request(key=None))).repeated
