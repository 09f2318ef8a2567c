"""What an author hands over, before anything is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cloche.authoring.traits import comes_from
from cloche.errors import NotPublishable
from cloche.registry.bundle import Each, Takes

PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A version as its author describes it: the arguments of `cloche.publish`."""

    model: Any
    name: str
    version: str
    examples: Any
    training: Any = None
    files: Mapping[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    method: str | None = None
    takes: Takes | None = None
    each: Each | None = None
    score: str | None = None
    golden: Literal["equal", "schema"] = "equal"
    deadline_ms: int | None = None
    hang_after_ms: int | None = None
    description: str | None = None
    message: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the model is the path of a file."""
        return isinstance(self.model, str | Path)

    @property
    def is_onnx(self) -> bool:
        """Whether the model is an ONNX graph: a file, its bytes, or an `onnx.ModelProto`."""
        if self.is_file:
            return Path(self.model).suffix == ".onnx"
        return isinstance(self.model, bytes) or comes_from(self.model, "onnx")

    @property
    def is_pickle(self) -> bool:
        """Whether the model is the path of a pickle, which is copied and never opened in this process."""
        return self.is_file and Path(self.model).suffix in PICKLES


def model_bytes(path: Path) -> bytes:
    """Return what is in a model's file.

    Raises:
        NotPublishable: there is none, or none that Cloche knows by its name.
    """
    if not path.is_file():
        raise NotPublishable(kind="path", reason=f"there is no file {path}")
    if path.suffix not in (".onnx", *PICKLES):
        reason = f"name it .onnx, or {', '.join(PICKLES)} where it is a pickle"
        raise NotPublishable(kind=f"file {path.name}", reason=reason)
    return path.read_bytes()
