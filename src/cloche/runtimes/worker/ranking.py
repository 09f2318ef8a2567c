"""Rankings: a call of a context and a list becomes one row per item, and its scores become the list in order.

Pure functions of the standard library: workers use them, and so does the runtime inside the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def list_name(path: str) -> str:
    """Return the field that a JSON pointer one level deep (`/items`) names."""
    return path.removeprefix("/").replace("~1", "/").replace("~0", "~")


def flatten(call: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """Return one row per item of the list at `path`: the call's other fields and the item's, which win."""
    name = list_name(path)
    context = {field: value for field, value in call.items() if field != name}
    return [{**context, **item} for item in call[name]]


def ranked(ids: Sequence[Any], scores: Sequence[float | None], item_id: str, order: str) -> list[dict[str, Any]]:
    """Return what a ranking answers: `{item_id: id, "score": score}` in order; equal ones in that of the input.

    Args:
        ids: one per item, in the order of the input.
        scores: one per item; an item whose score is None was refused, and is left out.
        item_id: the field that names an item.
        order: `desc` or `asc`.
    """
    places = [place for place, score in enumerate(scores) if score is not None]
    places.sort(key=scores.__getitem__, reverse=order != "asc")  # type: ignore[arg-type]  # none of them is None
    return [{item_id: ids[place], "score": scores[place]} for place in places]
