"""Values of a categorical column that training did not have: passed on, made missing, or refused row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloche.model import CallInfo, Refusal
from cloche.runtimes.worker.categories import canonical
from cloche.runtimes.worker.manifest import Column, Manifest
from cloche.runtimes.worker.outputs import items_of

CODE = "unseen_category"

Rows = Sequence[Mapping[str, Any]]
Predict = Callable[[Rows, Sequence[CallInfo]], Any]


def without_unseen(predict: Predict, manifest: Manifest) -> Predict:
    """Return a function that answers as `predict`, and does with unseen categories what the manifest says.

    `pass` leaves it to `predict`: to a column of pandas' dtype `category`, which can't hold others, they are missing.
    `null` makes them null, and `refuse` refuses their rows and asks for the others.
    """
    known = {column.name: _is_known(column) for column in manifest.columns or () if column.categories is not None}
    if manifest.on_unseen == "pass" or not known:
        return predict
    if manifest.on_unseen == "null":
        return lambda rows, infos: predict([_nulled(row, known) for row in rows], infos)

    def ask(rows: Rows, infos: Sequence[CallInfo]) -> Any:
        unseen = [next(_unseen(row, known), None) for row in rows]
        kept = [place for place, name in enumerate(unseen) if name is None]
        if len(kept) == len(rows):
            return predict(rows, infos)
        raw = predict([rows[place] for place in kept], [infos[place] for place in kept]) if kept else []
        items = iter(items_of(raw, len(kept), scalars=manifest.answers == "number"))
        return [
            next(items) if name is None else _refusal(name, row[name]) for name, row in zip(unseen, rows, strict=True)
        ]

    return ask


def _is_known(column: Column) -> Callable[[Any], bool]:
    key = canonical(column)
    known = {key(value) for value in column.categories or ()}
    return lambda value: value is None or key(value) in known


def _unseen(row: Mapping[str, Any], known: Mapping[str, Callable[[Any], bool]]) -> Any:
    return (name for name, is_known in known.items() if not is_known(row.get(name)))


def _nulled(row: Mapping[str, Any], known: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    return {**row, **dict.fromkeys(_unseen(row, known))}


def _refusal(name: str, value: Any) -> Refusal:
    path = f"/{name.replace('~', '~0').replace('/', '~1')}"
    return Refusal(CODE, f"{str(value)[:80]!r} is none of the values that {name} had in training", path)
