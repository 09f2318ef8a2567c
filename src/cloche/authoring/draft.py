"""What an author hands over, before anything is known about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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

Order: TypeAlias = Literal["desc", "asc"]
"""Which score of a ranking comes first: the highest or the lowest."""

_CHOICES = {
    "unknown_fields": get_args(UnknownFields),
    "on_unseen": get_args(OnUnseen),
    "takes": (None, *get_args(Takes)),
    "order": get_args(Order),
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
    "redact": "pointers into a record, such as ['/input/name']",
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A version as its author describes it: the arguments of `cloche.publish`, which says what they mean.

    Raises:
        TypeError: of a ranking, nothing says which field names an item.
    """

    model: Any = field(kw_only=False)
    name: str
    version: str
    examples: Any
    training: Any = None
    files: Mapping[str, Any] | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    schema: dict[str, Any] | type | None = None
    unknown_fields: UnknownFields = "refuse"
    on_unseen: OnUnseen = "pass"
    required: Collection[str] = ()
    method: str | None = None
    takes: Takes | None = None
    providers: Sequence[str] | None = None
    steps: Mapping[str, str] | None = None
    each: str | None = None
    item_id: str | None = None
    order: Order = "desc"
    max_items: int = 1000
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
    sign: str | Path | None = None

    def __post_init__(self) -> None:
        if self.each is not None and self.item_id is None:
            raise TypeError("publish(each=...) needs item_id=..., the field that names an item")

    @property
    def ranking(self) -> Each | None:
        """Where a call has its items, and how they are ranked; None where a call has rows."""
        if self.each is None or self.item_id is None:
            return None
        return Each(self.each, self.item_id, self.order, self.max_items)


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
    if draft.providers is not None and not (draft.providers and _is_list(draft.providers)):
        raise _meaningless(draft, "providers", "it is a list of ONNX Runtime's names, as ['CUDAExecutionProvider']")
    for name, meaning in _LISTS.items():
        if not _is_list(getattr(draft, name)):
            raise _meaningless(draft, name, f"it is a list of {meaning}")
    if not _is_collection(draft.required):
        raise _meaningless(draft, "required", "it is a list of names of fields, such as ['carrier']")
    for pointer in draft.redact:
        _check_redacted(draft, pointer)
    if not isinstance(draft.files, Mapping | None):
        raise _meaningless(draft, "files", "it is a dict: name -> a Path, bytes, text or any object")
    if not isinstance(draft.steps, Mapping | None) or not _are_texts((draft.steps or {}).values()):
        raise _meaningless(draft, "steps", "it is a dict: name -> a version such as 'flight-delay@1.4.0'")
    if draft.each is not None:
        _check_ranking(draft, draft.each)


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


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and _are_texts(value)


def _is_collection(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and _are_texts(value)


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_ranking(draft: Draft, each: str) -> None:
    if not (isinstance(each, str) and each.startswith("/") and "/" not in each[1:] and each[1:]):
        raise _meaningless(draft, "each", "it points to a field of the call, such as '/items'")
    if not isinstance(draft.item_id, str):
        raise _meaningless(draft, "item_id", "it is the name of a field")
    if type(draft.max_items) is not int or draft.max_items < 1:
        raise _meaningless(draft, "max_items", "it is a whole number, at least 1")


def _meaningless(draft: Draft, name: str, reason: str) -> NotPublishable:
    return NotPublishable(kind=f"version with {name}={getattr(draft, name)!r}", reason=reason)
