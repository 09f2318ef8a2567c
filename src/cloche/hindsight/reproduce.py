"""Reproducing an inference: the recorded version is given the recorded rows again, and the two answers are compared."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final, Literal

import msgspec

from cloche.authoring.outcomes import close_to
from cloche.hindsight.asking import ask_the_same
from cloche.hindsight.loading import Loader
from cloche.hindsight.recorded import Hindrance, Why, check_answered, read
from cloche.insight.answers import PlaceDifference, differences
from cloche.insight.observe import ANSWERED
from cloche.log.reading import timestamp, to_json
from cloche.log.sealing import fits_its_seals
from cloche.log.subjects import PREFIX, Subjects
from cloche.ports import LogReader
from cloche.values import Record

_ANSWER = ("outcome", "output", "outputs", "refusal", "refusals")
_ADDRESS: Final = re.compile(r"\b0x[0-9a-f]{4,}\b")
"""Of an object: of that process alone."""
_LAST_DIGITS: Final = 1e-9
_NOT_AS_SEALED: Final = (
    "The record was changed after it was written: it is not what its seal in the log says. See: cloche log verify"
)


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking again."""

    id: str
    time: str
    model: str
    version: str
    digest: str
    answered_by: str | None
    """The member of the fallback chain that answered, where one did."""
    verdict: Literal["same", "different", "impossible"]
    places: list[PlaceDifference] = []
    """Where the answers differ: JSON pointers into the record as `cloche log show --json` has it."""
    why: Why | None = None
    """Why it is impossible, in a word."""
    reason: str | None = None
    """The same as a sentence."""
    notes: list[str] = []
    """What one should know of the verdict."""


async def reproduce(
    record: Record,
    loader: Loader,
    rtol: float = 0.0,
    about: tuple[str, Subjects] | None = None,
    log: LogReader | None = None,
) -> Reproduction:
    """Ask again what was asked, of the version that answered, with all that it was given; return how that compares.

    Args:
        record: of any kind.
        loader: loads the version.
        rtol: how far two numbers may be apart that count as the same, relative to the larger one; 0 for not at all.
        about: the plain subject, and how records name subjects: for a record that has an HMAC of it.
        log: where the record is from, for what its seals say.

    Raises:
        StoreUnavailable, OSError: the registry can't be read now.
        LogError: nor can the log.
    """
    try:
        if log is not None and await fits_its_seals(log, record) is False:
            raise Hindrance("record_changed", _NOT_AS_SEALED)
        recorded = read(record) if about is None else read(record).about(*about)
        check_answered(record)
        past = await loader.past(record)
        found = await ask_the_same(recorded, past.loaded, past.member)
        places = list(differences(answer_of(record), answer_of(found), close_to(rtol, 0.0)))
        if places and (recorded.personal.subject or "").startswith(PREFIX):
            reason = "The answer differs, and the log has an HMAC of the subject that the model was given: name it."
            raise Hindrance("subject_hidden", reason)
    except Hindrance as hindrance:
        return _told(record, verdict="impossible", why=hindrance.why, reason=hindrance.reason)
    notes = list(_notes(places, recorded.personal.redacted))
    return _told(record, verdict="different" if places else "same", places=places, notes=notes)


def answer_of(record: Record) -> dict[str, Any]:
    """Return what a record says was answered, as far as it has to come out again."""
    said = to_json(record)
    answer = {name: said[name] for name in _ANSWER if said.get(name) is not None}
    if record.outcome not in ANSWERED:
        answer["exception"] = exception_in(said.get("traceback") or "")
    return answer


def exception_in(traceback: str) -> str:
    """Return the exception at the end of a traceback: its type and message; or all of a text that is no traceback."""
    lines = traceback.rstrip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    last = frames[-1] + 1 if frames else 0
    while frames and last < len(lines) and lines[last].startswith("    "):
        last += 1
    return _ADDRESS.sub("0x…", "\n".join(lines[last:]))


def _notes(places: list[PlaceDifference], redacted: tuple[str, ...]) -> list[str]:
    notes = []
    if any(pointer.startswith("/output") for pointer in redacted):
        notes.append("What was redacted from the answer could not be compared.")
    alike = close_to(_LAST_DIGITS, 0.0)
    if places and all(alike(place.before, place.after) for place in places):
        notes.append(
            f"They differ in the last digits alone (--rtol {_LAST_DIGITS:g} takes them as the same): libraries add up "
            "in another order where rows of other callers are in the same batch, or where the processor is another."
        )
    return notes


def _told(record: Record, **said: Any) -> Reproduction:
    return Reproduction(
        id=str(uuid.UUID(bytes=record.id)),
        time=timestamp(record.time_us),
        model=record.model,
        version=record.version,
        digest=record.digest,
        answered_by=record.answered_by,
        **said,
    )
