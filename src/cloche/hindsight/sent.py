"""What callers have sent to a model, as far as the log still has it: the newest first."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cloche.authoring.optimizing.asking import Row
from cloche.authoring.optimizing.finding import Sent
from cloche.hindsight.recorded import Hindrance, read
from cloche.log.search import cursor_of
from cloche.ports import Cursor, Filter, LogReader
from cloche.registry.bundle import Each
from cloche.runtimes.worker import ranking

_PAGE: Final = 500
_MOST_CALLS: Final = 20_000
"""Read for the sake of their sizes, where each of them has many rows."""


async def sent_to(reader: LogReader, model: str, each: Each | None, most: int) -> Sent:
    """Return up to `most` of the rows, or calls of a ranking, that a model was asked live, by whichever version.

    Args:
        reader: the log.
        model: its name.
        each: of a ranking.
        most: how many.

    Raises:
        LogError: the log can't be read.
    """
    rows: list[Row] = []
    sizes: list[int] = []
    place: Cursor | None = None
    while len(rows) < most and len(sizes) < _MOST_CALLS:
        records = await reader.find(Filter(model=model, kind="live"), _PAGE, place)
        for record in records:
            try:
                asked: list[Any] = msgspec.json.decode(read(record).payload)
            except Hindrance:
                continue
            rows += asked
            sizes.append(_size(asked, each))
        if not records:
            break
        place = cursor_of(records[-1])
    return Sent(rows[:most], sizes)


def _size(asked: list[Any], each: Each | None) -> int:
    if each is None:
        return len(asked)
    items = asked[0].get(ranking.list_name(each.path)) if asked else None
    return len(items) if isinstance(items, list) else 1
