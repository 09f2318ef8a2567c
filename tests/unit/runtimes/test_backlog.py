"""What waits for a worker: who comes in, who goes next, and with whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import DeadlineExceeded, Overloaded, PoisonInput, WorkerCrashed, WorkerUnavailable
from cloche.runtimes import backlog as backlog_file
from cloche.runtimes.backlog import Backlog
from cloche.runtimes.connection import Call
from cloche.runtimes.pace import FIRST
from cloche.runtimes.queue import CallQueue
from cloche.runtimes.suspects import REFUSED_S
from cloche.values import CRITICALITIES, Ask, Batching, CallContext

NOW = 1000.0


class Loop:
    """A clock that stands still, and futures that nobody waits for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def time(self) -> float:
        return NOW

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def close(self) -> None:
        self._loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterable[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def call(loop: Loop, name: str = "", rows: int = 1, within_s: float = 10.0, **said: Any) -> Call:
    """Return a call of the caller that its name begins with."""
    context = CallContext(f"id-{name}", 0)
    ask = Ask(name.encode(), rows, False, context, round(within_s * 1000), caller=name[:1], **said)
    return Call(0, ask, NOW + within_s, loop)  # type: ignore[arg-type]


def backlog(row_s: float = 0.0001) -> Backlog:
    """Return the backlog of a model that gains nothing from company, and has shown it."""
    found = Backlog(("toy", "1.0.0"))
    for rows in (1, *[3] * FIRST):
        found.pace.note(rows, rows * row_s)
    return found


def admit(waiting: Backlog, *calls: Call, workers: int = 1) -> None:
    for each in calls:
        waiting.admit(each, NOW, NOW, workers)


def names(batch: Iterable[Call]) -> list[str]:
    return [each.ask.payload.decode() for each in batch]


def error_of(ended: Call) -> type[BaseException] | None:
    found = ended.answer.exception() if ended.answer.done() else None
    return type(found) if found else None


def test_callers_have_their_turns_one_after_the_other(loop: Loop) -> None:
    waiting = backlog()
    admit(waiting, *(call(loop, f"a{number}") for number in range(4)), call(loop, "b0"), call(loop, "c0"))
    admit(waiting, call(loop, "b1"))
    assert names(waiting.next_batch(NOW)) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]
    assert not len(waiting)


def test_what_is_critical_goes_first_and_what_is_sheddable_last(loop: Loop) -> None:
    waiting = backlog()
    admit(waiting, call(loop, "a", criticality="sheddable"), call(loop, "b"), call(loop, "c", criticality="critical"))
    assert names(waiting.next_batch(NOW)) == ["c", "b", "a"]


def test_a_caller_that_floods_the_queue_keeps_nobody_out(loop: Loop) -> None:
    waiting = backlog(row_s=0.01)
    with pytest.raises(Overloaded):
        admit(waiting, *(call(loop, f"a{number}", within_s=1.0) for number in range(1000)))
    assert 75 <= len(waiting) <= 85  # four fifths of the time, a hundredth of a second each
    admit(waiting, call(loop, "b", within_s=1.0))
    admit(waiting, call(loop, "c", within_s=0.1))
    assert names(waiting.next_batch(NOW)) == ["a0"]
    assert names(waiting.next_batch(NOW)) == ["b"]


def test_what_waits_is_judged_by_the_time_it_takes_and_by_who_can_do_it(loop: Loop) -> None:
    waiting = backlog(row_s=0.1)
    admit(waiting, *(call(loop, "a", within_s=1.0) for _ in range(9)))
    with pytest.raises(Overloaded) as refused:
        admit(waiting, call(loop, "a", within_s=1.0))
    assert refused.value.retry_after_s in (1, 2, 3)
    admit(waiting, call(loop, "a", within_s=1.0), workers=2)
    with pytest.raises(Overloaded):
        admit(waiting, call(loop, "b", within_s=1.0, criticality="sheddable"))
    admit(waiting, call(loop, "b", within_s=0.01, criticality="critical"))


def test_whoever_is_refused_is_told_to_come_again_at_another_time(loop: Loop) -> None:
    waiting = backlog(row_s=1.0)
    admit(waiting, call(loop, "a"), call(loop, "a", rows=5))
    told = set()
    for number in range(20):
        with pytest.raises(Overloaded) as refused:
            admit(waiting, call(loop, f"a{number}", within_s=1.0))
        told.add(refused.value.retry_after_s)
    assert told == {7, 8, 9}


def test_a_batch_holds_what_is_quick_together_or_as_many_rows_as_the_version_says(loop: Loop) -> None:
    waiting = backlog(row_s=0.002)
    admit(waiting, *(call(loop, "a", rows=2) for _ in range(10)))
    assert len(waiting.next_batch(NOW)) == 2
    waiting = backlog(row_s=0.002)
    admit(waiting, *(call(loop, "a", rows=2, batching=Batching(max_batch=15)) for _ in range(10)))
    assert len(waiting.next_batch(NOW)) == 7
    waiting.prints = True
    assert len(waiting.next_batch(NOW)) == 1


def test_a_slow_model_that_gains_from_company_gets_it(loop: Loop) -> None:
    waiting = Backlog(("toy", "1.0.0"))
    sizes = []
    for _ in range(20):
        admit(waiting, *(call(loop, "a") for _ in range(64 - len(waiting))))
        batch = waiting.next_batch(NOW)
        waiting.answered(batch, 0.02 + 0.0001 * len(batch), NOW)
        sizes.append(len(batch))
    assert sizes[:6] == [1, 3, 7, 15, 31, 63]
    assert set(sizes[6:]) == {63, 64}


def test_no_batch_takes_longer_than_a_call_in_it_can_wait(loop: Loop) -> None:
    waiting = backlog(row_s=0.01)
    together = Batching(max_batch=1000)
    admit(waiting, call(loop, "a", within_s=0.1, batching=together))
    admit(waiting, *(call(loop, "b", batching=together) for _ in range(99)))
    assert 9 <= len(waiting.next_batch(NOW)) <= 10
    assert len(waiting.next_batch(NOW)) > 80


def test_calls_wait_for_company_only_as_long_as_the_version_says(loop: Loop) -> None:
    waiting = backlog()
    patient = Batching(max_wait_ms=20, max_batch=3)
    admit(waiting, call(loop, "a", batching=patient))
    assert waiting.next_batch(NOW) == []
    assert waiting.due == NOW + 0.02
    admit(waiting, call(loop, "b", batching=patient))
    assert waiting.next_batch(NOW + 0.019) == []
    assert names(waiting.next_batch(NOW + 0.02)) == ["a", "b"]
    admit(waiting, *(call(loop, name, batching=patient) for name in "abc"))
    assert names(waiting.next_batch(NOW)) == ["a", "b", "c"]
    admit(waiting, call(loop, "a", batching=patient))
    waiting.wait_no_longer()
    assert names(waiting.next_batch(NOW)) == ["a"]
    admit(waiting, call(loop, "b", batching=patient))
    assert waiting.next_batch(NOW) == []


def test_what_is_cancelled_expired_or_too_late_leaves_before_it_is_sent(loop: Loop) -> None:
    waiting = backlog(row_s=0.001)
    gone, late, slow = call(loop, "a"), call(loop, "a", within_s=0.5), call(loop, "a", rows=20, within_s=0.7)
    admit(waiting, gone, late, slow, call(loop, "a1"))
    gone.answer.cancel()
    assert names(waiting.next_batch(NOW + 0.69)) == ["a1"]
    assert (error_of(late), error_of(slow)) == (DeadlineExceeded, Overloaded)


def test_the_last_one_is_asked_however_slow_the_version_has_been(loop: Loop) -> None:
    """One answer that took long must not be the last that is measured."""
    waiting = backlog(row_s=60.0)
    admit(waiting, call(loop, "a", within_s=1.0))
    assert names(waiting.next_batch(NOW)) == ["a"]


def test_where_no_more_fit_the_least_important_make_room(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_file, "MOST_BYTES", 6)
    waiting = backlog()
    shed, many, last = call(loop, "s0", criticality="sheddable"), call(loop, "a0"), call(loop, "a1")
    admit(waiting, shed, many, last)
    admit(waiting, call(loop, "b0"))
    assert error_of(shed) is Overloaded
    admit(waiting, call(loop, "c0"))
    assert (error_of(last), error_of(many)) == (Overloaded, None)
    with pytest.raises(Overloaded):
        admit(waiting, call(loop, "a2"))
    with pytest.raises(Overloaded):
        admit(waiting, call(loop, "e-large", criticality="critical"))  # nor if the least important were gone
    with pytest.raises(Overloaded):
        admit(waiting, call(loop, "d0", criticality="sheddable"))
    admit(waiting, call(loop, "d0", criticality="critical"))
    assert sorted(names(waiting)) == ["b0", "c0", "d0"]


def test_calls_of_a_batch_that_died_are_asked_again_alone_one_after_another(loop: Loop) -> None:
    waiting = backlog()
    batch = [call(loop, name) for name in ("guilty", "a", "b")]
    waiting.died(batch, NOW)
    admit(waiting, call(loop, "later"))
    first = waiting.next_batch(NOW)
    assert names(first) == ["guilty"]
    assert names(waiting.next_batch(NOW)) == ["later"], "one suspect at a time, and others meanwhile"
    waiting.died(first, NOW)
    assert error_of(batch[0]) is PoisonInput
    second = waiting.next_batch(NOW)
    assert names(second) == ["a"]
    waiting.answered(second, 0.0001, NOW)
    third = waiting.next_batch(NOW)
    assert names(third) == ["b"]
    waiting.answered(third, 0.0001, NOW)
    for _ in range(2):
        with pytest.raises(PoisonInput):
            admit(waiting, call(loop, "guilty"))
    waiting.admit(call(loop, "guilty"), NOW + REFUSED_S + 1, NOW, 1)
    admit(waiting, call(loop, "a"), call(loop, "b"))
    assert names(waiting.next_batch(NOW)) == ["guilty", "a", "b"]


def test_a_call_that_was_alone_is_blamed_and_an_answer_clears_it(loop: Loop) -> None:
    waiting = backlog()
    blamed = call(loop, "a")
    waiting.died([blamed], NOW)
    assert error_of(blamed) is WorkerCrashed
    admit(waiting, call(loop, "b"), call(loop, "a"), call(loop, "c"))
    alone = waiting.next_batch(NOW)
    assert names(alone) == ["a"]
    waiting.answered(alone, 0.0001, NOW)
    assert names(waiting.next_batch(NOW)) == ["b", "c"]
    assert waiting.may_pass(call(loop, "a").ask)


def test_who_gave_up_is_not_asked_again_and_the_input_is_suspected_all_the_same(loop: Loop) -> None:
    waiting = backlog()
    gone = call(loop, "a")
    gone.answer.cancel()
    waiting.died([gone, call(loop, "b")], NOW)
    assert len(waiting) == 1
    first = waiting.next_batch(NOW)
    assert names(first) == ["b"]
    waiting.answered(first, 0.0001, NOW)
    admit(waiting, call(loop, "c"), call(loop, "a"))
    assert names(waiting.next_batch(NOW)) == ["a"]


def test_what_can_not_be_in_time_ends_at_once(loop: Loop) -> None:
    waiting = backlog(row_s=0.1)
    suspects = [call(loop, "a", within_s=0.35) for _ in range(3)]
    waiting.died(suspects, NOW)
    late, early = call(loop, "b", within_s=0.05), call(loop, "c")
    admit(waiting, early)
    waiting._queue.push(late)
    waiting.end_hopeless(NOW + 0.1)
    assert [error_of(each) for each in (*suspects, late, early)] == [None, None, WorkerCrashed, WorkerUnavailable, None]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(CRITICALITIES), st.integers(0, 3)), max_size=60))
def test_the_queue_loses_nothing_counts_right_and_keeps_each_callers_order(
    loop: Loop, steps: list[tuple[str, Any, int]]
) -> None:
    queue = CallQueue()
    inside: list[Call] = []
    taken: dict[tuple[str, str], int] = {}
    for number, (caller, criticality, what) in enumerate(steps):
        if what < 2 or not inside:
            inside.append(call(loop, f"{caller}{number:03}", rows=number % 4 + 1, criticality=criticality))
            queue.push(inside[-1])
        elif what == 2:
            queue.remove(inside.pop(number % len(inside)))
        else:
            first = queue.first()
            assert first is not None
            before = [each for each in inside if CRITICALITIES.index(each.ask.criticality) == 0]
            assert first.ask.criticality == "critical" or not before
            key = (first.ask.caller, first.ask.criticality)
            own = int(first.ask.payload[1:])
            assert taken.get(key, -1) < own
            taken[key] = own
            queue.remove(first)
            inside.remove(first)
        assert (queue.calls, queue.rows) == (len(inside), sum(each.ask.rows for each in inside))
        assert queue.bytes == 4 * len(inside)
        assert sorted(map(id, queue)) == sorted(map(id, inside))
