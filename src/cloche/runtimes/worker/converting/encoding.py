"""Encoders of scikit-learn as tables: the place of a category is looked up, and the row there is its encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.features import Feature, Features, Numbers, codes, select
from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible


@dataclass(frozen=True)
class Table:
    """The encodings of one column."""

    categories: list[Any]
    """Without a missing one."""
    known: Any
    """Of shape (categories, columns)."""
    missing: Any
    """Of a missing value; None where the encoder raises."""
    unknown: Any
    """Of any other value; None where the encoder raises."""


def encode(graph: GraphWriter, encoder: Any, features: Features) -> Features:
    """Return what `OneHotEncoder`, `OrdinalEncoder` or `TargetEncoder` makes of columns.

    Raises:
        NotConvertible: it is one whose tables are not written.
    """
    tables = _TABLES[type(encoder).__name__](encoder)
    parts = []
    for place, table in enumerate(tables):
        (feature,) = select(graph, features, [place]).parts
        if table.known.shape[1]:
            parts.append(_looked_up(graph, feature, table))
    return Features(tuple(parts))


def encoders() -> Sequence[str]:
    """Return the names of the classes that `encode` knows."""
    return list(_TABLES)


def _looked_up(graph: GraphWriter, feature: Feature, table: Table) -> Numbers:
    """Look rows up. What the encoder refuses has none: a place beyond the table is an error when the graph runs."""
    if table.missing is None and table.unknown is not None:
        raise NotConvertible("it refuses missing values and takes unknown ones")
    others: list[Any] = [np.reshape(row, (1, -1)) for row in (table.missing, table.unknown) if row is not None]
    stored = np.concatenate([table.known, *others]).astype(float)
    found = codes(graph, feature, table.categories)
    return Numbers(graph.node("Gather", graph.constant(stored), found, axis=0), stored.shape[1])


def _one_hot(encoder: Any) -> list[Table]:
    if getattr(encoder, "min_frequency", None) or getattr(encoder, "max_categories", None):
        raise NotConvertible("its OneHotEncoder groups infrequent categories")
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(encoder.categories_)
    refuses = encoder.handle_unknown == "error"
    return [
        _split(categories, _without(np.eye(len(categories)), drop), None if refuses else 0.0)
        for categories, drop in zip(encoder.categories_, dropped, strict=True)
    ]


def _without(table: Any, column: int | None) -> Any:
    return table if column is None else np.delete(table, column, axis=1)


def _ordinal(encoder: Any) -> list[Table]:
    if getattr(encoder, "min_frequency", None) or getattr(encoder, "max_categories", None):
        raise NotConvertible("its OrdinalEncoder groups infrequent categories")
    unknown = None if encoder.handle_unknown == "error" else float(encoder.unknown_value)
    tables = []
    for categories in encoder.categories_:
        places: Any = np.arange(len(categories), dtype=float).reshape(-1, 1)
        if _missing_place(categories) is not None:
            places[_missing_place(categories)] = getattr(encoder, "encoded_missing_value", np.nan)
        tables.append(_split(categories, places, unknown))
    return tables


def _target(encoder: Any) -> list[Table]:
    if encoder.target_type_ == "multiclass":
        raise NotConvertible("its TargetEncoder has more than two classes")
    mean = float(encoder.target_mean_)
    pairs = zip(encoder.categories_, encoder.encodings_, strict=True)
    return [_split(categories, np.reshape(found, (-1, 1)), mean) for categories, found in pairs]


_TABLES = {"OneHotEncoder": _one_hot, "OrdinalEncoder": _ordinal, "TargetEncoder": _target}


def _split(categories: Any, table: Any, unknown: float | None) -> Table:
    """Return the table of a column, the row of a missing value apart.

    Args:
        categories: as the encoder has them.
        table: of their encodings.
        unknown: what fills the row of an unknown category; None: the encoder raises.
    """
    gone = _missing_place(categories)
    other = None if unknown is None else np.full(table.shape[1], unknown)
    kept = [place for place in range(len(categories)) if place != gone]
    values = [categories[place] for place in kept]
    if not all(isinstance(value, (str, bool, int, float, np.number, np.bool_)) for value in values):
        raise NotConvertible("it encodes values that are neither texts nor numbers")
    if len({isinstance(value, str) for value in values}) > 1:
        raise NotConvertible("it encodes texts and numbers in one column")
    return Table(values, table[kept], other if gone is None else table[gone], other)


def _missing_place(categories: Any) -> int | None:
    """Return the place of the missing value among categories, which puts it last."""
    for place, value in enumerate(categories):
        if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
            return place
    return None
