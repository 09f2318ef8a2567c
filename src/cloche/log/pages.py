"""Pages of records: as many at once as memory should hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloche.ports import PAGE_BYTES
from cloche.values import Record


def page_of(records: Iterable[Record]) -> list[Record]:
    """Return the first records, up to the one that takes their personal parts beyond `PAGE_BYTES`."""
    page, size = [], 0
    for record in records:
        page.append(record)
        size += len(record.personal)
        if size > PAGE_BYTES:
            break
    return page


def is_cut(page: Sequence[Record]) -> bool:
    """Return whether it was their size that ended a page, so that others may follow."""
    return sum(len(record.personal) for record in page) > PAGE_BYTES
