"""The rows that the FastAPI servers take, as pydantic models."""

from __future__ import annotations

from pydantic import BaseModel, create_model

from benchmarks.task import FEATURES, ITEM_FEATURES

Row = create_model("Row", **{f"x{i}": (float, ...) for i in range(FEATURES)})  # type: ignore[call-overload]
Item = create_model("Item", **{f"x{i}": (float, ...) for i in range(ITEM_FEATURES)})  # type: ignore[call-overload]


class Ranking(BaseModel):
    items: list[Item]  # type: ignore[valid-type]


def numbers(row: BaseModel, features: int) -> list[float]:
    """Return the fields of a row in their order."""
    return [getattr(row, f"x{i}") for i in range(features)]
