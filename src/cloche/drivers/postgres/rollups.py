"""The rollups beside the log, and which of them are due to be made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cloche.drivers.postgres.address import Connection
from cloche.drivers.postgres.rows import plain
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.upkeep.ports import Due, Grain, Rollup, Span, due_of

_MINUTE_US: Final = 60_000_000


class _NotDueError(Exception):
    """Somebody else has counted."""


async def note_minutes(connection: Connection, times_us: Iterable[int]) -> None:
    """Note as due the minutes that some moments are in."""
    minutes = {time_us - time_us % _MINUTE_US for time_us in times_us}
    await _note(connection, [Span("minute", start_us) for start_us in sorted(minutes)])


async def roll_up(connection: Connection, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> bool:
    """Take notes away, keep the rollups and note what is due then; False where a note is not there any more."""
    rows = [(plain(rollup.model), rollup.grain, rollup.start_us, rollup.data) for rollup in rollups]
    try:
        async with connection.transaction():
            taken = (await connection.execute(STATEMENTS["take_notes"], (list(done),))).rowcount
            if taken < len(done):
                raise _NotDueError
            async with connection.cursor() as cursor:
                await cursor.executemany(STATEMENTS["keep_rollup"], rows)
            await _note(connection, due)
    except _NotDueError:
        return False
    return True


async def read_due(connection: Connection, limit: int) -> list[Due]:
    """Return spans that are due, by up to `limit` notes."""
    if not await _has_rollups(connection):
        return []
    return due_of(await (await connection.execute(STATEMENTS["due"], (limit,))).fetchall())


async def read_rollups(
    connection: Connection, grain: Grain, between_us: tuple[int, int], model: str | None
) -> list[Rollup]:
    """Return the rollups that begin in a span of time, the oldest first."""
    if not await _has_rollups(connection):
        return []
    if model is None:
        cursor = await connection.execute(STATEMENTS["rollups"], (grain, *between_us), binary=True)
    else:
        values = (plain(model), grain, *between_us)
        cursor = await connection.execute(STATEMENTS["rollups_of_model"], values, binary=True)
    return [Rollup(*row) for row in await cursor.fetchall()]


async def _has_rollups(connection: Connection) -> bool:
    row = await (await connection.execute(STATEMENTS["has_rollups"])).fetchone()
    return bool(row and row[0])


async def _note(connection: Connection, spans: Sequence[Span]) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(STATEMENTS["note_due"], [(span.grain, span.start_us) for span in spans])
