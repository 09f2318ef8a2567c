"""The kinds of things that can be published. One file is one kind: what it claims, how it is packed, what it is.

A new kind is a file with a class that keeps the promises of `Kind`, and a line in `KINDS`.
"""

from __future__ import annotations

from pathlib import Path

from cloche.authoring.kinds import onnx, pickle_file
from cloche.authoring.kinds.command import CommandLine
from cloche.authoring.kinds.kind import Kind, Look, Packed
from cloche.authoring.kinds.lightgbm import LIGHTGBM_FILE, LightgbmModel
from cloche.authoring.kinds.mlflow import MlflowModel, is_address
from cloche.authoring.kinds.networks import HuggingFacePipeline, KerasModel, TorchModule
from cloche.authoring.kinds.objects import PythonObject
from cloche.authoring.kinds.onnx import OnnxGraph
from cloche.authoring.kinds.pickle_file import PickleFile
from cloche.authoring.kinds.xgboost import XGBOOST_FILE, XgboostModel
from cloche.errors import NotPublishable

__all__ = ["KINDS", "Kind", "Look", "Packed", "kind_of"]

KINDS: tuple[Kind, ...] = (
    OnnxGraph(),
    PickleFile(),
    XgboostModel(),
    XGBOOST_FILE,
    LightgbmModel(),
    LIGHTGBM_FILE,
    CommandLine(),
    MlflowModel(),
    KerasModel(),  # before PyTorch, whose modules Keras models are where that is the backend
    TorchModule(),
    HuggingFacePipeline(),
    PythonObject(),
)
"""The first that claims a model has it."""


def kind_of(model: object) -> Kind:
    """Return the kind of a model.

    Raises:
        NotPublishable: it is the path of nothing, or of a file that no kind knows by its name.
    """
    kind = next(kind for kind in KINDS if kind.claims(model))
    if isinstance(model, str | Path) and not is_address(model):
        _check_path(Path(model), kind)
    return kind


def _check_path(path: Path, kind: Kind) -> None:
    if not path.exists():
        reason = f"there is no file {path}; what a module has is module:name for `cloche models publish`"
        raise NotPublishable(kind="path", reason=reason)
    if path.suffix == ".py":
        reason = f"import it and publish what it has, as `cloche models publish {path.stem}:name` does"
        raise NotPublishable(kind=f"source {path.name}", reason=reason)
    if path.is_dir() and isinstance(kind, PythonObject):
        raise NotPublishable(kind=f"folder {path.name}", reason="it has no MLmodel file; name a file in it")
    if isinstance(kind, PythonObject):
        reason = f"name it {onnx.SUFFIX}, or {', '.join(pickle_file.SUFFIXES)} where it is a pickle"
        raise NotPublishable(kind=f"file {path.name}", reason=reason)
