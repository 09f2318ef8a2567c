"""Calls in a worker: from JSON rows to JSON outputs, or to a failure that names the row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from math import isfinite
from typing import Any

from cloche.model import CallInfo, Refusal
from cloche.runtimes.worker.flavors.asking import Predict
from cloche.runtimes.worker.manifest import Each, Manifest
from cloche.runtimes.worker.outputs import InvalidValue, WrongCount, items_of, to_json_value
from cloche.runtimes.worker.precision import single_precision
from cloche.runtimes.worker.ranking import flatten, ranked
from cloche.runtimes.worker.table import Table, joined, read_table
from cloche.runtimes.worker.tracebacks import author_traceback, clean_text
from cloche.runtimes.worker.values import InvalidRow
from cloche.runtimes.worker.wire import LIMIT

_Row = dict[str, Any]

_Given = list[_Row] | Table
"""What a caller sent: rows, or of a ranking one call, which may be a table."""

Refusals = dict[str, dict[str, Any]]
"""Row (of a ranking: item) -> code, message and perhaps path."""

_LARGEST = LIMIT // 2
"""Bytes of outputs."""

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Answer:
    """What a call is answered: a JSON array with one item per row, null where the row was refused."""

    outputs: bytes
    refusals: Refusals


class Failed(Exception):
    """A call that the model could not answer."""

    def __init__(self, error: str, reason: str, traceback: str = "", row: int | None = None, pointer: str = "") -> None:
        super().__init__(reason)
        self.error = error
        self.reason = clean_text(reason)
        self.traceback = traceback
        self.row = row
        self.pointer = clean_text(pointer)

    def header(self) -> dict[str, Any]:
        """Return it as part of a message's header."""
        said = {"error": self.error, "reason": self.reason, "traceback": self.traceback, "row": self.row}
        return said | {"pointer": self.pointer}


def answer(predict: Predict, manifest: Manifest, payload: bytes, header: Mapping[str, Any]) -> Answer:
    """Answer one call.

    Args:
        predict: asks the model.
        manifest: how it is asked.
        payload: a JSON array of row objects; for a ranking, with the one call object.
        header: what the message says of the call: `many` (whether the caller sent a list) and `context`.

    Raises:
        Failed: the model raised, or what it returned is not valid.
    """
    read = partial(json.loads, payload)
    return _answer_alone(predict, manifest, _case(manifest, read(), header, read))


def answer_together(
    predict: Predict, manifest: Manifest, payload: bytes, headers: Sequence[Mapping[str, Any]], numbers: bytes = b""
) -> list[Answer | Failed]:
    """Answer calls of any callers in one batch; where the model raises, each alone, so that no call fails for another.

    Args:
        predict: asks the model.
        manifest: how it is asked.
        payload: a JSON array with the rows of all calls; for a ranking, with their call objects.
        headers: what the message says of each call: as for `answer`, with `rows`, and perhaps `columns`.
        numbers: of those calls that come by columns, one after the other.

    Raises:
        LookupError, TypeError, ValueError: this is no message with calls.
    """
    cases = _cases(manifest, payload, headers, numbers)
    if len(cases) > 1:
        together = _together([case.rows for case in cases])
        infos = [info for case in cases for info in case.infos]
        count = len(infos)
        try:
            items = items_of(predict(together, infos), count, scalars=manifest.answers == "number")
        except BaseException:  # noqa: BLE001  whose fault it is comes out when each is asked alone
            cases = _cases(manifest, payload, headers, numbers)
        else:
            shares = iter(items)
            return [_caught(_finish, manifest, case, list(islice(shares, len(case.rows)))) for case in cases]
    return [_caught(_answer_alone, predict, manifest, case) for case in cases]


@dataclass(frozen=True)
class _Case:
    """One call as the model is asked: for a ranking, a row per item."""

    rows: Sequence[_Row]
    infos: list[CallInfo]
    many: bool
    ids: Sequence[Any]
    """Of a ranking: what its items are called."""
    anew: Callable[[], Sequence[_Row]]
    """Makes the rows as they came: a model may have changed those that it was given."""
    first: int = 0
    """The position of the first row in its call."""

    def pointer(self, error: InvalidRow) -> str:
        """Return the JSON pointer into the call's body to what is wrong with the first row."""
        if self.ids:
            return "/input"  # an item and its context are one row, which is nowhere in the body
        return (f"/inputs/{self.first}" if self.many else "/input") + error.pointer


def _together(rows: Sequence[Sequence[_Row]]) -> Sequence[_Row]:
    """Return the rows of all calls: by columns where all of them are."""
    tables = [each for each in rows if isinstance(each, Table)]
    return joined(tables) if len(tables) == len(rows) else list(chain.from_iterable(rows))


def _cases(manifest: Manifest, payload: bytes, headers: Sequence[Mapping[str, Any]], numbers: bytes) -> list[_Case]:
    """Return the calls of a message, with rows that nobody has had yet."""
    cases = []
    for place, (given, header) in enumerate(zip(_read(payload, headers, numbers), headers, strict=True)):
        anew = partial(_read_one, payload, headers, numbers, place)
        cases.append(_case(manifest, given, header, anew))
    return cases


def _read_one(payload: bytes, headers: Sequence[Mapping[str, Any]], numbers: bytes, place: int) -> _Given:
    return _read(payload, headers, numbers)[place]


def _read(payload: bytes, headers: Sequence[Mapping[str, Any]], numbers: bytes) -> list[_Given]:
    """Read what the callers sent."""
    given = json.loads(payload)
    if len(given) != sum(header["rows"] for header in headers):
        raise ValueError(f"{len(given)} rows came")
    found: list[_Given] = []
    first = start = 0
    for header in headers:
        rows = given[first : first + header["rows"]]
        first += header["rows"]
        if columns := header.get("columns"):
            table, start = read_table(columns, rows[0], numbers, start)
            found.append(table)
        else:
            found.append(rows)
    return found


def _case(manifest: Manifest, given: _Given, header: Mapping[str, Any], read: Callable[[], _Given]) -> _Case:
    each, many = manifest.each, manifest.each is None and bool(header.get("many"))
    rows = _rows(manifest, given)
    infos = _infos(header.get("context") or {}, len(rows), many)
    return _Case(rows, infos, many, _ids(rows, each.item_id) if each else (), lambda: _rows(manifest, read()))


def _ids(rows: Sequence[_Row], item_id: str) -> Sequence[Any]:
    return rows.column(item_id) if isinstance(rows, Table) else [row.get(item_id) for row in rows]


def _rows(manifest: Manifest, given: _Given) -> Sequence[_Row]:
    """Return what the model is asked of what the caller sent: a table only where it takes frames or arrays."""
    if manifest.each is None:
        return given
    is_framed = manifest.takes in ("frame", "array")
    done = {manifest.each.item_id}
    if isinstance(given, Table):
        if is_framed:
            return given
        rows = list(given)
        done |= given.singles
    else:
        rows = flatten(given[0], manifest.each.path)
    narrow = [column.name for column in manifest.columns or () if column.float32 and column.name not in done]
    if narrow and not is_framed:
        _narrow(rows, narrow)
    return rows


def _answer_alone(predict: Predict, manifest: Manifest, case: _Case) -> Answer:
    return _finish(manifest, case, _ask(predict, case, manifest))


def _caught(step: Callable[..., Answer], *arguments: Any) -> Answer | Failed:
    try:
        return step(*arguments)
    except Failed as failed:
        return failed
    except Exception as error:  # noqa: BLE001  whatever went wrong with a call, the worker goes on
        return Failed("model_failed", type(error).__name__, author_traceback(error))


def _finish(manifest: Manifest, case: _Case, items: Sequence[Any]) -> Answer:
    """Return the items as JSON; of a ranking, in order."""
    outputs, refusals = _split(items, case.many or manifest.each is not None)
    if manifest.each is not None:
        outputs = [_ranked(manifest.each, case.ids, outputs, refusals)]
    encoded = _encode(outputs).encode()
    if len(encoded) > _LARGEST:
        raise Failed("invalid_output", f"the answer has {len(encoded)} bytes, and {_LARGEST} are the most")
    return Answer(encoded, refusals)


def _infos(context: Mapping[str, Any], rows: int, many: bool) -> list[CallInfo]:
    call, now_us = str(context.get("id", "")), int(context.get("now_us", 0))
    subject, parameters = context.get("subject"), context.get("parameters")
    if not many:
        return [CallInfo(call, now_us, subject, parameters)] * rows
    return [CallInfo(f"{call}.{row}", now_us, subject, parameters) for row in range(rows)]


def _ask(predict: Predict, case: _Case, manifest: Manifest) -> list[Any]:
    """Return one item per row; where the model raises, ask it row by row, so that the guilty one is known."""
    count = len(case.rows)
    if not count:
        return []
    alone = count == 1
    try:
        return items_of(predict(case.rows, case.infos), count, scalars=manifest.answers == "number")
    except WrongCount as wrong:
        raise Failed("model_failed", str(wrong)) from None
    except InvalidRow as error:
        if alone:
            raise Failed("invalid_input", str(error), row=0, pointer=case.pointer(error)) from None
    except Refusal as refusal:
        if alone:
            return [refusal]
    except BaseException as error:  # noqa: BLE001  a model's SystemExit is a failure of the call like any other
        if alone:
            raise Failed("model_failed", type(error).__name__, author_traceback(error), 0) from None
    items: list[Any] = []
    for position, (row, info) in enumerate(zip(case.anew(), case.infos, strict=True)):
        try:
            items += _ask(predict, replace(case, rows=[row], infos=[info], first=position), manifest)
        except Failed as failure:
            reason = f"row {position}: {failure.reason}"
            raise Failed(failure.error, reason, failure.traceback, position, failure.pointer) from None
    return items


def _split(items: Sequence[Any], many: bool) -> tuple[list[Any], Refusals]:
    """Return the outputs, and the refusals among them."""
    if set(map(type, items)) == {float} and all(map(isfinite, items)):
        return list(items), {}
    outputs: list[Any] = []
    refusals: Refusals = {}
    for row, item in enumerate(items):
        if isinstance(item, Refusal):
            said = {"code": item.code, "message": item.message, "path": item.path}
            refusals[str(row)] = {name: clean_text(str(text)) for name, text in said.items() if text is not None}
            outputs.append(None)
            continue
        try:
            outputs.append(to_json_value(item))
        except InvalidValue as invalid:
            reason = f"row {row}: {invalid}" if many else str(invalid)
            raise Failed("invalid_output", reason, row=row) from None
    return outputs, refusals


def _ranked(each: Each, ids: Sequence[Any], outputs: Sequence[Any], refusals: Refusals) -> list[Any]:
    """Return the items in the order of their scores. A refusal is of an item."""
    if set(map(type, outputs)) == {float}:
        return ranked(ids, outputs, each.item_id, each.order)
    scores = [None if str(row) in refusals else _score(output, row) for row, output in enumerate(outputs)]
    return ranked(ids, scores, each.item_id, each.order)


def _narrow(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Round fields to the single precision in which the model was promised them."""
    for name in names:
        for row, value in zip(rows, single_precision([row.get(name) for row in rows]), strict=True):
            row[name] = value


def _score(output: Any, row: int) -> float:
    """Return the number that an item is ordered by: of a classifier, the probability of the last class."""
    if isinstance(output, dict) and output.get("probabilities"):
        output = list(output["probabilities"].values())[-1]
    if isinstance(output, bool) or not isinstance(output, (int, float)):
        raise Failed("invalid_output", f"row {row}: the score of an item is no number", row=row)
    return output
