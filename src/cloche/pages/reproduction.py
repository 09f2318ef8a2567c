"""A reproduced inference, as a page."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cloche.hindsight.reproduce import Reproduction
from cloche.pages import Facts, Part, Table

_MOST_PLACES = 20


def reproduction_page(found: Reproduction) -> Iterator[Part]:
    """Yield what came of asking again."""
    by = f"{found.model} {found.version}"
    instead = f", {found.answered_by} in its place" if found.answered_by else ""
    pairs: list[tuple[str, object]] = [("verdict", found.verdict), ("inference", found.id)]
    pairs += [("answered", f"{found.time} by {by}{instead}"), ("digest", found.digest)]
    pairs += [("reason", found.reason)] if found.reason else []
    yield Facts([*pairs, *(("note", note) for note in found.notes)])
    if found.places:
        yield ""
        some = found.places[:_MOST_PLACES]
        yield Table(("at", "recorded", "now"), [(each.pointer, _text(each.before), _text(each.after)) for each in some])
    if len(found.places) > _MOST_PLACES:
        yield f"And {len(found.places) - _MOST_PLACES} more places; --json has all."


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
