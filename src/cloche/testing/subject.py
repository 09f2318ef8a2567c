"""One version under examination, asked as its callers ask it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from cloche.authoring.outcomes import Alike, Outcome, close_to, difference, same_type
from cloche.errors import CallError, ClocheError, WorkerCrashed, WorkerUnavailable
from cloche.insight.preflight import GoldenCase
from cloche.registry.bundle import Manifest, encode_manifest
from cloche.registry.cache import write_bundle
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.copies import Copy
from cloche.runtimes.process import WorkerProcess
from cloche.schema import compile_schema
from cloche.testing.running import Running
from cloche.values import NO_INFERENCE, CallContext, Request

Told: TypeAlias = Outcome | ClocheError
"""What came of a call."""

Call: TypeAlias = dict[str, Any]
"""A row; for a ranking, a call with its list of items."""

CALL_MS: Final = 60_000
"""How long one call may take while it is examined."""

MOST_CALLS: Final = 50
"""How many examples are asked."""

_WATCHER: Final = "cloche.testing.watching:changed_calls"
_RTOL, _ATOL = 1e-5, 1e-8
_RESTART_S = 20.0
"""How long a worker that died may take to come back."""

_LOOK_S = 0.05


class Subject:
    """A version that answers, and nothing else does beside it.

    Args:
        running: what answers; the version is pinned there.
        copy: what it is started from on this host.
        calls: what to ask it with.
    """

    def __init__(self, running: Running, copy: Copy, calls: Sequence[Call]) -> None:
        manifest = self.manifest = copy.manifest
        self.calls = list(calls[:MOST_CALLS])
        self.refusals: list[tuple[Call, Mapping[str, Any]]] = []
        """Every refusal so far, with the call that it answers."""
        self._running = running
        self._copy = copy
        self._accept = compile_schema(manifest.input_schema, unknown_fields=manifest.unknown_fields, each=manifest.each)

    @property
    def is_random(self) -> bool:
        """Whether its author said that its answers are."""
        return self.manifest.golden is not None and self.manifest.golden.mode == "schema"

    @property
    def alike(self) -> Alike:
        """What tells whether two numbers are the same answer."""
        golden = self.manifest.golden
        if golden is None:
            return close_to(_RTOL, _ATOL)
        return same_type if self.is_random else close_to(golden.rtol, golden.atol)

    @cached_property
    def golden(self) -> list[GoldenCase]:
        """Its golden cases."""
        if self.manifest.golden is None:
            return []
        lines = (self._copy.folder / self.manifest.golden.file.path).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=GoldenCase) for line in lines]

    @cached_property
    def alone(self) -> list[Told]:
        """What each of the calls is answered when it comes alone."""
        return [self.ask(call) for call in self.calls]

    @property
    def sound(self) -> list[tuple[Call, Outcome]]:
        """The calls that are answered, with their answers; those with no refusal first."""
        answered = [
            (call, told) for call, told in zip(self.calls, self.alone, strict=True) if isinstance(told, Outcome)
        ]
        return sorted(answered, key=lambda pair: pair[1].refusal is not None)

    def accepts(self, call: Call) -> bool:
        """Tell whether the schema takes a call. The model is not asked."""
        try:
            self._accept.read(msgspec.json.encode({"input": call}))
        except CallError:
            return False
        return True

    def ask(self, call: Call) -> Told:
        """Ask one call, and wait for its answer."""
        return self._running.wait(self._told(call))

    def ask_at_once(self, calls: Sequence[Call]) -> list[Told]:
        """Ask calls as if each came from another caller at the same moment: what waits goes to the model together.

        Where the worker dies of one, all that it had are asked once more, alone: so the guilty one is known.
        """

        async def all_told() -> list[Told]:
            told = await asyncio.gather(*map(self._told, calls))
            return [
                await self._told(call) if isinstance(each, WorkerCrashed) else each
                for call, each in zip(calls, told, strict=True)
            ]

        return self._running.wait(all_told())

    def ask_together(self, calls: Sequence[Call]) -> list[Outcome] | ClocheError:
        """Ask rows as one call with many."""
        try:
            answer = self._running.wait(self._answer({"inputs": calls}))
        except ClocheError as error:
            return error
        refusals = {each["row"]: each for each in answer.get("refusals", [])}
        return [Outcome(output, refusals.get(row)) for row, output in enumerate(answer["outputs"])]

    def differs(self, expected: Outcome, found: Outcome) -> str | None:
        """Return what is different, for a person, or None where it is the same answer."""
        pointer = difference(expected, found, self.alike)
        if pointer is None:
            return None
        place = f" (first at {pointer})" if pointer else ""
        return f"{expected.shown()} expected, {found.shown()} found{place}"

    def changed(self) -> list[int]:
        """Return the positions of the calls whose rows the model changes.

        Raises:
            ClocheError: it could not be found out.
        """
        made = self.manifest
        watcher = Manifest(
            *(made.format, made.name, made.version, "heuristic", [], _WATCHER, {}, made.provenance, made.environment),
            takes="row",
        )
        asked = [{"bundle": str(self._copy.folder), "calls": self.calls}]
        context = CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)
        with tempfile.TemporaryDirectory(prefix="cloche-check-") as scratch:
            confinement = confinement_of(self._running.settings.workers)
            bundle = Path(scratch) / "bundle"
            write_bundle(bundle, encode_manifest(watcher), {})
            with WorkerProcess.start(bundle, python=self._copy.python, confinement=confinement) as worker:
                worker.wait_loaded(CALL_MS / 1000)
                found = worker.predict(msgspec.json.encode(asked), 1, False, context, CALL_MS / 1000)
        changed: list[int] = msgspec.json.decode(found.outputs)[0]["changed"]
        return changed

    async def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a call; where its worker has just died, wait for the next one."""
        request = Request(self.manifest.name, msgspec.json.encode(body), deadline_ms=CALL_MS)
        patience = time.monotonic() + _RESTART_S
        while True:
            try:
                return await self._running.answering.answer(request)
            except WorkerUnavailable:
                if time.monotonic() > patience:
                    raise
                await asyncio.sleep(_LOOK_S)

    async def _told(self, call: Call) -> Told:
        try:
            answer = await self._answer({"input": call})
        except ClocheError as error:
            return error
        refusal = answer.get("refusal")
        self.refusals += [(call, each) for each in [refusal, *answer.get("refusals", [])] if each]
        return Outcome(answer["output"], refusal)
