"""A record as something that can be asked again: what is left of the call, or why it can't be."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from cloche.errors import NewerFormat
from cloche.log.columns import is_packed, unpack
from cloche.log.contents import values_at
from cloche.log.reading import timestamp
from cloche.log.redaction import MARKER, Redaction
from cloche.log.subjects import PLAIN, Subjects
from cloche.registry.redaction import read_pointer
from cloche.values import Personal, Record, Tombstone, is_erased

Why = Literal[
    "erased",
    "record_changed",
    "newer_format",
    "redacted",
    "not_an_answer",
    "subject_hidden",
    "single_precision",
    "release_missing",
    "version_missing",
    "bundle_damaged",
    "not_trusted",
    "no_environment",
    "does_not_load",
]
"""Why an inference can't be asked again."""

IN_WORDS: Final[dict[str, str]] = {
    "erased": "what was asked was erased",
    "record_changed": "the record was changed after it was written",
    "newer_format": "a later Cloche wrote the record",
    "redacted": "something of what was asked was redacted",
}
"""What may be so of the record itself."""

_NO_ANSWERS: Final = {
    "schema_mismatch": "the row did not fit the schema, so the model was never asked",
    "deadline_exceeded": "it was not answered in time, which says nothing of the model",
    "overloaded": "too much else was asked at that moment, so the model was not",
    "worker_crashed": "its worker died, whatever the reason was at that moment",
    "worker_unavailable": "there was no worker at that moment",
}
_personal = msgspec.msgpack.Decoder(Personal).decode
_tombstone = msgspec.msgpack.Decoder(Tombstone).decode


class Hindrance(Exception):
    """An inference can't be asked again.

    Args:
        why: for programs.
        reason: a sentence.
    """

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why = why
        self.reason = reason


class Recorded(msgspec.Struct, frozen=True):
    """An inference that can be asked again."""

    record: Record
    personal: Personal
    payload: bytes
    """A JSON array with its rows as the model was given them; of a ranking, with the one call."""
    subjects: Subjects = PLAIN
    """How the record names subjects."""

    def about(self, subject: str, subjects: Subjects) -> Recorded:
        """Return it with the plain subject in every place of the HMAC, where it is an HMAC of that subject."""
        hidden = self.personal.subject or ""
        if hidden == subject or hidden != subjects.recorded(subject):
            return self
        plain = Redaction((), (hidden, subject))
        (parameters,) = plain.rows("parameters", [self.personal.parameters])
        rows = plain.rows("input", msgspec.json.decode(self.payload))
        personal = replace(self.personal, subject=subject, parameters=parameters)
        return Recorded(self.record, personal, msgspec.json.encode(rows), subjects)


def read(record: Record) -> Recorded:
    """Return an inference as it can be asked again.

    Raises:
        Hindrance: it can't: what was asked is not in the record, or not as it was.
    """
    if is_erased(record.personal):
        raise Hindrance("erased", _erased(record.personal))
    if hashlib.sha256(record.personal).digest() != record.personal_digest:
        reason = "The record was changed after it was written: what it says was asked and answered does not have the "
        raise Hindrance("record_changed", f"{reason}digest in its envelope. See: cloche log verify")
    try:
        personal = _personal(record.personal)
        asked = unpack(personal.input)
    except NewerFormat as error:
        raise Hindrance("newer_format", str(error)) from None
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        raise Hindrance("record_changed", "The record can't be read. See: cloche log verify") from None
    packed = is_packed(personal.input)
    rows = [asked] if packed else asked
    if left_out := _left_out(personal, rows):
        reason = f"What was asked is not all in the record: {', '.join(left_out)} was redacted before it was written."
        raise Hindrance("redacted", reason)
    text = msgspec.json.encode(rows) if packed else msgspec.msgpack.decode(personal.input, type=bytes)
    return Recorded(record, personal, text)


def check_answered(record: Record) -> None:
    """Check that an inference has an answer that says something of a model: an answer, a refusal, or its failure.

    Raises:
        Hindrance: it was ended by the circumstances of its moment.
    """
    if (said := _NO_ANSWERS.get(record.outcome)) is not None:
        raise Hindrance("not_an_answer", f"It ended with {record.outcome}: {said}.")


def _erased(personal: bytes) -> str:
    try:
        stone = _tombstone(personal)
    except msgspec.DecodeError:
        return "What was asked and answered is not in the record any more."
    when = timestamp(stone.time_us)
    return f"What was asked and answered was erased at {when} by {stone.by}: {stone.reason.rstrip('.')}."


def _left_out(personal: Personal, rows: list[object]) -> list[str]:
    """Return the pointers of what was left out of the question."""
    found = []
    given: dict[str, list[object]] = {"input": rows, "parameters": [personal.parameters]}
    for pointer in personal.redacted:
        part, path = read_pointer(pointer)
        if any(value == MARKER for row in given.get(part, []) for value in values_at(row, path)):
            found.append(pointer)
    return found
