"""A version that somebody starts to wait for its answers: in one worker, for an ensemble in several, or in none."""

from __future__ import annotations

import platform
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import msgspec

from cloche.errors import ClocheError, DoesNotLoad
from cloche.registry.bundle import Environment, Manifest
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy
from cloche.runtimes.ensemble import Asked, combined, joined, printed_by, rows_of
from cloche.runtimes.inline.runtime import InlineRuntime
from cloche.runtimes.load import load_converted
from cloche.runtimes.optimized import size_of
from cloche.runtimes.process import WorkerProcess
from cloche.schema import compile_schema
from cloche.values import Ask, CallContext, Prediction

_MOST_ROWS = 1_000_000
"""Of a call: who asks here has set a limit before."""


class VersionProcess(Protocol):
    """What `WorkerProcess` promises to those who ask it. Used in a `with` statement, it is stopped at the end."""

    def wait_loaded(self, timeout_s: float) -> float:
        """Return once the version is loaded, with the seconds that it took."""
        ...

    def predict(
        self, rows_json: bytes, rows: int, many: bool, context: CallContext, timeout_s: float = ...
    ) -> Prediction:
        """Ask it, and wait for its answer."""
        ...

    def describe(self, timeout_s: float = ...) -> Environment:
        """Return interpreter, platform, and the distributions that were imported."""
        ...

    def stop(self, grace_s: float = ...) -> None:
        """End it."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start_version(copy: Copy, *, log: Path | None = None, confinement: Confinement = UNCONFINED) -> VersionProcess:
    """Start a version: its worker, or for an ensemble those of its steps and of what combines their answers.

    An optimized version is asked as a gateway asks it: its faster form answers here, and the original has a worker
    where it answers any calls.

    Args:
        copy: what it is started from.
        log: as for `WorkerProcess.start`; all of an ensemble write to it.
        confinement: what the workers may do.

    Raises:
        DoesNotLoad: an interpreter can't be started.
    """
    if copy.manifest.optimized is not None:
        wanted = copy.manifest.optimized.wants_original
        return OptimizedProcess(copy, _start_worker(copy, log, confinement) if wanted else None)
    if not copy.manifest.steps:
        return _start_worker(copy, log, confinement)
    with ExitStack() as started:
        steps = start_steps(copy.steps, started, log=log, confinement=confinement)
        combine = started.enter_context(_start_worker(copy, log, confinement)) if copy.manifest.entry else None
        return EnsembleProcess(copy.manifest, steps, combine, started.pop_all())


def _start_worker(copy: Copy, log: Path | None, confinement: Confinement) -> WorkerProcess:
    return WorkerProcess.start(copy.folder, python=copy.python, log=log, confinement=confinement)


class StepProcess(NamedTuple):
    """A step that is being started, or that can be asked."""

    asked: Asked
    process: VersionProcess


def start_steps(
    steps: Mapping[str, Copy], started: ExitStack, *, log: Path | None = None, confinement: Confinement = UNCONFINED
) -> list[StepProcess]:
    """Start the steps of an ensemble; `started` stops them. See `start_version` for the rest."""
    begun = {
        name: started.enter_context(start_version(step, log=log, confinement=confinement))
        for name, step in steps.items()
    }
    return [StepProcess(_asked(name, steps[name].manifest), process) for name, process in begun.items()]


def _asked(name: str, manifest: Manifest) -> Asked:
    names = (manifest.name, manifest.version)
    schema, unknown_fields = manifest.input_schema, manifest.unknown_fields
    accept = compile_schema(schema, unknown_fields=unknown_fields, max_rows=_MOST_ROWS, names=names)
    return Asked(name, manifest, accept)


def wait_for_steps(steps: Sequence[StepProcess], timeout_s: float) -> None:
    """Return once all steps are loaded.

    Raises:
        DoesNotLoad: one does not load; the message names it.
    """
    deadline = time.monotonic() + timeout_s
    for step in steps:
        try:
            step.process.wait_loaded(max(0.1, deadline - time.monotonic()))
        except DoesNotLoad as error:
            told = f"Its step {step.asked.label} does not load: {error}"
            raise DoesNotLoad(traceback=told) from None


def ask_steps(
    steps: Sequence[StepProcess], names: tuple[str, str], ask: Ask, timeout_s: float
) -> dict[str, Prediction]:
    """Return what the steps answer to the rows of a call, all asked at once.

    Args:
        steps: whom to ask.
        names: of the ensemble, for messages.
        ask: its call.
        timeout_s: how long to wait.

    Raises:
        SchemaMismatch: the rows do not fit a step's schema.
        ServingError: a step failed; said of the ensemble, with the name of the step.
    """
    rows = rows_of(ask)
    asks = [step.asked.ask(rows, ask, names) for step in steps]
    with ThreadPoolExecutor(len(steps)) as threads:
        futures = [
            threads.submit(step.process.predict, its.payload, its.rows, its.many, its.context, timeout_s)
            for step, its in zip(steps, asks, strict=True)
        ]
    answers = {}
    for step, future in zip(steps, futures, strict=True):
        try:
            answers[step.asked.name] = future.result()
        except ClocheError as error:
            raise step.asked.failure(error, ask.context.id) from None
    return answers


def _of_this_process() -> Environment:
    """Return the environment of what has no worker: no distribution belongs to it."""
    implementation = sys.implementation.name
    return Environment(platform.python_version(), implementation, sysconfig.get_platform(), distributions={})


class OptimizedProcess(VersionProcess):
    """An optimized version: each call is answered by the form that answers it in a gateway.

    Args:
        copy: what it is started from.
        original: the worker of the original, where that answers any calls.
    """

    def __init__(self, copy: Copy, original: VersionProcess | None) -> None:
        self._copy = copy
        self._original = original
        self._converted: InlineRuntime | None = None
        manifest = copy.manifest
        self._accept = compile_schema(
            manifest.input_schema,
            unknown_fields=manifest.unknown_fields,
            each=manifest.each,
            max_rows=_MOST_ROWS,
            numbers=manifest.bare_numbers,
            single=manifest.singles,
        )

    def wait_loaded(self, timeout_s: float) -> float:
        """Return once all that answers is loaded, with the seconds that it took.

        Raises:
            DoesNotLoad: one of the forms does not load.
            MissingExtra: the library of the faster form is not installed.
        """
        began = time.monotonic()
        self._converted = load_converted(self._copy.folder, self._copy.manifest, threads=1)
        if self._original is not None:
            self._original.wait_loaded(max(0.1, timeout_s - (time.monotonic() - began)))
        return time.monotonic() - began

    def predict(
        self, rows_json: bytes, rows: int, many: bool, context: CallContext, timeout_s: float = 60.0
    ) -> Prediction:
        """Ask the form that is faster for so many rows; see `WorkerProcess.predict`.

        Raises:
            SchemaMismatch: the rows do not fit the version's schema.
        """
        assert self._converted is not None, "it is asked once it is loaded"
        read = self._accept.read(b'{"inputs":%s}' % rows_json).rows
        values, items = self._accept.numbers(read), self._accept.items(read)
        ask = Ask(rows_json, rows, many, context, round(timeout_s * 1000), values, items=items)
        if self._original is not None and form_for(self._copy.manifest, ask) == "original":
            return self._original.predict(rows_json, rows, many, context, timeout_s)
        return self._converted.answer(ask)

    def describe(self, timeout_s: float = 60.0) -> Environment:
        """Return the environment of the original, where it is started."""
        return _of_this_process() if self._original is None else self._original.describe(timeout_s)

    def stop(self, grace_s: float = 5.0) -> None:
        """End the original."""
        if self._original is not None:
            self._original.stop(grace_s)


def form_for(manifest: Manifest, ask: Ask) -> str | None:
    """Return the form of an optimized version that answers a call, `original` or as it is called; None of others."""
    optimized = manifest.optimized
    if optimized is None:
        return None
    return "original" if optimized.faster_at(size_of(ask, manifest.each)) == "original" else optimized.form


class EnsembleProcess(VersionProcess):
    """An ensemble: the processes of its steps, and that of what combines their answers, where there is code for that.

    Args:
        manifest: of the ensemble.
        steps: its steps.
        combine: what combines.
        started: stops them all.
    """

    def __init__(
        self, manifest: Manifest, steps: Sequence[StepProcess], combine: VersionProcess | None, started: ExitStack
    ) -> None:
        self._manifest = manifest
        self._steps = steps
        self._combine = combine
        self._started = started

    def wait_loaded(self, timeout_s: float) -> float:
        """Return once all are loaded, with the seconds that it took from now.

        Raises:
            DoesNotLoad: one does not load; the message names the step.
        """
        began = time.monotonic()
        wait_for_steps(self._steps, timeout_s)
        if self._combine is not None:
            self._combine.wait_loaded(max(0.1, timeout_s - (time.monotonic() - began)))
        return time.monotonic() - began

    def predict(
        self, rows_json: bytes, rows: int, many: bool, context: CallContext, timeout_s: float = 60.0
    ) -> Prediction:
        """Ask the steps, and then what combines their answers; see `WorkerProcess.predict`."""
        ask = Ask(rows_json, rows, many, context, round(timeout_s * 1000))
        deadline = time.monotonic() + timeout_s
        answers = ask_steps(self._steps, (self._manifest.name, self._manifest.version), ask, timeout_s)
        if self._combine is None:
            found = combined(self._manifest, answers, context.id)
        else:
            payload = joined(rows_of(ask), answers)
            found = self._combine.predict(payload, rows, many, context, max(0.001, deadline - time.monotonic()))
        return msgspec.structs.replace(found, printed=printed_by(answers) + found.printed)

    def describe(self, timeout_s: float = 60.0) -> Environment:
        """Return the environment of what combines; the steps have those of their own versions."""
        if self._combine is not None:
            return self._combine.describe(timeout_s)
        return _of_this_process()

    def stop(self, grace_s: float = 5.0) -> None:
        """End them all."""
        del grace_s
        self._started.close()
