"""A bundle on trial: laid out as any host would lay it out, loaded by a fresh worker, and asked the examples."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from cloche.authoring.outcomes import Outcome, outcomes_of
from cloche.authoring.traits import Traits
from cloche.errors import DoesNotLoad, InvalidExamples, SchemaMismatch, ServingError
from cloche.registry.bundle import Manifest, encode_manifest
from cloche.registry.cache import check_paths, write_bundle
from cloche.registry.catalog import NOWHERE
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy
from cloche.runtimes.ensemble import joined, rows_of
from cloche.runtimes.started import VersionProcess, ask_steps, start_steps, start_version, wait_for_steps
from cloche.values import NO_INFERENCE, Ask, CallContext

LOAD_S = 300.0
"""How long a model may take to load when it is published."""

ANSWER_S = 120.0
"""How long it may take to answer its examples."""

_ALONE = 3
_TRAITS_ENTRY = "cloche.authoring.traits:traits_of_file"
_SCAN_ENTRY = "cloche.runtimes.worker.scan:findings"

NO_STEPS: Final[Mapping[str, Copy]] = MappingProxyType({})

Asked = list[tuple[int, Outcome]]
"""What was answered to which call; a call may be there twice."""


class Trial:
    """Tries bundles in a folder that is its own."""

    def __init__(
        self,
        contents: Mapping[str, bytes],
        folder: Path,
        steps: Mapping[str, Copy] = NO_STEPS,
        confinement: Confinement = UNCONFINED,
    ) -> None:
        self.contents = contents
        self._confinement = confinement
        self.steps = steps
        """Of an ensemble: the versions that are asked first."""
        self._beside: list[dict[str, Any]] | None = None
        self._folder = folder
        self._workers = itertools.count(1)
        self.environment = NOWHERE
        """Of the last worker, after it had answered."""
        self.quickest_s = 0.0
        """What that worker took for the quickest of the calls that it was asked alone."""
        self.is_steady = True
        """Whether the last worker that was asked some calls `twice` said the same both times."""

    def stage(self, manifest: Manifest) -> Path:
        """Lay the bundle out, and return its folder. There is one folder; only its manifest is written again."""
        folder = self._folder / "bundle"
        encoded = encode_manifest(manifest)
        if folder.exists():
            (folder / "manifest.json").unlink()
            write_bundle(folder, encoded, {})
        else:
            check_paths(manifest, f"{manifest.name} {manifest.version}")
            executables = {file.path for file in manifest.files if file.executable}
            write_bundle(folder, encoded, self.contents, executables)
        return folder

    def traits(self, manifest: Manifest) -> Traits:
        """Let a worker say what kind of model a pickle holds, to be asked by the manifest's method.

        Raises:
            DoesNotLoad: it can't be opened there; with the author's traceback.
        """
        pickle = self.stage(manifest) / manifest.entry
        asked = msgspec.structs.replace(manifest, flavor="heuristic", takes="row", entry=_TRAITS_ENTRY, each=None)
        _, outcome = self.ask(asked, [{"path": str(pickle), "method": manifest.method}])[0]
        return Traits(**outcome.output)

    def scan(self, manifest: Manifest, paths: Sequence[str]) -> list[str]:
        """Let a worker look at pickles without opening them, where a scanner is installed; return what it says."""
        if not paths or find_spec("picklescan") is None:
            return []
        asked = msgspec.structs.replace(manifest, flavor="heuristic", takes="row", entry=_SCAN_ENTRY, each=None)
        try:
            _, outcome = self.ask(asked, [{"paths": paths}])[0]
        except DoesNotLoad:
            return [f"picklescan fails on {', '.join(paths)}."]
        return list(outcome.output["findings"])

    def ask(self, manifest: Manifest, calls: Sequence[dict[str, Any]], *, twice: bool = False) -> Asked:
        """Let a fresh worker answer the calls: all rows together, and then the first few once more alone.

        Args:
            manifest: how the model is asked.
            calls: the examples.
            twice: ask the first few alone once more, to see whether that is answered the same.

        Raises:
            DoesNotLoad: it can't load the model, or the model raises; with the author's traceback.
        """
        alone = range(len(calls) if manifest.each else min(_ALONE, len(calls)))
        log = self._folder / f"worker-{next(self._workers)}" / "output.log"
        copy = Copy(self.stage(manifest), manifest, digest="", steps=self.steps)
        with start_version(copy, log=log, confinement=self._confinement) as worker:
            worker.wait_loaded(LOAD_S)
            ask = partial(_ask, worker, ranks=manifest.each is not None, context=_context())
            together = [] if manifest.each else list(enumerate(ask(calls)))
            singly, took_s = [], []
            for call in alone:
                began_s = time.monotonic()
                singly.append(ask([calls[call]])[0])
                took_s.append(time.monotonic() - began_s)
            self.quickest_s = min(took_s)
            if twice:
                self.is_steady = all(ask([calls[call]])[0] == singly[call] for call in alone[:_ALONE])
            self.environment = worker.describe()
        return [*together, *enumerate(singly)]

    def beside_answers(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows that an ensemble is asked: each call beside what workers of the steps answer to it.

        Raises:
            DoesNotLoad: a step can't be loaded, or fails; with its name.
            InvalidExamples: an example does not fit the schema of a step.
        """
        if self._beside is None:
            ask = Ask(msgspec.json.encode(calls), len(calls), True, _context(), round(ANSWER_S * 1000))
            with ExitStack() as started:
                log = self._folder / "steps" / "output.log"
                steps = start_steps(self.steps, started, log=log, confinement=self._confinement)
                wait_for_steps(steps, LOAD_S)
                try:
                    answers = ask_steps(steps, ("the ensemble", ""), ask, ANSWER_S)
                except SchemaMismatch as error:
                    fault = error.faults[0]
                    raise InvalidExamples(reason=f"{fault['pointer']}: {fault['message']}") from None
                except ServingError as error:
                    raise DoesNotLoad(traceback=_account(error)) from None
            self._beside = msgspec.json.decode(joined(rows_of(ask), answers))
        return self._beside


def _context() -> CallContext:
    return CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)


def _ask(
    worker: VersionProcess, calls: Sequence[dict[str, Any]], *, ranks: bool, context: CallContext
) -> list[Outcome]:
    try:
        found = worker.predict(msgspec.json.encode(calls), len(calls), len(calls) > 1, context, ANSWER_S)
    except ServingError as error:
        raise DoesNotLoad(traceback=_account(error)) from None
    refusals = {row: msgspec.json.decode(refusal) for row, refusal in found.refusals.items()}
    return outcomes_of(found.outputs, {} if ranks else refusals)


def _account(error: ServingError) -> str:
    """Return what the author wants to know of a failure: the traceback, and what the model printed."""
    private = error.private
    told = private.get("traceback") or private.get("reason") or str(error)
    return f"{told}\n{private['printed']}" if private.get("printed") else str(told)
