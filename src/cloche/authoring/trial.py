"""A bundle on trial: laid out as any host would lay it out, loaded by a fresh worker, and asked the examples."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cloche.authoring.outcomes import Outcome, outcomes_of
from cloche.errors import DoesNotLoad, ServingError
from cloche.registry.bundle import Manifest, encode_manifest
from cloche.registry.cache import check_paths, write_bundle
from cloche.registry.catalog import NOWHERE
from cloche.runtimes.process import WorkerProcess
from cloche.values import NO_INFERENCE, CallContext

LOAD_S = 300.0
"""How long a model may take to load when it is published."""

ANSWER_S = 120.0
"""How long it may take to answer its examples."""

_ALONE = 3
_TRAITS_ENTRY = "cloche.authoring.traits:traits_of_file"

Asked = list[tuple[int, Outcome]]
"""What was answered to which call; a call may be there twice."""


class Trial:
    """Tries bundles in a folder that is its own."""

    def __init__(self, contents: Mapping[str, bytes], folder: Path) -> None:
        self.contents = contents
        self._folder = folder
        self._workers = itertools.count(1)
        self.environment = NOWHERE
        """Of the last worker, after it had answered."""

    def stage(self, manifest: Manifest) -> Path:
        """Lay the bundle out, and return its folder. There is one folder; only its manifest is written again."""
        folder = self._folder / "bundle"
        encoded = encode_manifest(manifest)
        if folder.exists():
            (folder / "manifest.json").unlink()
            write_bundle(folder, encoded, {})
        else:
            check_paths(manifest, f"{manifest.name} {manifest.version}")
            write_bundle(folder, encoded, self.contents)
        return folder

    def traits(self, manifest: Manifest) -> dict[str, Any]:
        """Let a worker say what kind of model a pickle holds, to be asked by the manifest's method.

        Raises:
            DoesNotLoad: it can't be opened there; with the author's traceback.
        """
        pickle = self.stage(manifest) / manifest.entry
        asked = msgspec.structs.replace(manifest, flavor="heuristic", takes="row", entry=_TRAITS_ENTRY, each=None)
        _, outcome = self.ask(asked, [{"path": str(pickle), "method": manifest.method}])[0]
        return dict(outcome.output)

    def ask(self, manifest: Manifest, calls: Sequence[dict[str, Any]]) -> Asked:
        """Let a fresh worker answer the calls: all rows together, and then the first few once more alone.

        Raises:
            DoesNotLoad: it can't load the model, or the model raises; with the author's traceback.
        """
        alone = range(len(calls) if manifest.each else min(_ALONE, len(calls)))
        log = self._folder / f"worker-{next(self._workers)}.log"
        with WorkerProcess.start(self.stage(manifest), log=log) as worker:
            worker.wait_loaded(LOAD_S)
            ranks = manifest.each is not None
            together = [] if ranks else list(enumerate(_ask(worker, calls, ranks)))
            answered = together + [(call, _ask(worker, [calls[call]], ranks)[0]) for call in alone]
            self.environment = worker.describe()
        return answered


def _ask(worker: WorkerProcess, calls: Sequence[dict[str, Any]], ranks: bool) -> list[Outcome]:
    context = CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)
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
