"""What goes into a bundle: the model, its files, and the author's own modules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from cloche.authoring.caution import about_paths
from cloche.authoring.draft import Draft
from cloche.authoring.kinds import Kind, Packed
from cloche.authoring.pickling import Pickles, pickled
from cloche.authoring.references import named_in
from cloche.authoring.sources import collect
from cloche.authoring.variables import about_variables
from cloche.errors import NotPublishable
from cloche.registry.bundle import File


def pack(draft: Draft, kind: Kind) -> Packed:
    """Return the whole of a bundle: the model, its files, and the author's own modules.

    Raises:
        NotPublishable: something can't be pickled, is no file, or has no usable name; or a module can't go along.
        MissingExtra: a package that this needs is not installed.
    """
    pickles = Pickles()
    model = kind.pack(draft, pickles)
    if draft.providers is not None and "providers" not in model.fields:
        raise NotPublishable(kind=f"version with providers={draft.providers!r}", reason="only ONNX graphs have them")
    contents, given = dict(model.files), draft.files or {}
    for name, value in given.items():
        path = f"files/{_check_name(name)}"
        if path in contents:
            raise NotPublishable(kind=f"file {name!r}", reason="this name is taken by the model itself; use another")
        contents[path] = _content(name, value, pickles)
    opened = [contents[path] for path in model.pickles]
    opened += [contents[f"files/{name}"] for name, value in given.items() if _is_object(value)]
    named = [named_in(pickle) for pickle in opened]
    code = collect(pickles.told.imports.union(*(each.modules for each in named)), draft.include, draft.exclude)
    code = replace(code, listings=pickles.told.listings.files())
    paths = pickles.told.paths.union(*(each.paths for each in named))
    cautions = [*about_paths(paths, code), *about_variables(pickles.told.variables, code.variables)]
    sources = {f"code/{path}": source for path, source in {**code.listings, **code.files}.items()}
    executables = model.executables | {f"files/{name}" for name, value in given.items() if _is_executable(value)}
    return replace(
        model,
        files=contents | sources,
        executables=executables,
        code=code,
        notices=(*model.notices, *cautions),
    )


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
    return pickled(value, f"file {name!r}", pickles)


def _is_executable(value: Any) -> bool:
    return isinstance(value, Path) and os.access(value, os.X_OK)


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


def file_of(path: str, data: bytes, executable: bool = False) -> File:
    """Return what a manifest says of a file."""
    return File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data), executable=executable)
