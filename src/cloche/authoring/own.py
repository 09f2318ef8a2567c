"""The author's own object, asked in the author's own process: what every worker has to answer, too."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.examples import Examples
from cloche.authoring.kinds import Kind
from cloche.authoring.kinds.kind import OnlyWorkersOpenIt
from cloche.authoring.outcomes import Outcome, outcomes_of
from cloche.authoring.packing import objects_of
from cloche.authoring.rows import rows_of
from cloche.errors import NotPublishable
from cloche.model import Bundle, CallInfo
from cloche.runtimes.worker import ranking
from cloche.runtimes.worker.answering import Failed, answer
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest, read_manifest


def author_bundle(folder: Path, objects: Mapping[str, Any]) -> Bundle:
    """Return the files of a version before it is published: objects are as the author gave them, not pickled and back.

    A pickle that was given as a file is opened by nobody here: asking for it raises `OnlyWorkersOpenIt`.
    """

    def given(path: Path) -> Any:
        name = path.relative_to(folder / "files").as_posix()
        if name not in objects:
            raise OnlyWorkersOpenIt(name)
        return objects[name]

    return Bundle(folder, given)


def own_outcomes(draft: Draft, kind: Kind, examples: Examples, folder: Path) -> list[Outcome]:
    """Return what the author's object answers to the original examples, as a worker would say it.

    Args:
        draft: the object.
        kind: what kind of thing it is.
        examples: what to ask.
        folder: the bundle, laid out.

    Raises:
        NotPublishable: the object fails on its own examples.
        OnlyWorkersOpenIt: it can't be asked here.
    """
    manifest = read_manifest(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ask = kind.ask_of(draft, manifest, author_bundle(folder, objects_of(draft.files)))
            return _answers(ask, manifest, examples)
    except OnlyWorkersOpenIt:
        raise
    except Failed as failure:
        raise _refused(draft, failure.reason) from None
    except Exception as error:
        raise _refused(draft, f"it raises {type(error).__name__}: {error}") from error


def _answers(ask: Ask, manifest: Manifest, examples: Examples) -> list[Outcome]:
    given = _as_taken(examples.given, manifest.takes)
    parts = [(given, examples.calls, True)]
    if manifest.each is not None:
        parts = []
        first = 0
        for call in examples.calls:
            last = first + len(call[ranking.list_name(manifest.each.path)])
            parts.append((given[first:last], [call], False))
            first = last
    outcomes: list[Outcome] = []
    for rows, calls, many in parts:
        infos = [CallInfo(id="", now_us=time.time_ns() // 1000) for _ in range(len(rows))]
        raw = ask(rows, infos)
        found = answer(lambda *_, raw=raw: raw, manifest, json.dumps(calls).encode(), {"many": many})
        refusals = {int(row): refusal for row, refusal in found.refusals.items()} if many else {}
        outcomes += outcomes_of(found.outputs, refusals)
    return outcomes


def _as_taken(given: Any, takes: str) -> Any:
    """Return the examples in the form that the model takes; it may do with them what it likes."""
    if takes in ("rows", "row", "keywords"):
        return rows_of(given)
    return given.to_numpy(copy=True) if takes == "array" and hasattr(given, "to_numpy") else given.copy()


def _refused(draft: Draft, reason: str) -> NotPublishable:
    kind = draft.model if isinstance(draft.model, type) else type(draft.model)
    return NotPublishable(kind=kind.__qualname__, reason=f"asked with its own examples, {reason}")
