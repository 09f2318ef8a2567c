"""The rollups beside the log, and which of them are due to be made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from cloche.drivers.sqlite.opening import has_rollups, transaction
from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.upkeep.ports import Due, Grain, Rollup, Span, due_of

_MINUTE_US: Final = 60_000_000


class _NotDueError(Exception):
    """Somebody else has counted."""


def note_minutes(connection: sqlite3.Connection, times_us: Iterable[int]) -> None:
    """Note as due the minutes that some moments are in: of what was written or erased just now."""
    minutes = {time_us - time_us % _MINUTE_US for time_us in times_us}
    connection.executemany(STATEMENTS["note_due"], [("minute", start_us) for start_us in sorted(minutes)])
    connection.execute(STATEMENTS["see"])


def roll_up(
    connection: sqlite3.Connection, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]
) -> bool:
    """Take notes away, keep the rollups and note what is due then; False where a note is not there any more."""
    rows = [(rollup.model, rollup.grain, rollup.start_us, rollup.data) for rollup in rollups]
    try:
        with transaction(connection):
            if done and connection.executemany(STATEMENTS["take_note"], [(note,) for note in done]).rowcount < len(
                done
            ):
                raise _NotDueError
            connection.executemany(STATEMENTS["keep_rollup"], rows)
            connection.executemany(STATEMENTS["note_due"], [(span.grain, span.start_us) for span in due])
    except _NotDueError:
        return False
    return True


def read_due(connection: sqlite3.Connection, limit: int) -> list[Due]:
    """Return spans that are due, by up to `limit` notes."""
    if not has_rollups(connection):
        return []
    return due_of(connection.execute(STATEMENTS["due"], (limit,)))


def read_rollups(
    connection: sqlite3.Connection, grain: Grain, between_us: tuple[int, int], model: str | None
) -> list[Rollup]:
    """Return the rollups that begin in a span of time, the oldest first."""
    if not has_rollups(connection):
        return []
    if model is None:
        rows = connection.execute(STATEMENTS["rollups"], (grain, *between_us))
    else:
        rows = connection.execute(STATEMENTS["rollups_of_model"], (model, grain, *between_us))
    return [Rollup(*row) for row in rows]
