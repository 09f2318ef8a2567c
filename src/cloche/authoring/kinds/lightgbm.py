"""LightGBM: boosters, the estimators of `lightgbm.sklearn`, and model files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.boosting import NativeFile, NativeModel, reason_beyond

_ENTRY = "files/model"
_NAMES = "feature_names="
_UNNAMED = "Column_"
"""How the columns of an array are called."""


class LightgbmModel(NativeModel):
    """A booster or an estimator, kept as text."""

    flavor = "lightgbm"
    narrows = False
    entry = f"{_ENTRY}.txt"

    def beyond(self, draft: Draft) -> str | None:
        """Return what of the model the text does not say."""
        model = draft.model
        if not hasattr(model, "get_params"):
            return None
        if reason := reason_beyond(draft, math.nan):
            return reason
        return "it knows one class alone" if hasattr(model, "classes_") and len(model.classes_) < 2 else None

    def written(self, model: Any) -> bytes:
        """Return the booster, up to its best iteration where it has one: no more are asked."""
        text: str = _booster(model).model_to_string()
        return text.encode()

    def features(self, model: Any) -> list[str] | None:
        """Return the names of the booster's columns."""
        names = _booster(model).feature_name()
        return None if all(name.startswith(_UNNAMED) for name in names) else list(names)

    def answered(self, booster: Any, given: Any) -> Any:
        """Return what the booster answers, up to its best iteration."""
        return booster.predict(given)


def _booster(model: Any) -> Any:
    return model.booster_ if hasattr(model, "get_params") else model


def _names_of(path: Path) -> list[str]:
    """Read the names off the head of the text. Whitespace in them has become `_` when the model was trained."""
    with path.open(encoding="utf-8") as lines:
        found = next((line for line in lines if line.startswith(_NAMES)), _NAMES)
    names = found.removeprefix(_NAMES).split()
    return [] if all(name.startswith(_UNNAMED) for name in names) else names


LIGHTGBM_FILE = NativeFile("lightgbm", _ENTRY, {".txt": b"tree\n"}, _names_of, narrows=False)
"""A file that `save_model` has written."""
