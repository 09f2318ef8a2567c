"""What the boosting libraries have in common: their own formats carry no code, and say all that most models are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import AskedOfWorkers, Look, Packed
from cloche.authoring.kinds.objects import PythonObject
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits
from cloche.errors import InvalidExamples, NotPublishable
from cloche.model import Bundle
from cloche.runtimes.worker.flavors import sklearn
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest


class NativeModel(ABC):
    """A model of a boosting library, in the library's own format.

    What the format can't say is pickled like any estimator, and the author is told why.
    """

    is_asked_here = True
    flavor: str
    """The flavor, and the name of the library's package."""
    entry: str
    narrows: bool
    """Whether the library rounds all numbers to single precision."""

    def claims(self, model: object) -> bool:
        """Tell whether the class is the library's own; a class derived from it may answer otherwise."""
        return type(model).__module__.partition(".")[0] == self.flavor

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write it in the library's format, or pickle it."""
        try:
            reason = self.beyond(draft)
            if reason is None:
                return Packed({self.entry: self.written(draft.model)}, self.entry)
        except Exception as error:  # whatever the library raises of a model that was never fitted
            told = f"{type(error).__name__}: {error}".partition("\n")[0]
            reason = f"it can't be written in the format of {self.flavor} ({told})"
            raise NotPublishable(kind=type(draft.model).__qualname__, reason=reason) from error
        notice = f"It is kept as a pickle and runs in a worker, since {reason}."
        return replace(PythonObject().pack(draft, pickles), notices=(notice,))

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Look at the object."""
        if packed.entry != self.entry:
            return PythonObject().traits(draft, packed, look)
        model = draft.model
        kind, names = f"{type(model).__module__}.{type(model).__qualname__}", self.features(model)
        classes = model.classes_.tolist() if hasattr(model, "classes_") and draft.method is None else None
        return Traits(kind, self.flavor, ways=("frame",), classes=classes, features=names, narrows=self.narrows)

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Ask the author's own object, by its own methods."""
        if manifest.flavor != self.flavor:
            return PythonObject().ask_of(draft, manifest, bundle)
        if hasattr(draft.model, "get_params"):
            return sklearn.ask_of(draft.model, manifest)
        return lambda given, _: self.answered(draft.model, given)

    @abstractmethod
    def beyond(self, draft: Draft) -> str | None:
        """Return what of the model the format can't say, None where it says all."""

    @abstractmethod
    def written(self, model: Any) -> bytes:
        """Return the model in the library's format, with the trees that its `predict` uses."""

    @abstractmethod
    def features(self, model: Any) -> list[str] | None:
        """Return the names of the columns that it was trained with, None where they had none."""

    @abstractmethod
    def answered(self, booster: Any, given: Any) -> Any:
        """Return what a bare booster answers to a frame or an array."""


Names = Callable[[Path], Sequence[str]]
"""Reads the names of the columns off a model file; none where it was trained without."""


class NativeFile(AskedOfWorkers):
    """The path of a model file that the library has written.

    Args:
        flavor: that loads it.
        entry: the name that it gets, without a suffix.
        heads: suffix -> how such a file begins.
        names_of: reads the names of its columns.
        narrows: whether the library rounds all numbers to single precision.
    """

    def __init__(self, flavor: str, entry: str, heads: Mapping[str, bytes], names_of: Names, *, narrows: bool) -> None:
        self._flavor = flavor
        self._entry = entry
        self._heads = heads
        self._names_of = names_of
        self._narrows = narrows

    def claims(self, model: object) -> bool:
        """Tell by its name and its first bytes."""
        if not isinstance(model, str | Path) or Path(model).suffix not in self._heads or not Path(model).is_file():
            return False
        head = self._heads[Path(model).suffix]
        with Path(model).open("rb") as file:
            return file.read(len(head)) == head

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Copy it."""
        del pickles
        entry = self._entry + Path(draft.model).suffix
        return Packed({entry: Path(draft.model).read_bytes()}, entry)

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Return what all such files have in common, with the columns in the order in which it reads them.

        Raises:
            InvalidExamples: the examples have other columns. Nobody else would notice: such models go by position.
        """
        del packed, look
        path = Path(draft.model)
        try:
            names = list(self._names_of(path))
        except (ValueError, OSError) as error:  # the error of XGBoost is a ValueError
            told = str(error).partition("\n")[0]
            reason = f"it begins like a model file of {self._flavor}, which can't read it ({told}); save it again"
            raise NotPublishable(kind=f"file {path.name}", reason=reason) from error
        given = [] if draft.each else _columns(draft.examples)
        if names and given and sorted(names) != sorted(given):
            reason = f"the model was trained on {', '.join(names)}, and they have {', '.join(given)}"
            raise InvalidExamples(reason=reason)
        kind = f"{self._flavor} model file"
        return Traits(kind, self._flavor, ways=("frame",), features=names or None, narrows=self._narrows)


def _columns(examples: Any) -> list[str]:
    """Return the names of the columns of a frame, or of the fields of dicts; none of an array."""
    if hasattr(examples, "columns"):
        return [str(name) for name in examples.columns]
    if isinstance(examples, list) and all(isinstance(row, dict) for row in examples):
        return list(dict.fromkeys(name for row in examples for name in row))
    return []


def reason_beyond(draft: Draft, missing: float) -> str | None:
    """Return what no library's format says of an estimator, None where there is no such thing.

    Args:
        draft: with an estimator of the library.
        missing: the number that it takes for a missing one.
    """
    model, method = draft.model, draft.method
    if method not in (None, "predict") or (method and hasattr(model, "classes_")):
        return f"{method} is a method of the estimator, which a booster alone has not"
    if callable(model.get_params().get("objective")):
        return "its objective is a function of its own"
    if not math.isnan(missing):
        return f"it takes {missing} for a missing value"
    return None
