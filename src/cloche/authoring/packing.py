"""What goes into a bundle: the model, its files, and the author's own modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cloche.authoring.draft import Draft, model_bytes
from cloche.authoring.modules import own_modules
from cloche.authoring.pickling import Pickles
from cloche.errors import NotPublishable

MODEL_PICKLE = "files/model.pkl"
MODEL_ONNX = "files/model.onnx"


def pack(draft: Draft) -> dict[str, bytes]:
    """Return the files of a bundle: path -> content.

    Raises:
        NotPublishable: something can't be pickled, is no file, or has no usable name.
    """
    entry = MODEL_ONNX if draft.is_onnx else MODEL_PICKLE
    pickles = Pickles()
    contents = {entry: _model(draft, pickles)}
    for name, value in draft.files.items():
        path = f"files/{_check_name(name)}"
        if path in contents:
            raise NotPublishable(kind=f"file {name!r}", reason="this name is taken by the model itself; use another")
        contents[path] = _content(name, value, pickles)
    opened = [contents[MODEL_PICKLE]] if not draft.is_onnx else []
    opened += [contents[f"files/{name}"] for name, value in draft.files.items() if _is_object(value)]
    code = {f"code/{path}": source for path, source in own_modules(opened).items()}
    return contents | code


def _model(draft: Draft, pickles: Pickles) -> bytes:
    if draft.is_file:
        return model_bytes(Path(draft.model))
    if isinstance(draft.model, bytes):
        return draft.model
    if draft.is_onnx:
        return bytes(draft.model.SerializeToString())
    return _pickled(draft.model, "model", pickles)


def _pickled(value: Any, what: str, pickles: Pickles) -> bytes:
    try:
        return pickles.dumps(value)
    except Exception as error:
        reason = f"it can't be pickled ({type(error).__name__}: {error}); make what it holds in load() instead"
        raise NotPublishable(kind=f"{what} of type {type(value).__name__}", reason=reason) from error


def _content(name: str, value: Any, pickles: Pickles) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Path):
        if not value.is_file():
            raise NotPublishable(kind=f"file {name!r}", reason=f"there is no file {value}")
        return value.read_bytes()
    if isinstance(value, str):
        if len(value) < 1024 and "\n" not in value and Path(value).is_file():
            reason = f"{value!r} is text and also names a file; give Path({value!r}) for its content, or bytes"
            raise NotPublishable(kind=f"file {name!r}", reason=reason)
        return value.encode()
    return _pickled(value, f"file {name!r}", pickles)


def _is_object(value: Any) -> bool:
    return not isinstance(value, bytes | bytearray | Path | str)


def _check_name(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise NotPublishable(kind=f"file {name!r}", reason="its name must be a relative path such as clf.joblib")
    if not name.isprintable():
        raise NotPublishable(kind=f"file {name!r}", reason="its name has a character that can't be printed")
    return name


def objects_of(files: Mapping[str, Any]) -> dict[str, Any]:
    """Return those files that were given as objects."""
    return {name: value for name, value in files.items() if _is_object(value)}
