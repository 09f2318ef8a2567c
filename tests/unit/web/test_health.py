"""Whether a server of several gateways is ready."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cloche.siblings import Shared, Siblings
from cloche.web.health import Health

WAITS = "the inference log: the disk is full"


class Gateway:
    """One whose disk may be full."""

    def __init__(self, shared: Shared, number: int) -> None:
        progress: Any = SimpleNamespace(
            started=True, nothing_live=False, trouble=None, from_copy=False, waiting=[], asleep=0, not_ready=list
        )
        self.log = SimpleNamespace(healthy=True, reason="the disk is full", mode="disk", dropped=0)
        journal: Any = SimpleNamespace(state=self.log)
        line: Any = SimpleNamespace(orphaned=False)
        self.siblings = Siblings(shared, number, Path())
        self.health = Health(progress, journal, line, self.siblings)

    def tell(self, *, healthy: bool = True) -> None:
        self.log.healthy = healthy
        self.siblings.tell(ready=self.health.own.ready, connections=0)


def gateways() -> tuple[Gateway, Gateway]:
    shared = Shared.make(2)
    return Gateway(shared, 1), Gateway(shared, 2)


def test_a_server_is_ready_where_one_gateway_is() -> None:
    first, second = gateways()
    first.tell(healthy=False)
    second.tell()
    told = first.health.state()
    assert (told.ready, told.waiting_for) == (True, [])
    assert told.notices == [f"this gateway waits for {WAITS}"]
    told = second.health.state()
    assert (told.ready, told.notices) == (True, ["gateway 1 of 2 is not ready"])
    assert not first.health.own.ready


def test_where_none_is_ready_each_says_what_it_waits_for() -> None:
    first, second = gateways()
    first.tell(healthy=False)
    second.tell(healthy=False)
    told = first.health.state()
    assert (told.ready, told.waiting_for, told.notices) == (False, [WAITS], ["gateway 2 of 2 is not ready"])


def test_one_that_is_not_there_yet_is_said() -> None:
    first, _ = gateways()
    first.tell()
    assert first.health.state().notices == ["gateway 2 of 2 starts"]


def test_a_gateway_that_stops_is_not_ready_whoever_else_is() -> None:
    first, second = gateways()
    second.tell()
    first.health.stopping = True
    first.tell()
    assert not first.health.state().ready
