"""Boosters of XGBoost and LightGBM in the gateway, by the libraries' C interfaces.

They come with the extras `cloche[xgboost]` and `cloche[lightgbm]`, whose Python packages are not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloche.registry.bundle import Manifest
from cloche.runtimes.inline.runtime import Column, Values
from cloche.runtimes.inline.together import comes_apart
from cloche.runtimes.worker.flavors import lightgbm, xgboost
from cloche.runtimes.worker.flavors.boosting import Items, Numbers, items_of
from cloche.runtimes.worker.manifest import read_manifest


def load(folder: Path, manifest: Manifest, threads: int) -> InlineBooster:
    """Open the booster of a bundle; it raises what the library refuses, and ModuleNotFoundError where there is none."""
    columns = read_manifest(folder).columns or []
    path = folder / manifest.entry
    if manifest.flavor == "xgboost":
        items = items_of(manifest.answers, manifest.classes, xgboost.complement)
        booster = InlineBooster(xgboost.Booster(path, threads), Numbers(columns, "f"), items)
        booster.comes_apart = comes_apart(booster.of_values, len(columns))
        return booster
    items = items_of(manifest.answers, manifest.classes, lightgbm.complement)
    return InlineBooster(lightgbm.Booster(path, len(columns), threads), Numbers(columns, "d"), items)


class InlineBooster:
    """A booster, asked with rows of numbers."""

    takes_values = True
    comes_apart = False
    """As `Inline` has it. Nobody asks LightGBM, whose way for a single row is as fast as rows together."""

    def __init__(self, booster: xgboost.Booster | lightgbm.Booster, numbers: Numbers, items: Items) -> None:
        self._predict = booster.predict
        self._numbers = numbers
        self._items = items

    def of_values(self, values: Values) -> list[Any]:
        """Return one item per row of numbers."""
        return self._items(self._predict(self._numbers.of_values(values), len(values)))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return one item per row in JSON form."""
        return self._items(self._predict(self._numbers.of_rows(rows), len(rows)))

    def of_columns(self, column: Column, rows: int) -> list[Any]:
        """Return one item for each of so many rows, given by columns."""
        return self._items(self._predict(self._numbers.of_columns(column, rows), rows))
