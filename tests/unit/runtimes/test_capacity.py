"""Measuring what a version answers, with versions of which that is known."""

from __future__ import annotations

import asyncio

from cloche.errors import DeadlineExceeded, Overloaded
from cloche.runtimes.capacity import MOST_CALLERS, Round, fewest, measure
from cloche.runtimes.runtime import State
from cloche.values import NO_INFERENCE, Ask, CallContext, Prediction


def asks(deadline_ms: int) -> list[Ask]:
    return [Ask(b'[{"x": %d}]' % number, 1, False, CallContext(NO_INFERENCE, 0), deadline_ms) for number in range(3)]


ASKS = asks(deadline_ms=5000)


class Known:
    """Takes so long for a call, and has room for so many at once."""

    state: State = "ready"
    busy = False
    waiting = 0

    def __init__(self, takes_s: float, room: int) -> None:
        self._takes_s = takes_s
        self._room = asyncio.Semaphore(room)
        self.asked: set[bytes] = set()
        self.most_at_once = 0
        self._now = 0

    async def wait_ready(self) -> None: ...

    async def close(self) -> None: ...

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        self.asked.add(ask.payload)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            async with asyncio.timeout_at(deadline), self._room:
                await asyncio.sleep(self._takes_s)
        except TimeoutError:
            raise DeadlineExceeded(deadline_ms=ask.deadline_ms) from None
        finally:
            self._now -= 1
        return Prediction(b"[1]")


async def test_callers_are_doubled_until_that_is_in_vain() -> None:
    known, told = Known(takes_s=0.01, room=4), []
    one, most, noise = await measure(known, ASKS, 1.0, told.append)
    assert most is not None
    assert [each.callers for each in told[:4]] == [1, 2, 4, 8]
    assert (one.callers, most.failed) == (1, 0)
    assert 4 <= most.callers <= 16, "noise may look like a gain, once or twice"
    assert most.calls_per_s > 2 * one.calls_per_s
    assert one.p50_ms >= 9
    assert noise >= 0
    assert known.asked == {ask.payload for ask in ASKS}
    assert max(each.callers for each in told) < MOST_CALLERS, "more callers only waited for longer"


async def test_what_is_too_slow_for_its_deadline_answers_nothing() -> None:
    one, most, _ = await measure(Known(takes_s=0.06, room=1), asks(deadline_ms=20), 0.9, lambda _: None)
    assert most is None
    assert one.failed > 0
    assert (one.calls_per_s, one.p95_ms) == (0.0, 0.0)


async def test_refusals_are_counted_and_end_the_climb() -> None:
    class Full(Known):
        async def predict(self, ask: Ask, deadline: float) -> Prediction:
            if self._now:
                raise Overloaded(model="toy", version="1.0.0")
            return await super().predict(ask, deadline)

    told: list[Round] = []
    _, most, _ = await measure(Full(takes_s=0.01, room=1), ASKS, 0.9, told.append)
    assert [each.callers for each in told] == [1, 2]
    assert told[-1].failed > 0
    assert most is not None
    assert most.callers == 1


def test_callers_who_only_wait_do_not_count() -> None:
    rounds = [Round(callers, rate, 1.0, 1.0, 0) for callers, rate in ((2, 200.0), (4, 400.0), (8, 404.0), (16, 390.0))]
    assert fewest(rounds).callers == 4


async def test_what_breaks_when_it_is_tried_again_answers_nothing() -> None:
    class Breaks(Known):
        broken = False

        async def predict(self, ask: Ask, deadline: float) -> Prediction:
            self.broken = self.broken or self._now > 0
            if self.broken:
                raise Overloaded(model="toy", version="1.0.0")
            return await super().predict(ask, deadline)

    one, most, noise = await measure(Breaks(takes_s=0.01, room=1), ASKS, 0.9, lambda _: None)
    assert one.calls_per_s > 0
    assert (most, noise) == (None, 0.0)
