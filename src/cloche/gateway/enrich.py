"""Case -> Dossier: what else is known of the call? Its id, its moment, its subject and its deadline."""

from __future__ import annotations

import msgspec

from cloche.gateway.clock import Clock
from cloche.gateway.validate import Case
from cloche.values import Ask, CallContext

_encode = msgspec.json.Encoder().encode


class Dossier(msgspec.Struct, frozen=True, eq=False):
    """All that a model is told."""

    case: Case
    identity: bytes
    """The inference's id as 16 bytes."""
    ask: Ask
    deadline_ns: int
    """When the caller stops waiting, on the clock that never jumps."""


def enrich(case: Case, clock: Clock, started_ns: int) -> Dossier:
    """Return the call with its context; `started_ns` is when it arrived, on `clock.tick_ns`."""
    name, identity = clock.new_id()
    choice = case.choice
    asked_ms, stated_ms = choice.request.deadline_ms, choice.model.deadline_ms
    deadline_ms = stated_ms if asked_ms is None else min(asked_ms, stated_ms)
    rows, accept = case.rows, choice.loaded.accept
    items = accept.items(rows)
    ask = Ask(
        given=_encode(rows) if items is None else rows,
        rows=len(rows),
        many=case.many,
        context=CallContext(name, clock.now_us(), case.subject, case.parameters),
        deadline_ms=deadline_ms,
        values=accept.numbers(rows),
        caller=choice.request.caller,
        criticality=choice.criticality,
        batching=choice.model.batching or choice.loaded.batching,
        items=items,
    )
    return Dossier(case, identity, ask, started_ns + deadline_ms * 1_000_000)
