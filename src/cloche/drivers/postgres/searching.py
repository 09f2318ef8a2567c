"""A `Filter` as SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from cloche.drivers.postgres.rows import plain
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.ports import PAGE_BYTES, Cursor, Filter

Value: TypeAlias = str | int | UUID

_EQUAL: Final = (
    *("model", "version", "outcome", "digest", "release", "variant", "reason", "caller", "kind", "fallback"),
    "answered_by",
)
"""Fields of a filter that a column of the same name must be equal to."""


@dataclass(frozen=True)
class Query:
    """SQL, and the values of its parameters."""

    text: str
    values: tuple[Value, ...]


_Condition: TypeAlias = tuple[str, tuple[Value, ...]]


def records_query(wanted: Filter, past: Cursor | None, *, newest_first: bool) -> Query:
    """Return a query for records in order: those past a place, where there is one."""
    table, turn = _leading(wanted), " desc" if newest_first else ""
    source = _matching(wanted, past, newest_first)
    text = f"{STATEMENTS['records']} {source.text} order by {table}.time_us{turn}, {table}.id{turn}"
    return Query(text, source.values)


def page_query(wanted: Filter, past: Cursor | None, limit: int) -> Query:
    """Return a query for a page of records, newest first, with the bytes of the page before each as a last column."""
    found = records_query(wanted, past, newest_first=True)
    return Query(STATEMENTS["page"].format(found=f"{found.text} limit %s"), (*found.values, limit, PAGE_BYTES))


def count_query(wanted: Filter) -> Query:
    """Return a query for how many there are. Personal parts are looked at where a subject is asked for alone."""
    source = _matching(wanted, None, True)
    if wanted.subject is None:
        source = _under(STATEMENTS["of_envelopes"], [*_span("i", wanted, None, True), *_asked(wanted)])
    return Query(f"select count(*) {source.text}", source.values)


def get_query(inference: bytes, around_us: tuple[int, int] | None) -> Query:
    """Return a query for one record, in a span of time or in all of it."""
    source = STATEMENTS["of_all"]
    identity = UUID(bytes=inference)
    if around_us is None:
        return Query(f"{STATEMENTS['records']} {source} where i.id = %s", (identity,))
    source = f"{source} and p.time_us between %s and %s where i.time_us between %s and %s and i.id = %s"
    return Query(f"{STATEMENTS['records']} {source}", (*around_us, *around_us, identity))


def _matching(wanted: Filter, past: Cursor | None, newest_first: bool) -> Query:
    """Return where records come from and under which conditions."""
    table = _leading(wanted)
    joined = _span("p" if table == "i" else "i", wanted, past, newest_first)
    asked = [*_span(table, wanted, past, newest_first), *_asked(wanted)]
    if past is not None:
        sign = "<" if newest_first else ">"
        asked.append((f"({table}.time_us, {table}.id) {sign} (%s, %s)", (past.time_us, UUID(bytes=past.id))))
    source = " and ".join((STATEMENTS["of_all" if table == "i" else "of_subject"], *(each for each, _ in joined)))
    found = _under(source, asked)
    return Query(found.text, (*(value for _, each in joined for value in each), *found.values))


def _under(source: str, conditions: Sequence[_Condition]) -> Query:
    """Return where records come from, under conditions."""
    text = " and ".join(each for each, _ in conditions)
    return Query(f"{source} where {text}" if conditions else source, tuple(v for _, each in conditions for v in each))


def _leading(wanted: Filter) -> str:
    """Return the table whose index finds them."""
    return "i" if wanted.subject is None else "p"


def _span(table: str, wanted: Filter, past: Cursor | None, newest_first: bool) -> list[_Condition]:
    """Return conditions on the time alone: what leaves out the tables of other months, of either half of a record."""
    limits = [
        (">=", wanted.since_us),
        ("<", wanted.until_us),
        ("<=" if newest_first else ">=", past.time_us if past else None),
    ]
    return [(f"{table}.time_us {sign} %s", (limit,)) for sign, limit in limits if limit is not None]


def _asked(wanted: Filter) -> Iterator[_Condition]:
    """Yield the conditions on anything but the time."""
    compared: list[tuple[str, Value | None]] = [
        ("p.subject = %s", wanted.subject),
        *((f"i.{name} = %s", getattr(wanted, name)) for name in _EQUAL),
        ("i.shadows = %s", UUID(bytes=wanted.shadows) if wanted.shadows else None),
        ("i.hurried = %s", wanted.hurried),
        (STATEMENTS["has_experiment"], wanted.experiment),
        (f"{STATEMENTS['taken_us']} >= %s", wanted.min_us),
        (f"{STATEMENTS['taken_us']} < %s", wanted.max_us),
    ]
    yield from ((each, (_held(value),)) for each, value in compared if value is not None)
    yield from ((STATEMENTS["has_label"], (plain(name), plain(value))) for name, value in wanted.labels)
    flags = (
        (wanted.failed, "i.failed"),
        (wanted.shadowed, STATEMENTS["is_shadowed"]),
        (wanted.fell_back, "i.answered_by is not null"),
    )
    yield from ((each, ()) for is_wanted, each in flags if is_wanted)


def _held(value: Value) -> Value:
    return plain(value) if isinstance(value, str) else value
