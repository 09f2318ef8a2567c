"""Calls of one turn of the loop go to an inline model together."""

from __future__ import annotations

import asyncio
from typing import Any

from cloche.runtimes.inline.together import Rows, Together


async def test_who_is_gone_leaves_the_batch() -> None:
    asked: list[list[Any]] = []

    def doubled(rows: Rows) -> list[Any]:
        asked.append([row[0] for row in rows])
        return [2 * (row[0] or 0) for row in rows]

    together = Together(doubled)
    calls = [asyncio.create_task(together.items([[float(number)]])) for number in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [[2.0], [4.0]]
    assert asked == [[1.0, 2.0]]


async def test_no_more_rows_go_together_than_the_loop_has_time_for() -> None:
    asked: list[int] = []

    def counted(rows: Rows) -> list[Any]:
        asked.append(len(rows))
        return [row[0] for row in rows]

    together = Together(counted)
    calls = [[[float(call * 10 + row)] for row in range(10)] for call in range(7)]
    answers = await asyncio.gather(*map(together.items, calls))
    assert asked == [30, 30], "the last has no company, and is asked alone"
    assert answers == [*([number for (number,) in call] for call in calls[:6]), None]
