"""What an author hands over, before anything is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cloche.errors import NotPublishable
from cloche.registry.bundle import Each, OnUnseen, Takes
from cloche.registry.redaction import read_pointer
from cloche.schema import UnknownFields
from cloche.settings import LONGEST_MS
from cloche.values import LONGEST_WAIT_MS, MOST_ROWS_TOGETHER

Comparison: TypeAlias = Literal["equal", "schema"]
"""How a fresh worker's answers to the examples are compared with the author's."""

_CHOICES = {
    "unknown_fields": get_args(UnknownFields),
    "on_unseen": get_args(OnUnseen),
    "takes": (None, *get_args(Takes)),
    "golden": get_args(Comparison),
}

_NUMBERS = {
    "deadline_ms": ("milliseconds", LONGEST_MS),
    "hang_after_ms": ("milliseconds", LONGEST_MS),
    "max_wait_ms": ("milliseconds", LONGEST_WAIT_MS),
    "max_batch": ("rows", MOST_ROWS_TOGETHER),
}

_LISTS = {
    "include": "modules and patterns of files, such as ['zoo/data/*.csv']",
    "exclude": "modules and patterns of files, such as ['zoo/data/*.csv']",
    "required": "names of fields, such as ['carrier']",
    "redact": "pointers into a record, such as ['/input/name']",
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
    schema: dict[str, Any] | type | None = None
    unknown_fields: UnknownFields = "refuse"
    on_unseen: OnUnseen = "pass"
    required: Sequence[str] = ()
    method: str | None = None
    takes: Takes | None = None
    each: Each | None = None
    score: str | None = None
    redact: Sequence[str] = ()
    golden: Comparison = "equal"
    deadline_ms: int | None = None
    hang_after_ms: int | None = None
    max_wait_ms: int | None = None
    max_batch: int | None = None
    description: str | None = None
    message: str | None = None
    vendor: bool = False
    optimize: bool = False
    """Whether it gets a second form, where one is faster and answers the same."""
    sign: str | Path | None = None
    """The file of a private key that it is signed with."""
    providers: Sequence[str] | None = None
    steps: Mapping[str, str] = field(default_factory=dict)
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


def check_options(draft: Draft) -> None:
    """Check what nothing else looks at before it is written down for ever.

    Raises:
        NotPublishable: an option has a value that means nothing.
    """
    for name, allowed in _CHOICES.items():
        if getattr(draft, name) not in allowed:
            raise _meaningless(draft, name, f"it is one of {', '.join(map(repr, allowed))}")
    for name, (unit, most) in _NUMBERS.items():
        value = getattr(draft, name)
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise _meaningless(draft, name, f"it is a whole number of {unit}, from 1 to {most}")
    _check_texts(draft)
    if not _is_names(draft.providers):
        raise _meaningless(draft, "providers", "it is a list of ONNX Runtime's names, as ['CUDAExecutionProvider']")
    for name, meaning in _LISTS.items():
        value = getattr(draft, name)
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise _meaningless(draft, name, f"it is a list of {meaning}")
    for pointer in draft.redact:
        _check_redacted(draft, pointer)
    if not isinstance(draft.files, Mapping):
        raise _meaningless(draft, "files", "it is a dict: name -> a Path, bytes, text or any object")
    if not isinstance(draft.steps, Mapping) or not all(isinstance(text, str) for text in draft.steps.values()):
        raise _meaningless(draft, "steps", "it is a dict: name -> a version such as 'flight-delay@1.4.0'")
    if draft.each is not None:
        _check_each(draft, draft.each)


def _check_texts(draft: Draft) -> None:
    for name in ("method", "score", "description", "message"):
        if not isinstance(getattr(draft, name), str | None):
            raise _meaningless(draft, name, "it is text")
    if draft.score and not draft.score.startswith("/"):
        raise _meaningless(draft, "score", "it is a JSON pointer into an answer, such as '/price'; '' is all of it")


def _check_redacted(draft: Draft, pointer: str) -> None:
    try:
        read_pointer(pointer)
    except ValueError as error:
        raise _meaningless(draft, "redact", str(error)) from None


def _is_names(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value)


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
