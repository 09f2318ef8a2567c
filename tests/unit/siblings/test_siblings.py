from __future__ import annotations

from pathlib import Path

from cloche.siblings import FRESH_S, Shared, Siblings

HERE = Path()


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def gateways(count: int, clock: Clock | None = None) -> list[Siblings]:
    shared = Shared.make(count)
    return [Siblings(shared, number, HERE, clock or Clock()) for number in range(1, count + 1)]


def test_a_connection_goes_to_the_ready_one_that_has_fewest() -> None:
    first, second, third = gateways(3)
    first.tell(ready=True, connections=2)
    second.tell(ready=True, connections=1)
    third.tell(ready=False, connections=0)
    assert [each.comes_here(held) for each, held in ((first, 2), (second, 1), (third, 0))] == [False, True, False]
    assert second.comes_here(2), "of those that have as many, any takes it"
    assert [each.may_take for each in (first, second, third)] == [True, True, False]


def test_where_none_is_ready_all_take_connections_and_share_them() -> None:
    first, second = gateways(2)
    first.tell(ready=False, connections=3)
    second.tell(ready=False, connections=1)
    assert (first.may_take, second.may_take) == (True, True)
    assert (first.comes_here(3), second.comes_here(1)) == (False, True)


def test_who_has_said_nothing_for_long_is_not_there() -> None:
    clock = Clock()
    first, second = gateways(2, clock)
    second.tell(ready=True, connections=0)
    assert [(each.number, each.there, each.ready) for each in first.others] == [(2, True, True)]
    clock.now_s += FRESH_S
    first.tell(ready=False, connections=9)
    assert [(each.number, each.there, each.ready) for each in first.others] == [(2, False, False)]
    assert first.may_take
    assert first.comes_here(9)


def test_who_died_is_not_there_at_once() -> None:
    shared = Shared.make(2)
    first, second = (Siblings(shared, number, HERE) for number in (1, 2))
    second.tell(ready=True, connections=0)
    assert first.others_ready
    shared.clear(2)
    assert not first.others_ready
    assert not first.others[0].there


def test_one_alone_takes_all() -> None:
    alone = Siblings.alone(HERE)
    assert alone.comes_here(1000)
    assert (alone.others, alone.others_ready) == ([], False)
