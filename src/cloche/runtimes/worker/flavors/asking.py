"""How models of any flavor are asked: with rows as JSON has them, or with the frame that they were fitted on."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cloche.model import CallInfo, Refusal
from cloche.runtimes.worker.framing import array_builder, frame_builder
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.parameters import signature_of

Rows = Sequence[Mapping[str, Any]]

Predict = Callable[[Rows, Sequence[CallInfo]], Any]
"""Rows in JSON form and a CallInfo for each -> what the model returned for all of them."""

Ask = Callable[[Any, Sequence[CallInfo]], Any]
"""The same for rows as the model takes them: dicts, a frame or an array."""


def framed(ask: Ask, manifest: Manifest) -> Predict:
    """Return the function that answers rows in JSON form, where `ask` wants what the manifest says it takes.

    Raises:
        ValueError: it takes a frame, and the manifest has no frame contract.
    """
    if manifest.takes not in ("frame", "array"):
        return ask
    if manifest.columns is None:
        raise ValueError(f"a model that takes a {manifest.takes} needs a frame contract, and the manifest has none")
    if manifest.takes == "array":
        # publishing has proved that it answers arrays as it does frames; said again at each call, it is noise
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
    build = (frame_builder if manifest.takes == "frame" else array_builder)(manifest.columns)
    return lambda rows, infos: ask(build(rows), infos)


def calling(method: Callable[..., Any], *, single: bool) -> Ask:
    """Return the function that asks `method`, of all rows together or, where it is `single`, of one row at a time.

    It is given a CallInfo, or one per row, where it takes one; and it may raise a Refusal where it is `single`.
    """
    informed = takes_call_info(method)
    if not single:
        return method if informed else lambda given, _: method(given)
    return lambda rows, infos: [
        _answer_one(method, (row, info) if informed else (row,)) for row, info in zip(rows, infos, strict=True)
    ]


def by_keywords(method: Callable[..., Any]) -> Ask:
    """Return the function that asks `method` of one row at a time, whose fields are its keyword arguments."""
    return lambda rows, _: [_answer_one(partial(method, **row), ()) for row in rows]


def _answer_one(method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    try:
        return method(*given)
    except Refusal as refusal:
        return refusal


def takes_call_info(method: Callable[..., Any]) -> bool:
    """Tell whether a function wants a CallInfo: by a second positional argument that has no default, or None."""
    try:
        parameters = list(signature_of(method).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [parameter for parameter in parameters if parameter.kind in positional][1:2]
    return bool(second) and second[0].default in (inspect.Parameter.empty, None)


def listed(values: Any) -> list[Any]:
    """Return an array as a list of Python objects."""
    return list(values.tolist() if hasattr(values, "tolist") else values)
