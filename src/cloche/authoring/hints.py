"""What a type hint says of a model's rows: `predict(self, rows: list[Quote])`, or `price(row: Quote)`."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from cloche.errors import NotPublishable
from cloche.model import Model
from cloche.runtimes.worker.parameters import signature_of
from cloche.runtimes.worker.typed import is_row_class, is_struct, object_reader

_LISTS = (list, Sequence, Iterable, Collection)


@dataclass(frozen=True)
class RowHint:
    """A hint that names a row class."""

    kind: type
    single: bool
    """Whether the model takes one row, and not a list of them."""


def row_hint(model: Any, method: str | None = None) -> RowHint | None:
    """Return what the hint of the method that will be asked says, or None where it names no row class.

    Args:
        model: the author's object: a function, an object with methods, or a class.
        method: its name where that is not `predict`.

    Raises:
        NotPublishable: it names one whose objects a worker can't make; with what to do.
    """
    hint = _hint_of(_asked(model, method or "predict"))
    single = get_origin(hint) not in _LISTS
    kind = hint if single else next(iter(get_args(hint)), None)
    if not isinstance(kind, type) or not is_row_class(kind):
        return None
    _check(kind)
    return RowHint(kind, single)


def _asked(model: Any, method: str) -> Callable[..., Any] | None:
    """Return the function that workers will call; of a class, with `self` as its first parameter left out."""
    if inspect.isroutine(model) or isinstance(model, functools.partial):
        return model
    kind = model if isinstance(model, type) else type(model)
    if method == "predict" and issubclass(kind, Model) and kind.predict is Model.predict:
        method = "predict_one"
    function = inspect.getattr_static(kind, method, None)
    return functools.partial(function, None) if inspect.isfunction(function) else None


def _hint_of(function: Callable[..., Any] | None) -> Any:
    """Return the type of the first parameter; None where there is none, or it can't be found out."""
    if function is None:
        return None
    try:
        first = next(iter(signature_of(function).parameters.values()), None)
    except (TypeError, ValueError):
        return None
    if first is None or first.annotation is inspect.Parameter.empty:
        return None
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    names = {**getattr(function, "__globals__", {}), **_closure(function)}
    try:  # alone, since what is said of other parameters may not be importable here
        return get_type_hints(SimpleNamespace(__annotations__={"row": first.annotation}), names)["row"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None


def _closure(function: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with suppress(TypeError, ValueError):  # it is no function, or something in it is not made yet
        found |= inspect.getclosurevars(function).nonlocals
    return found


def _check(kind: type) -> None:
    """Check that a worker can make objects of a row class."""
    try:
        object_reader(kind)
    except (TypeError, NameError) as error:
        raise NotPublishable(kind=f"model whose rows are of type {kind.__name__}", reason=str(error)) from None
    if is_struct(kind) and not _can_be_imported(kind):
        reason = "a Struct of a script or notebook can't be pickled; put it into a module beside, and import it"
        raise NotPublishable(kind=f"model whose rows are of type {kind.__name__}", reason=reason)


def _can_be_imported(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind
