"""What a log keeps beside personal parts, so that they can be found; and whether it is what those say."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cloche.values import Personal, is_erased

_personal = msgspec.msgpack.Decoder(Personal).decode


class Index(NamedTuple):
    """Columns of a log that repeat something of a personal part."""

    subject: str | None = None
    failed: bool = False
    """Whether the model's traceback is in it."""


_NOTHING = Index()


def index_of(personal: bytes) -> Index:
    """Return what is kept beside a personal part; of one that was erased or can't be read, nothing."""
    if is_erased(personal):
        return _NOTHING
    try:
        found = _personal(personal)
    except msgspec.DecodeError:
        return _NOTHING
    return Index(found.subject, found.failure is not None)


def agrees(found: Index, personal: bytes, held: Callable[[str], str] = str) -> bool:
    """Return whether what lies beside a personal part is what that says.

    Of one that was erased nobody is named; that the model failed stays.

    Args:
        found: what lies there.
        personal: the personal part.
        held: returns a subject as that store can hold it.
    """
    meant = index_of(personal)
    subject = None if meant.subject is None else held(meant.subject)
    return found.subject == subject and (found.failed == meant.failed or is_erased(personal))
