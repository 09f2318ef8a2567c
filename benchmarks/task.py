"""What a server is asked: a trained model as files, and calls with the model's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEATURES = 12
ITEM_FEATURES = 30
CHECKED = 5
"""How many answers of a server are compared with the model's own before anything is measured."""
RANKING = "ranking"
"""The name of the task whose calls are lists of items."""


@dataclass(frozen=True)
class Task:
    """A trained model, as the files that all servers share, and what it is asked."""

    name: str
    folder: Path
    calls: Sequence[Any]
    """Arrays of shape (1, 12), and of a ranking (200, 30)."""
    scores: Sequence[list[float]]
    """The model's own answers to the first of them: the probability of the second class, or a number for each item."""
    examples: Any
    """What it is published with: rows, or some whole calls of a ranking."""

    @property
    def ranks(self) -> bool:
        """Whether a call is a list of items."""
        return self.name == RANKING

    @property
    def pickle(self) -> Path:
        """The model as joblib keeps it."""
        return self.folder / "model.joblib"

    @property
    def graph(self) -> Path:
        """The same model for ONNX Runtime."""
        return self.folder / "model.onnx"
