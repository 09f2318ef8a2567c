"""Asking both forms of a model the same, as a gateway would: the original from its worker, the other one inline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from cloche.errors import CallError, InvalidOutput, ModelFailed, SchemaMismatch
from cloche.registry.bundle import Manifest
from cloche.runtimes.started import VersionProcess
from cloche.runtimes.worker import ranking
from cloche.schema import compile_schema
from cloche.values import NO_INFERENCE, Ask, CallContext, Prediction

Row = dict[str, Any]

TOGETHER: Final = 512
"""Rows that are asked as one call where only their answers matter."""

_ANSWER_S: Final = 300.0
_MOST_ROWS: Final = 1_000_000
_SAID_EVERY_S: Final = 1.0

Tell = Callable[[str], None]
"""Is told what is being done."""


class Answers(Protocol):
    """A form of a model that can be asked."""

    def answer(self, ask: Ask) -> Prediction:
        """Answer one call.

        Raises:
            ModelFailed, InvalidOutput, SchemaMismatch: it could not.
        """
        ...


class InWorker:
    """A version that is asked in its worker."""

    def __init__(self, process: VersionProcess) -> None:
        self._process = process

    def answer(self, ask: Ask) -> Prediction:
        """Answer one call."""
        return self._process.predict(ask.payload, ask.rows, ask.many, ask.context, _ANSWER_S)


class Unanswered(msgspec.Struct, frozen=True):
    """That a row has no answer: the model failed on it, or refused it."""

    refused: bool


class Asker:
    """Makes of rows what a runtime is asked, and of what it answers one answer per row.

    Args:
        manifest: of the version in the form that answers inline: it says whether rows go in as bare numbers.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._accept = compile_schema(
            manifest.input_schema,
            unknown_fields=manifest.unknown_fields,
            each=manifest.each,
            max_rows=_MOST_ROWS,
            names=(manifest.name, manifest.version),
            numbers=manifest.bare_numbers,
            single=manifest.singles,
        )

    def read(self, call: Row) -> Row | None:
        """Return a call as a gateway hands it on, or None where it does not fit the schema."""
        try:
            rows = self._accept.read(msgspec.json.encode({"input": call})).rows
        except (CallError, msgspec.MsgspecError, ValueError):
            return None
        read: Row = msgspec.json.decode(msgspec.json.encode(rows[0]))
        return read

    def ask(self, rows: Sequence[Row]) -> Ask:
        """Return one call of rows that fit the schema; of a ranking there is one."""
        many = len(rows) > 1
        body = {"inputs": rows} if many else {"input": rows[0]}
        checked = self._accept.read(msgspec.json.encode(body)).rows
        return Ask(
            given=msgspec.json.encode(checked),
            rows=len(rows),
            many=many,
            context=CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000),
            deadline_ms=round(_ANSWER_S * 1000),
            values=self._accept.numbers(checked),
            items=self._accept.items(checked),
        )

    def answers(
        self, form: Answers, rows: Sequence[Row], together: int = TOGETHER, tell: Tell | None = None
    ) -> list[Any]:
        """Return what a form answers to each row: JSON values, or `Unanswered`.

        Args:
            form: who is asked.
            rows: that fit the schema; of a ranking, calls.
            together: how many are asked at once.
            tell: is told once a second how many are answered.

        Raises:
            WorkerCrashed, DeadlineExceeded: it can't be asked any more.
        """
        size = 1 if self._manifest.each else together
        found: list[Any] = []
        said_at = time.monotonic()
        for first in range(0, len(rows), size):
            found += self._answers(form, rows[first : first + size])
            if tell is not None and time.monotonic() - said_at > _SAID_EVERY_S:
                said_at = time.monotonic()
                tell(f"{len(found):,} of {len(rows):,} answered")
        return found

    def _answers(self, form: Answers, rows: Sequence[Row]) -> list[Any]:
        """Ask all at once; where that fails, each half, down to the rows that it fails for."""
        try:
            found = form.answer(self.ask(rows))
        except (ModelFailed, InvalidOutput, SchemaMismatch):
            if len(rows) == 1:
                return [Unanswered(refused=False)]
            middle = len(rows) // 2
            return self._answers(form, rows[:middle]) + self._answers(form, rows[middle:])
        items: list[Any] = msgspec.json.decode(found.outputs)
        refused = () if self._manifest.each else found.refusals
        return [Unanswered(refused=True) if row in refused else item for row, item in enumerate(items)]

    def sized(self, calls: Sequence[Row], size: int, start: int = 0) -> Ask:
        """Return one call of `size` rows, or of a ranking of so many items: those that are given, over and over."""
        each = self._manifest.each
        if each is None:
            return self.ask([calls[(start + row) % len(calls)] for row in range(size)])
        name = ranking.list_name(each.path)
        items = [item for call in calls[: size + 1] for item in call[name]]
        chosen = [items[(start + row) % len(items)] for row in range(size)]
        return self.ask([{**calls[start % len(calls)], name: chosen}])

    def size_of(self, rows: Sequence[Row]) -> int:
        """Return how many rows a call has; of a ranking, how many items."""
        each = self._manifest.each
        return len(rows) if each is None else len(rows[0][ranking.list_name(each.path)])
