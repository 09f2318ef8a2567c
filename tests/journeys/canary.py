"""A model whose pickle tells on whoever opens it."""

from __future__ import annotations

import os
from typing import Any


class Canary:
    """Writes down which process opens its pickle."""

    def __init__(self, seen: str) -> None:
        self.seen = seen

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with open(self.seen, "a") as seen:
            seen.write(f"{os.getpid()}\n")

    def predict(self, rows: list[dict[str, float]]) -> list[float]:
        return [2 * row["x"] for row in rows]
