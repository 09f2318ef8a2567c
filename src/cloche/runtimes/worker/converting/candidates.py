"""Making of a version whatever can answer in its place, and saying why of what can't."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.answering import Asked
from cloche.runtimes.worker.converting.exact import Exact
from cloche.runtimes.worker.converting.features import check_columns
from cloche.runtimes.worker.converting.graph import NotConvertible, Width
from cloche.runtimes.worker.converting.library import convert_by_library
from cloche.runtimes.worker.converting.native import NATIVE, native_form
from cloche.runtimes.worker.converting.shrinking import Smaller
from cloche.runtimes.worker.flavors.asking import listed
from cloche.runtimes.worker.flavors.onnx import MARKS, open_session
from cloche.runtimes.worker.manifest import Manifest

_WIDTHS: tuple[tuple[str, Width], ...] = (("onnx-double", "float64"), ("onnx-single", "float32"))
_SINGLE = "Numbers go in as float32: a row within a ten-millionth of where a tree splits may go the other way."
_LONGEST = 300
_KINDS = {"tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(string)": object}


@dataclass(frozen=True)
class Candidate:
    """An artifact that may answer in a version's place; its fields are explained in `cloche.runtimes.converting`."""

    name: str
    flavor: str
    file: str
    width: str
    size: int = 0
    shrunk: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotConverted:
    """A form that a version does not get, and why."""

    form: str
    reason: str


Made = Candidate | NotConverted


def make_candidates(model: Any, manifest: Manifest, folder: Path, smaller: Sequence[Smaller]) -> Iterator[Made]:
    """Write the candidates of a model into a folder, and yield each, and each that can't be.

    Args:
        model: an estimator, a pipeline or a booster.
        manifest: how it is asked.
        folder: where the files go.
        smaller: in which ways candidates are shrunk that are made besides.
    """
    model = _unwrapped(model)
    try:
        asked = _asked(model, manifest)
    except NotConvertible as error:
        yield NotConverted("", _sentence(error))
        return
    exact = Exact.of(model, manifest.columns or [])
    for name, width in _WIDTHS:
        wanted = Candidate(name, "onnx", f"{name}.onnx", width, notes=(_SINGLE,) if width == "float32" else ())
        yield _written(wanted, folder, partial(_graph, exact, model, asked))
    for each in smaller:
        yield from _shrunk(exact, asked, folder, each)
    if type(model).__name__ in NATIVE and NATIVE[type(model).__name__] != manifest.flavor:
        yield _native(model, manifest, folder)


def _shrunk(exact: Exact, asked: Asked, folder: Path, smaller: Smaller) -> Iterator[Made]:
    try:
        there = exact.rounds()
    except Exception as error:  # noqa: BLE001  as below
        yield _not_converted(smaller.name, error)
        return
    if there is None or (smaller.rounds is not None and there <= smaller.rounds):
        has = "has no trees" if there is None else f"has {there} rounds of trees"
        yield NotConverted(smaller.name, f"It {has}, so there is nothing to leave out.")
        return
    note = f"Shrunk to {smaller.words}, from {there} rounds of trees: it answers otherwise than the version."
    for name, width in _WIDTHS:
        form = f"{name}-{smaller.name}"
        wanted = Candidate(form, "onnx", f"{form}.onnx", width, shrunk=smaller.words, notes=(note,))
        yield _written(wanted, folder, partial(exact.written, asked=asked, smaller=smaller))


def _written(wanted: Candidate, folder: Path, graph: Callable[[Width], bytes]) -> Made:
    """Write a graph, and see whether ONNX Runtime takes it."""
    width: Width = "float32" if wanted.width == "float32" else "float64"
    path = folder / wanted.file
    try:
        path.write_bytes(graph(width))
        _open(path)
    except Exception as error:  # noqa: BLE001  a release of its library that is another inside: nothing is lost by that
        path.unlink(missing_ok=True)
        return _not_converted(wanted.name, error)
    return replace(wanted, size=path.stat().st_size)


def _not_converted(form: str, error: Exception) -> NotConverted:
    if isinstance(error, NotConvertible):
        return NotConverted(form, _sentence(error))
    traceback.print_exception(error)
    return NotConverted(form, f"The converter failed on it ({type(error).__name__}: {error}).")


def _graph(exact: Exact, model: Any, asked: Asked, width: Width) -> bytes:
    """Write a graph node by node, and where that is not possible, by skl2onnx."""
    try:
        return exact.written(width, asked)
    except NotConvertible as error:
        if not type(model).__module__.startswith("sklearn."):
            raise
        try:
            return convert_by_library(model, exact.columns, width, asked, MARKS)
        except NotConvertible as second:
            raise NotConvertible(f"{error}; and {second}") from None


def _open(path: Path) -> None:
    try:
        session = open_session(path, threads=1)
    except Exception as error:  # noqa: BLE001  its exceptions share no class of their own
        said = " ".join(str(error).split())[:_LONGEST]
        raise NotConvertible(f"ONNX Runtime does not take the graph: {said}") from None
    with suppress(Exception):  # an error is an answer, too; what ends the process shall end this one
        session.run(None, {given.name: _blank(given) for given in session.get_inputs()})


def _blank(given: Any) -> Any:
    """Return one row of zeros, or of empty texts, for an input of a session."""
    kind = _KINDS.get(given.type, np.float32)
    return np.full([size if isinstance(size, int) else 1 for size in given.shape], "" if kind is object else 0, kind)


def _native(model: Any, manifest: Manifest, folder: Path) -> Made:
    flavor = NATIVE[type(model).__name__]
    suffix, width = ("ubj", "float32") if flavor == "xgboost" else ("txt", "float64")
    path = folder / f"{flavor}.{suffix}"
    try:
        path.write_bytes(native_form(model, manifest))
    except NotConvertible as error:
        return NotConverted(flavor, _sentence(error))
    return Candidate(flavor, flavor, path.name, width, path.stat().st_size)


def _unwrapped(model: Any) -> Any:
    """Return the estimator that a search for parameters has found best."""
    while type(model).__module__.startswith("sklearn.model_selection.") and hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    return model


def _asked(model: Any, manifest: Manifest) -> Asked:
    if manifest.columns is None or manifest.takes not in ("frame", "array"):
        raise NotConvertible("it takes rows, and a graph takes a table; publish it with takes='frame'")
    check_columns(manifest.columns)
    if manifest.on_unseen != "pass":
        raise NotConvertible(
            f"on_unseen={manifest.on_unseen!r} is seen to by a worker; publish it with on_unseen='pass'"
        )
    if hasattr(model, "classes_") and len(model.classes_) == 1:
        raise NotConvertible("it knows one class alone")
    if manifest.answers == "label":
        if not manifest.classes:
            raise NotConvertible("its classes are not known")
        return Asked(True, not hasattr(model, "classes_") or hasattr(model, "predict_proba"), manifest.classes)
    classes = listed(model.classes_) if hasattr(model, "classes_") else []
    if manifest.method == "predict_proba":
        return Asked(False, True, classes)
    if manifest.method != "predict":
        raise NotConvertible(f"it is asked by {manifest.method}, and a graph answers as predict or predict_proba do")
    if classes:
        raise NotConvertible("it answers with bare labels; published without method=, it has probabilities as well")
    return Asked(False, False)


def _sentence(error: NotConvertible) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
