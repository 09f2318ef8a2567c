"""Ensembles: a call's rows go to other versions first, the steps, and their answers become one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from cloche.errors import ClocheError, InvalidOutput, ModelFailed, SchemaMismatch
from cloche.registry.bundle import Manifest
from cloche.runtimes.runtime import Runtime, State
from cloche.runtimes.worker.outputs import json_key
from cloche.schema import Accept
from cloche.values import Ask, Prediction

MEAN = "mean"
ROW = "row"
"""The field under which a row of an ensemble has the caller's row."""

Row: TypeAlias = dict[str, msgspec.Raw]


class Asked(msgspec.Struct, frozen=True, eq=False):
    """A step, and what reads the rows that it is asked."""

    name: str
    manifest: Manifest
    accept: Accept

    @property
    def label(self) -> str:
        """The step as messages name it."""
        return f"{self.name} ({self.manifest.name} {self.manifest.version})"

    def ask(self, rows: Sequence[Row], ask: Ask, names: tuple[str, str]) -> Ask:
        """Return what the step is asked: the fields that it knows of the rows, held to its schema.

        Raises:
            SchemaMismatch: they do not fit; said of the ensemble, whose names are given, and of the caller's fields.
        """
        if self.accept.schema.get("additionalProperties") is False:
            known = self.accept.schema.get("properties", {})
            rows = [{field: value for field, value in row.items() if field in known} for row in rows]
        try:
            checked = self.accept.read(msgspec.json.encode({"inputs": rows})).rows
        except SchemaMismatch as error:
            faults = [_as_sent(fault, self.label, ask.many) for fault in error.faults]
            raise SchemaMismatch(model=names[0], version=names[1], faults=faults) from None
        numbers = self.accept.numbers(checked)
        return msgspec.structs.replace(ask, given=msgspec.json.encode(checked), values=numbers, items=None)

    def failure(self, error: ClocheError, inference: str) -> ClocheError:
        """Return a failure of the step as one of the ensemble, which says which step it was."""
        if isinstance(error, InvalidOutput):
            reason = f"step {self.label}: {error.details['reason']}"
            return InvalidOutput(id=inference, reason=reason, private={**error.private, "reason": reason})
        if isinstance(error, ModelFailed):
            private = error.private
            told = private.get("traceback") or private.get("reason") or "it says nothing more"
            return ModelFailed(id=inference, private={**private, "traceback": f"The step {self.label} failed.\n{told}"})
        return error  # it names the version that was too busy, late or gone


class Step(Asked, frozen=True, eq=False):
    """A step that can be asked."""

    runtime: Runtime


def _as_sent(fault: Mapping[str, str], label: str, many: bool) -> dict[str, str]:
    """Return a fault of a step's row as one of the row that the caller sent."""
    pointer = fault["pointer"] if many else fault["pointer"].replace("/inputs/0", "/input", 1)
    return {**fault, "pointer": pointer, "message": f"{fault['message']} (step {label})"}


def rows_of(ask: Ask) -> list[Row]:
    """Return the rows of a call, each field as it was sent."""
    return msgspec.json.decode(ask.payload, type=list[Row])


def joined(rows: Sequence[Row], answers: Mapping[str, Prediction]) -> bytes:
    """Return the rows that what combines the answers is asked, as a JSON array.

    A row is `{"row": {…}}` with each step's answer, or `{"refusal": {…}}`, under its name.
    """
    columns = {name: _items(found) for name, found in answers.items()}
    together = [
        {ROW: row} | {name: column[position] for name, column in columns.items()} for position, row in enumerate(rows)
    ]
    return msgspec.json.encode(together)


def printed_by(answers: Mapping[str, Prediction]) -> str:
    """Return what the steps printed, each after its name."""
    return "".join(f"{name}: {found.printed}" for name, found in answers.items() if found.printed)


def _items(found: Prediction) -> list[msgspec.Raw]:
    items = msgspec.json.decode(found.outputs, type=list[msgspec.Raw])
    for row, refusal in found.refusals.items():
        items[row] = msgspec.Raw(msgspec.json.encode({"refusal": refusal}))
    return items


def combined(manifest: Manifest, answers: Mapping[str, Prediction], inference: str) -> Prediction:
    """Return what an ensemble without code answers: one step's answer, or the mean of all.

    A row that a step refuses is refused, with the refusal of the first such step. The mean of labels is that of their
    probabilities, with the label that has most.

    Args:
        manifest: of the ensemble.
        answers: of the steps, by their names.
        inference: the id of the call, for messages.

    Raises:
        InvalidOutput: there is no mean of the answers.
    """
    if manifest.combine != MEAN:
        return answers[manifest.combine or ""]
    columns = {name: msgspec.json.decode(found.outputs) for name, found in answers.items()}
    refusals: dict[int, msgspec.Raw] = {}
    for found in answers.values():
        refusals = found.refusals | refusals
    outputs: list[Any] = []
    for row, items in enumerate(zip(*columns.values(), strict=True)):
        try:
            outputs.append(None if row in refusals else _mean(items, manifest.classes or []))
        except (TypeError, KeyError):
            reason = f"row {row}: the steps' answers have no mean: {msgspec.json.encode(items).decode()[:200]}"
            raise InvalidOutput(id=inference, reason=reason, private={"reason": reason}) from None
    return Prediction(msgspec.json.encode(outputs), refusals)


def _mean(items: Sequence[Any], classes: Sequence[Any]) -> Any:
    if not isinstance(items[0], dict):
        return sum(map(_number, items)) / len(items)
    shares = {
        key: sum(_number(item["probabilities"][key]) for item in items) / len(items)
        for key in items[0]["probabilities"]
    }
    best = max(shares, key=lambda key: shares[key])
    return {"label": {json_key(label): label for label in classes}[best], "probabilities": shares}


def _number(item: Any) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise TypeError(item)
    return item


class EnsembleRuntime:
    """Asks the steps at once, and then what combines their answers.

    The steps belong to who gave them: others may ask them too, and closing this does not close them.

    Args:
        manifest: of the ensemble.
        steps: by the order in which they are named.
        combine: what combines the answers; None where the manifest's `combine` says how.
    """

    def __init__(self, manifest: Manifest, steps: Sequence[Step], combine: Runtime | None) -> None:
        self._manifest = manifest
        self._steps = steps
        self._combine = combine
        self._in_flight = 0
        self._answered = asyncio.Event()

    @property
    def _parts(self) -> list[Runtime]:
        return [step.runtime for step in self._steps] + ([self._combine] if self._combine else [])

    @property
    def state(self) -> State:
        """Ready when all of its parts are; else the state of the first that is not."""
        return next((part.state for part in self._parts if part.state != "ready"), "ready")

    @property
    def busy(self) -> bool:
        """Whether a part is at work."""
        return any(part.busy for part in self._parts)

    @property
    def waiting(self) -> int:
        """Calls that wait for the part that most wait for."""
        return max(part.waiting for part in self._parts)

    async def wait_ready(self) -> None:
        """Return once all parts can answer."""
        for part in self._parts:
            await part.wait_ready()

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock)."""
        self._in_flight += 1
        try:
            return await self._answer(ask, deadline)
        finally:
            self._in_flight -= 1
            self._answered.set()

    async def _answer(self, ask: Ask, deadline: float) -> Prediction:
        rows = rows_of(ask)
        answers = await self._ask_steps(rows, ask, deadline)
        if self._combine is None:
            found = combined(self._manifest, answers, ask.context.id)
        else:
            question = msgspec.structs.replace(ask, given=joined(rows, answers), values=None, items=None)
            found = await self._combine.predict(question, deadline)
        return msgspec.structs.replace(found, printed=printed_by(answers) + found.printed)

    async def _ask_steps(self, rows: Sequence[Row], ask: Ask, deadline: float) -> dict[str, Prediction]:
        names = (self._manifest.name, self._manifest.version)
        asks = [step.ask(rows, ask, names) for step in self._steps]
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(step.runtime.predict(its, deadline)) for step, its in zip(self._steps, asks, strict=True)
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for step, task in zip(self._steps, tasks, strict=True):
                error = task.exception() if task.done() else None
                if isinstance(error, ClocheError):
                    raise step.failure(error, ask.context.id)
            return {step.name: await task for step, task in zip(self._steps, tasks, strict=True)}
        finally:
            for task in tasks:
                task.cancel()
                task.add_done_callback(_seen)

    async def close(self) -> None:
        """Let the calls in flight end, then let go of what combines."""
        while self._in_flight:
            self._answered.clear()
            await self._answered.wait()
        if self._combine is not None:
            await self._combine.close()


def _seen(task: asyncio.Task[Prediction]) -> None:
    """Look at what came of a question that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
