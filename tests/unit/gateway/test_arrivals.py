"""What waits for the event loop for too long is turned away before it is read."""

from __future__ import annotations

from typing import Any

import pytest

from cloche.errors import Overloaded
from cloche.gateway import Gateway
from cloche.gateway.arrivals import Arrivals
from cloche.gateway.loaded import StandIn
from cloche.values import Request

from .conftest import Journal, Scripted, loaded, version

BODY = b'{"input": {"age": 3}}'


class Clocks:
    """The time, and how much of it this thread has worked."""

    def __init__(self) -> None:
        self.now_s = self.worked_s = 100.0

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.worked_s += seconds

    def arrivals(self) -> Arrivals:
        return Arrivals(lambda: self.now_s, lambda: self.worked_s)


def test_a_call_has_waited_since_the_first_of_those_that_wait_came() -> None:
    clocks = Clocks()
    arrivals = clocks.arrivals()
    for _ in range(6):
        arrivals.come()
    waited = []
    for _ in range(6):
        waited.append(round(arrivals.begin(), 3))
        clocks.work(0.1)
    assert waited == [0.0, 0.1, 0.2, 0.0, 0.0, 0.0], "the last few are taken anyhow"
    for _ in range(6):
        arrivals.come()
    assert arrivals.begin() == 0.0


def test_a_pause_of_the_machine_is_nobodys_wait() -> None:
    clocks = Clocks()
    arrivals = clocks.arrivals()
    for _ in range(9):
        arrivals.come()
    clocks.now_s += 3.0
    clocks.worked_s += 0.02
    assert arrivals.begin() == pytest.approx(0.02)
    clocks.work(1.0)
    assert arrivals.begin() == pytest.approx(4.0), "beside others, which take a part of the processor"


@pytest.mark.parametrize(
    ("waited_s", "said", "fallback", "comes_in"),
    [
        (0.19, {}, False, True),
        (0.21, {}, False, False),
        (0.21, {}, True, True),
        (0.21, {"criticality": "critical"}, False, False),
        (0.11, {"criticality": "sheddable"}, False, False),
        (0.09, {"criticality": "sheddable"}, False, True),
        (0.06, {"deadline_ms": 200}, False, False),
        (0.06, {"deadline_ms": 3000}, False, True),
    ],
)
async def test_how_long_is_too_long_is_a_part_of_the_deadline(
    waited_s: float, said: dict[str, Any], fallback: bool, comes_in: bool
) -> None:
    journal = Journal()
    gateway = Gateway(journal)
    chain = (StandIn("constant", constant=7),) if fallback else ()
    gateway.loaded = loaded(
        version("1.0.0", Scripted(lambda rows: [1 for _ in rows])), fallback=chain, deadline_ms=9000
    )
    request = Request("toy", BODY, waited_s=waited_s, **said)
    if comes_in:
        await gateway.answer(request)
        assert len(journal.records) == 1
        return
    with pytest.raises(Overloaded) as refused:
        await gateway.answer(request)
    assert refused.value.retry_after_s in (1, 2, 3)
    assert journal.records == []
    assert gateway.tally.calls["toy", "1.0.0", "overloaded"] == 1
