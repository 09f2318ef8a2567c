"""What an author hands over, before anything is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cloche.authoring.traits import comes_from
from cloche.errors import NotPublishable
from cloche.registry.bundle import Each, Takes
from cloche.schema import UnknownFields
from cloche.settings import LONGEST_MS

Comparison: TypeAlias = Literal["equal", "schema"]
"""How a fresh worker's answers to the examples are compared with the author's."""

PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")

_CHOICES = {
    "unknown_fields": get_args(UnknownFields),
    "takes": (None, *get_args(Takes)),
    "golden": get_args(Comparison),
}


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
    unknown_fields: UnknownFields = "refuse"
    method: str | None = None
    takes: Takes | None = None
    each: Each | None = None
    score: str | None = None
    golden: Comparison = "equal"
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


def check_options(draft: Draft) -> None:
    """Check what nothing else looks at before it is written down for ever.

    Raises:
        NotPublishable: an option has a value that means nothing.
    """
    for name, allowed in _CHOICES.items():
        if getattr(draft, name) not in allowed:
            raise _meaningless(draft, name, f"it is one of {', '.join(map(repr, allowed))}")
    for name in ("deadline_ms", "hang_after_ms"):
        value = getattr(draft, name)
        if value is not None and not (type(value) is int and 1 <= value <= LONGEST_MS):
            raise _meaningless(draft, name, f"it is a whole number of milliseconds, from 1 to {LONGEST_MS}")
    for name in ("method", "score", "description", "message"):
        if not isinstance(getattr(draft, name), str | None):
            raise _meaningless(draft, name, "it is text")
    if draft.score and not draft.score.startswith("/"):
        raise _meaningless(draft, "score", "it is a JSON pointer into an answer, such as '/price'; '' is all of it")
    if not isinstance(draft.files, Mapping):
        raise _meaningless(draft, "files", "it is a dict: name -> a Path, bytes, text or any object")
    if draft.each is not None:
        _check_each(draft, draft.each)


def _check_each(draft: Draft, each: Each) -> None:
    if not (isinstance(each.path, str) and each.path.startswith("/") and "/" not in each.path[1:] and each.path[1:]):
        raise _meaningless(draft, "each", "its path points to a field of the call, such as '/items'")
    if not isinstance(each.item_id, str):
        raise _meaningless(draft, "each", "its item_id is the name of a field")
    if each.order not in ("desc", "asc"):
        raise _meaningless(draft, "each", "its order is 'desc' or 'asc'")
    if type(each.max_items) is not int or each.max_items < 1:
        raise _meaningless(draft, "each", "its max_items is a whole number, at least 1")


def _meaningless(draft: Draft, name: str, reason: str) -> NotPublishable:
    return NotPublishable(kind=f"version with {name}={getattr(draft, name)!r}", reason=reason)


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
