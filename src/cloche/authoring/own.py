"""The author's own object, asked in the author's own process: what every worker has to answer, too."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from cloche.runtimes.worker.manifest import Each, Manifest, read_manifest


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _refusing(draft):
            ask = kind.ask_of(draft, manifest, author_bundle(folder, objects_of(draft.files or {})))
            if manifest.each is not None:
                return _ranked(ask, manifest, examples, manifest.each)
            outcomes = _answered(ask, manifest, examples.given, examples.calls)
        alone = len(examples.calls) > 1
        with _refusing(draft, "the first of them alone: " if alone else "the same row twice: "):
            places = [0] if alone else [0, 0]  # else an answer per column might pass for one per row
            _answered(ask, manifest, _at(examples.given, places), [examples.calls[place] for place in places])
    return outcomes


@contextmanager
def _refusing(draft: Draft, given: str = "") -> Iterator[None]:
    """Refuse a model that fails.

    Args:
        draft: with the model.
        given: what it was given of the examples, where not all.
    """
    try:
        yield
    except OnlyWorkersOpenIt:
        raise
    except Failed as failure:
        raise _refused(draft, given + failure.reason) from None
    except (Exception, SystemExit) as error:
        raise _refused(draft, f"{given}it raises {type(error).__name__}: {error}") from error


def _at(given: Any, places: list[int]) -> Any:
    """Return some rows of a frame, an array or a list."""
    if hasattr(given, "iloc"):
        return given.iloc[places]
    return given[places] if hasattr(given, "dtype") else [given[place] for place in places]


def _ranked(ask: Ask, manifest: Manifest, examples: Examples, each: Each) -> list[Outcome]:
    outcomes: list[Outcome] = []
    first = 0
    for call in examples.calls:
        last = first + len(call[ranking.list_name(each.path)])
        outcomes += _answered(ask, manifest, examples.given[first:last], [call])
        first = last
    return outcomes


def _answered(ask: Ask, manifest: Manifest, given: Any, calls: Sequence[dict[str, Any]]) -> list[Outcome]:
    rows, many = _as_taken(given, manifest.takes), manifest.each is None
    infos = [CallInfo(id="", now_us=time.time_ns() // 1000) for _ in range(len(rows))]
    raw = ask(rows, infos)
    found = answer(lambda *_: raw, manifest, json.dumps(calls).encode(), {"many": many})
    refusals = {int(row): refusal for row, refusal in found.refusals.items()} if many else {}
    return outcomes_of(found.outputs, refusals)


def _as_taken(given: Any, takes: str) -> Any:
    """Return the examples in the form that the model takes; it may do with them what it likes."""
    if takes in ("rows", "row", "keywords"):
        return rows_of(given)
    return given.to_numpy(copy=True) if takes == "array" and hasattr(given, "to_numpy") else given.copy()


def _refused(draft: Draft, reason: str) -> NotPublishable:
    kind = draft.model if isinstance(draft.model, type) else type(draft.model)
    return NotPublishable(kind=kind.__qualname__, reason=f"asked with its own examples, {reason}")
