"""A `Filter` as SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.ports import Cursor, Filter

Value: TypeAlias = str | int | bytes

_EQUAL: Final = (
    *("version", "outcome", "digest", "release", "variant", "reason", "caller", "kind", "fallback"),
    "answered_by",
)
"""Fields of a filter that a column of the same name must be equal to."""


class Query(NamedTuple):
    """SQL, and the values of its parameters."""

    text: str
    values: tuple[Value, ...]


def records_query(wanted: Filter, past: Cursor | None, *, newest_first: bool) -> Query:
    """Return a query for records in order: those past a place, where there is one."""
    table, turn = _leading(wanted), " desc" if newest_first else ""
    asked = list(_asked(wanted, table))
    if past is not None:
        sign = "<" if newest_first else ">"
        asked.append(Query(f"({table}.time_us, {table}.id) {sign} (?, ?)", (past.time_us, past.id)))
    source = _under("of_all" if wanted.subject is None else "of_subject", asked)
    order = f"order by {table}.time_us{turn}, {table}.id{turn}"
    return Query(f"{STATEMENTS['records']} {source.text} {order}", source.values)


def count_query(wanted: Filter) -> Query:
    """Return a query for how many there are."""
    source = _under("of_envelopes" if wanted.subject is None else "of_subject", list(_asked(wanted, _leading(wanted))))
    return Query(f"select count(*) {source.text}", source.values)


def _under(source: str, conditions: Sequence[Query]) -> Query:
    """Return where records come from, under conditions."""
    text = " and ".join(condition.text for condition in conditions)
    values = tuple(value for condition in conditions for value in condition.values)
    return Query(f"{STATEMENTS[source]} where {text}" if conditions else STATEMENTS[source], values)


def _leading(wanted: Filter) -> str:
    """Return the table whose index finds them."""
    return "i" if wanted.subject is None else "p"


def _asked(wanted: Filter, table: str) -> Iterator[Query]:
    """Yield the conditions."""
    compared: list[tuple[str, Value | None]] = [
        ("p.subject = ?", wanted.subject),
        (STATEMENTS["of_failing_model"] if wanted.failed else "i.model = ?", wanted.model),
        (f"{table}.time_us >= ?", wanted.since_us),
        (f"{table}.time_us < ?", wanted.until_us),
        *((f"i.{name} = ?", getattr(wanted, name)) for name in _EQUAL),
        ("i.shadows = ?", wanted.shadows),
        ("coalesce(i.hurried, 0) = ?", wanted.hurried),
        (STATEMENTS["has_experiment"], wanted.experiment),
        (f"{STATEMENTS['taken_us']} >= ?", wanted.min_us),
        (f"{STATEMENTS['taken_us']} < ?", wanted.max_us),
    ]
    yield from (Query(condition, (value,)) for condition, value in compared if value is not None)
    yield from (Query(STATEMENTS["has_label"], label) for label in wanted.labels)
    flags = (
        (wanted.failed, "i.failed"),
        (wanted.shadowed, STATEMENTS["is_shadowed"]),
        (wanted.fell_back, STATEMENTS["fell_back"]),
    )
    yield from (Query(condition, ()) for is_wanted, condition in flags if is_wanted)
