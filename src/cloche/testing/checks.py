"""What every model should be able to do, whatever it predicts: one function a check."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple, TypeAlias

from cloche.authoring.outcomes import Outcome
from cloche.errors import CallError, ClocheError, InvalidOutput, PoisonInput, ServingError, WorkerCrashed
from cloche.runtimes.worker.ranking import list_name
from cloche.testing.report import Verdict
from cloche.testing.subject import Call, Subject, Told
from cloche.testing.variants import (
    UNKNOWN,
    UNSEEN,
    Place,
    odd,
    places,
    pointer,
    shuffled,
    value_at,
    with_value,
    without,
)

_CODE = re.compile(r"[a-z][a-z0-9_]*")
_MOST_SAID = 5
_BATCHES = (2, 3, 7)

_DEPENDS = (
    "Its answer depends on something besides the row: the clock, a counter, a random number, another row. Take that "
    "from the row, or from the CallInfo that predict(rows, infos) is given; or publish with golden='schema'."
)


class Found(NamedTuple):
    """What a check has found."""

    verdict: Verdict
    said: str
    todo: str | None = None


Check: TypeAlias = Callable[[Subject], Found]


def _compares(check: Check) -> Check:
    """Skip a check that compares answers, where the model is random, or answers no example."""

    @wraps(check)
    def compared(subject: Subject) -> Found:
        if subject.is_random:
            return Found("skip", "its answers are random (golden='schema'), so that no two can be compared")
        return check(subject) if subject.sound else Found("skip", "no example is answered")

    return compared


def golden_cases(subject: Subject) -> Found:
    """The golden cases are answered as the author's object answered them."""
    cases = subject.golden
    if not cases:
        return Found("skip", "it has none")
    wrong = []
    for position, case in enumerate(cases):
        told = subject.ask(case.input)
        expected = Outcome(case.output, case.refusal)
        said = why(told) if isinstance(told, ClocheError) else subject.differs(expected, told)
        wrong += [f"case {position}: {said}"] if said else []
    todo = "Its packages, its files or this machine differ from those it was published with. " + _DEPENDS
    how = "in the form that they had" if subject.is_random else "as they were"
    return _judged(wrong, f"{len(cases)} are answered {how} when it was published", todo)


def one_row(subject: Subject) -> Found:
    """Each example is answered when it comes alone."""
    wrong = _failures(subject.alone)
    said = f"each of {len(subject.calls)} examples is answered, or refused"
    return _judged(wrong, said, "Answer such a row, or decline it with a Refusal.")


def empty_input(subject: Subject) -> Found:
    """A call without rows, and a row without fields, are refused or answered."""
    if subject.manifest.each is not None:
        call = {**subject.calls[0], list_name(subject.manifest.each.path): []}
        told = subject.ask(call)
        if isinstance(told, ServingError) or (isinstance(told, Outcome) and told.output != []):
            said = why(told) if isinstance(told, ClocheError) else told.shown()
            return Found("fail", f"without items: {said}", "Answer a call without items with an empty list.")
        return Found("pass", "a call without items is answered by an empty list, or refused by the schema")
    none = subject.ask_together([])
    if not isinstance(none, CallError):
        return Found("fail", "a call without rows is not refused", "Report this: Cloche itself should refuse it.")
    told = subject.ask({})
    if isinstance(told, ServingError):
        return Found("fail", f"a row without fields: {why(told)}", "Name the fields it needs as `required` in schema=.")
    return Found("pass", "a call without rows is refused, and a row without fields is refused or answered")


def one_answer_per_row(subject: Subject) -> Found:
    """There are as many answers as rows, or items."""
    each = subject.manifest.each
    wrong = []
    if each is not None:
        counts = [(len(told.output), len(call[list_name(each.path)])) for call, told in subject.sound]
        wrong = [f"{found} answers to {wanted} items" for found, wanted in counts if found != wanted]
        return _judged(wrong, "every item is in the answer", "Give one score per row, in the order of the rows.")
    for count in sorted({1, *_BATCHES, len(subject.calls)}):
        rows = [subject.calls[row % len(subject.calls)] for row in range(count)]
        found = subject.ask_together(rows)
        if isinstance(found, ClocheError):
            wrong.append(f"{count} rows: {why(found)}")
        elif len(found) != count:
            wrong.append(f"{count} rows: {len(found)} answers")
    return _judged(wrong, "calls of several sizes get as many answers", "Return a list with one item per row.")


@_compares
def batch_equals_single(subject: Subject) -> Found:
    """A row is answered the same alone and among others."""
    if subject.manifest.each is not None:
        return Found("skip", "a ranking is asked one call at a time")
    calls = [call for call, _ in subject.sound]
    found = subject.ask_together(calls)
    if isinstance(found, ClocheError):
        return Found("fail", f"together: {why(found)}", "Answer each row for itself, whatever else is in the batch.")
    wrong = _differences(subject, [expected for _, expected in subject.sound], found)
    todo = "Something is computed over the batch (a mean, a rank, a fit): compute it in training, and keep it."
    return _judged(wrong, f"{len(calls)} rows get together what each gets alone", todo)


@_compares
def repeatable(subject: Subject) -> Found:
    """The same row, asked again, gets the same answer."""
    sound = subject.sound[::-1]
    wrong = _differences(subject, [expected for _, expected in sound], [subject.ask(call) for call, _ in sound])
    return _judged(wrong, f"{len(sound)} rows get the same answer twice", _DEPENDS)


@_compares
def shuffled_keys(subject: Subject) -> Found:
    """The order of a row's fields does not matter."""
    told = subject.ask_at_once([shuffled(call) for call, _ in subject.sound])
    wrong = _differences(subject, [expected for _, expected in subject.sound], told)
    todo = "Take the fields by name: list(row.values()) depends on the caller. takes='frame' keeps the order for you."
    return _judged(wrong, "rows get the same answer with their fields in the opposite order", todo)


def missing_fields(subject: Subject) -> Found:
    """A row without one of its fields is refused by the schema, or answered."""
    todo = "Name such fields as `required` in schema=, or answer a row without them (row.get), or decline it."
    return _each_field(subject, "without {}", without, todo)


def null_where_allowed(subject: Subject) -> Found:
    """Where the schema takes null, the model does."""
    todo = "Give training= without missing values there, or a schema= that takes no null; or handle None."
    return _each_field(subject, "with {} null", lambda call, place: with_value(call, place, None), todo)


def unseen_text(subject: Subject) -> Found:
    """A text that training did not have is answered or refused."""

    def changed(call: Call, place: Place) -> Call | None:
        return with_value(call, place, UNSEEN) if isinstance(value_at(call, place), str) else None

    todo = "Decline it with a Refusal, or encode it as unknown: OneHotEncoder(handle_unknown='ignore')."
    return _each_field(subject, f"with {{}} = {UNSEEN!r}", changed, todo)


def extra_fields(subject: Subject) -> Found:
    """A field that nobody knows is refused by the schema, or changes nothing."""
    if not subject.sound:
        return Found("skip", "no example is answered")
    call, expected = subject.sound[0]
    told = subject.ask({**call, UNKNOWN: 1})
    if isinstance(told, CallError):
        return Found("pass", "refused, and the field is named")
    todo = "Take the fields that the model knows by name; or let the schema refuse others: unknown_fields='refuse'."
    if isinstance(told, ClocheError):
        return Found("fail", f"with a field more: {why(told)}", todo)
    differs = None if subject.is_random else subject.differs(expected, told)
    return Found("fail", f"with a field more: {differs}", todo) if differs else Found("pass", "ignored")


def finite_answers(subject: Subject) -> Found:
    """Answers are JSON, without NaN and infinity."""
    wrong = [f"example {row}: {why(told)}" for row, told in enumerate(subject.alone) if isinstance(told, InvalidOutput)]
    return _judged(
        wrong, "all answers are JSON, and finite", "Decline with a Refusal where there is no number to give."
    )


def input_unchanged(subject: Subject) -> Found:
    """The model leaves the rows that it is given as they are."""
    if not subject.manifest.runs_code or subject.manifest.takes not in ("rows", "row"):
        return Found("skip", "it is given a frame or an array that is built anew for each batch")
    if subject.manifest.steps:
        return Found("skip", "it is given rows that are built anew of the answers of its steps")
    try:
        changed = subject.changed()
    except ClocheError as error:
        return Found("skip", f"it could not be found out: {why(error)}")
    wrong = [f"example {position} is another one after it was asked" for position in changed]
    todo = "Copy a row before changing it: row = {**row, ...}. What comes after the model reads the same row."
    return _judged(wrong, "the rows are the same after it was asked", todo)


@_compares
def no_neighbor(subject: Subject) -> Found:
    """What others ask at the same moment changes nothing."""
    strange = _strange_calls(subject)
    if not strange:
        return Found("skip", "no example can be changed into another call that is taken")
    calls = [each for call, _ in subject.sound for each in (*strange, call)]
    told = subject.ask_at_once(calls)[len(strange) :: len(strange) + 1]
    wrong = _differences(subject, [expected for _, expected in subject.sound], told)
    if subject.manifest.each is None and not wrong:
        wrong = _beside(subject, strange[0])
    todo = "A row has an influence on others of its batch: answer each row from its own fields alone."
    return _judged(wrong, "rows beside strange ones get what they get alone", todo)


def refusals(subject: Subject) -> Found:
    """Refusals have a code for programs, a message for people, and a path that leads somewhere."""
    if not subject.refusals:
        return Found("skip", "nothing was refused; give an example that is")
    wrong = [said for call, refusal in subject.refusals for said in _malformed(call, refusal)]
    todo = 'Write Refusal("unknown_vehicle", "We do not price that yet", path="/vehicle").'
    return _judged(list(dict.fromkeys(wrong)), f"{len(subject.refusals)} refusals are well formed", todo)


CHECKS: Final[Mapping[str, Check]] = {
    "golden cases": golden_cases,
    "one row": one_row,
    "empty input": empty_input,
    "one answer per row": one_answer_per_row,
    "batch equals single": batch_equals_single,
    "repeatable": repeatable,
    "shuffled keys": shuffled_keys,
    "missing fields": missing_fields,
    "extra fields": extra_fields,
    "null where allowed": null_where_allowed,
    "unseen text": unseen_text,
    "finite answers": finite_answers,
    "input unchanged": input_unchanged,
    "no neighbor": no_neighbor,
    "refusals": refusals,
}
"""Every check by its name, in the order in which they are made: `refusals` looks at all that came before."""


def why(error: ClocheError) -> str:
    """Return in a line why a call failed, for the model's author."""
    private = error.private if isinstance(error, ServingError) else {}
    if isinstance(error, InvalidOutput):
        return str(error.details["reason"])
    said = (private.get("traceback") or private.get("reason") or str(error)).rstrip()
    return str(said).rsplit("\n", maxsplit=1)[-1]


def _judged(wrong: Sequence[str], right: str, todo: str) -> Found:
    if not wrong:
        return Found("pass", right)
    more = [f"and {len(wrong) - _MOST_SAID} more"] if len(wrong) > _MOST_SAID else []
    return Found("fail", "\n".join([*wrong[:_MOST_SAID], *more]), todo)


def _failures(told: Sequence[Told]) -> list[str]:
    return [f"example {row}: {why(each)}" for row, each in enumerate(told) if isinstance(each, ClocheError)]


def _differences(subject: Subject, expected: Sequence[Outcome], found: Sequence[Told]) -> list[str]:
    wrong = []
    for wanted, told in zip(expected, found, strict=True):
        said = why(told) if isinstance(told, ClocheError) else subject.differs(wanted, told)
        wrong += [said] if said else []
    return wrong


def _each_field(subject: Subject, words: str, change: Callable[[Call, Place], Call | None], todo: str) -> Found:
    """Change the fields of an example one by one: what the schema lets through must be answered."""
    if not subject.sound:
        return Found("skip", "no example is answered")
    call, _ = subject.sound[0]
    made = [(place, change(call, place)) for place in places(call, subject.manifest.each)]
    asked = [(place, changed) for place, changed in made if changed is not None]
    told = subject.ask_at_once([changed for _, changed in asked])
    wrong = [
        f"{words.format(pointer(place))}: {why(each)}"
        for (place, _), each in zip(asked, told, strict=True)
        if isinstance(each, ServingError)
    ]
    taken = sum(isinstance(each, Outcome) for each in told)
    fields = "1 field" if len(asked) == 1 else f"{len(asked)} fields"
    said = f"{fields}: {taken} times answered, {len(asked) - taken} times refused by the schema"
    return _judged(wrong, said, todo) if asked else Found("skip", "no field is like that")


def _strange_calls(subject: Subject) -> list[Call]:
    """Return calls that the schema takes, that are unlike the examples, and that the worker survives."""
    call, _ = subject.sound[0]
    each = subject.manifest.each
    far, empty = call, call
    for place, value in odd(call, each):
        far = changed if subject.accepts(changed := with_value(far, place, value)) else far
    for place in places(call, each):
        empty = changed if subject.accepts(changed := with_value(empty, place, None)) else empty
    strange = [made for made in (far, empty) if made != call]
    return [made for made in strange if not isinstance(subject.ask(made), WorkerCrashed | PoisonInput)]


def _beside(subject: Subject, strange: Call) -> list[str]:
    """Compare rows of one call that has a strange row, too; where that fails by itself, so may the call."""
    if isinstance(subject.ask(strange), ClocheError):
        return []
    found = subject.ask_together([strange, *(call for call, _ in subject.sound)])
    if isinstance(found, ClocheError):
        return [why(found)]
    return _differences(subject, [expected for _, expected in subject.sound], found[1:])


def _malformed(call: Call, refusal: Mapping[str, Any]) -> list[str]:
    code, message, path = (str(refusal.get(name, "")) for name in ("code", "message", "path"))
    wrong = []
    if not _CODE.fullmatch(code):
        wrong.append(f"the code {code!r} is no snake_case word")
    if not message.strip():
        wrong.append(f"the refusal {code} has no message")
    if path and (not path.startswith("/") or path.split("/")[1] not in call):
        wrong.append(f"the path {path!r} of {code} leads to no field of the call")
    return wrong
