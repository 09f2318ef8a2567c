"""Calls that wait for a worker: what is critical first, and of each criticality a call of each caller in turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from cloche.runtimes.connection import Call
from cloche.values import CRITICALITIES, Ask, Criticality


class _Rank:
    """The calls of one criticality: those of a caller in the order in which they came, and callers in turn."""

    __slots__ = ("callers", "calls", "rows")

    def __init__(self) -> None:
        self.callers: OrderedDict[str, deque[Call]] = OrderedDict()
        self.calls = 0
        self.rows = 0

    def count(self, call: Call, sign: int) -> None:
        self.calls += sign
        self.rows += sign * call.ask.rows

    def rows_before(self, caller: str) -> float:
        """Return the rows that have their turn before the next call of a caller."""
        own = self.callers.get(caller)
        if not self.calls or (own is not None and len(self.callers) == 1):
            return self.rows
        turns = 1 + (len(own) if own else 0)
        return min(self.rows, turns * len(self.callers) * self.rows / self.calls)

    def victim(self, least: int) -> Call | None:
        """Return the newest call of the caller that has most, if it has more than `least`."""
        if not self.callers:
            return None
        longest = max(self.callers.values(), key=len)
        return longest[-1] if len(longest) > least else None


class CallQueue:
    """Calls that have not been sent, in the order in which they will be."""

    def __init__(self) -> None:
        self.calls = 0
        self.bytes = 0
        """Of the calls' rows: see `Call.size`."""
        self._ranks: dict[Criticality, _Rank] = {criticality: _Rank() for criticality in CRITICALITIES}

    @property
    def rows(self) -> int:
        """How many rows the calls have together."""
        return sum(rank.rows for rank in self._ranks.values())

    def push(self, call: Call) -> None:
        """Add a call, behind the others of its caller."""
        rank, size = self._ranks[call.ask.criticality], call.size
        calls = rank.callers.get(call.ask.caller)
        if calls is None:
            rank.callers[call.ask.caller] = deque((call,))
        else:
            calls.append(call)
        rank.count(call, 1)
        self.calls += 1
        self.bytes += size
        call.waits = True

    def first(self) -> Call | None:
        """Return the call whose turn it is."""
        if not self.calls:
            return None
        rank = next(rank for rank in self._ranks.values() if rank.calls)
        return next(iter(rank.callers.values()))[0]

    def remove(self, call: Call) -> None:
        """Take a call out; where it was its caller's turn, that of the next one has come."""
        rank = self._ranks[call.ask.criticality]
        caller = call.ask.caller
        calls = rank.callers[caller]
        had_turn = calls[0] is call
        if had_turn:
            calls.popleft()
        else:
            calls.remove(call)
        if not calls:
            del rank.callers[caller]
        elif had_turn:
            rank.callers.move_to_end(caller)
        rank.count(call, -1)
        self.calls -= 1
        self.bytes -= call.size
        call.waits = False

    def rows_before(self, ask: Ask) -> float:
        """Return how many rows go before a call that would come now; where callers have turns, about how many."""
        before = 0.0
        for criticality, rank in self._ranks.items():
            if criticality == ask.criticality:
                return before + rank.rows_before(ask.caller)
            before += rank.rows
        return before

    def victim(self, ask: Ask) -> Call | None:
        """Return the call that a new one may take the place of: a less critical one, or one of a caller that has more.

        None where there is no such call.
        """
        for criticality in reversed(CRITICALITIES):
            rank = self._ranks[criticality]
            if criticality == ask.criticality:
                return rank.victim(len(rank.callers.get(ask.caller, ())) + 1)
            if (found := rank.victim(0)) is not None:
                return found
        return None

    def __iter__(self) -> Iterator[Call]:
        for rank in self._ranks.values():
            for calls in rank.callers.values():
                yield from calls
