"""Two versions of a model side by side: schema, packages, answers to the same examples, and scores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from cloche.authoring.outcomes import close_to
from cloche.errors import BundleCorrupt, ClocheError
from cloche.insight.answers import (
    Answer,
    RowDifference,
    ScoreDistributions,
    answers_of,
    differing,
    distributions,
    scores_of,
)
from cloche.registry.between import EnvironmentDifference, SchemaDifference, between
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.registry.standing import shortened
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy
from cloche.runtimes.started import form_for, start_version
from cloche.values import NO_INFERENCE, Ask, CallContext

RTOL: Final = 1e-5
ATOL: Final = 1e-8
"""How close two numbers are that count as the same, where the first version does not say otherwise."""

_ANSWER_S = 120.0
_LONGEST_REASON = 500

CopyOf = Callable[[str], Awaitable[Copy]]
"""Fetches an exact version, and makes its interpreter."""


class AnswersDifference(msgspec.Struct, frozen=True):
    """What both answer to the examples of the first."""

    rows: int
    same: int
    rtol: float
    """How far two numbers may be apart that count as the same, relative to the larger one."""
    failed: tuple[int, int]
    """Rows that were not answered: they do not fit the version's schema, or it fails on them."""
    refused: tuple[int, int]
    differing: list[RowDifference]


class Difference(msgspec.Struct, frozen=True):
    """All that differs between two versions of a model."""

    model: str
    versions: tuple[str, str]
    traits: dict[str, tuple[Any, Any]]
    """Fields of the manifest: what is said there of how the version is asked, and what it answers."""
    schema: SchemaDifference
    environment: EnvironmentDifference
    answers: AnswersDifference | None
    """None where one of them could not be asked; `notes` say why."""
    scores: ScoreDistributions | None
    notes: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs that is looked at."""
        environment = self.environment
        return (
            not self.traits
            and self.schema.compatibility.verdict == "yes"
            and not self.schema.additions
            and environment.python[0] == environment.python[1]
            and not (environment.added or environment.removed or environment.changed)
            and self.answers is not None
            and not self.answers.differing
        )


class Asking(msgspec.Struct, frozen=True):
    """How versions are asked, each in a worker of its own."""

    copy_of: CopyOf
    load_s: float
    """How long one may take to load."""
    confinement: Confinement = UNCONFINED
    tell: Callable[[str], None] = lambda _: None
    """Is told what is being done."""


async def difference(registry: Registry, model: str, versions: tuple[str, str], asking: Asking) -> Difference:
    """Compare two versions.

    Args:
        registry: where they are.
        model: their model.
        versions: the one before and the one after; exact.
        asking: how they are asked.

    Raises:
        ModelNotFound, VersionNotFound: there is no such version.
        BundleCorrupt, NewerFormat: one can't be read.
    """
    before, after = [(await registry.manifest(model, version))[0] for version in versions]
    found = between(before, after)
    asked = None
    notes: list[str] = []
    try:
        asked = await _asked(before, after, asking, notes.append)
    except _NotAsked as reason:
        notes.append(str(reason))
    return Difference(
        model=model,
        versions=versions,
        traits=found.traits,
        schema=found.schema,
        environment=found.environment,
        answers=_answers(before, asked) if asked else None,
        scores=distributions(scores_of(before, asked[0]), scores_of(after, asked[1])) if asked else None,
        notes=notes,
    )


class _NotAsked(Exception):
    """Answers can't be compared; the text says why."""


async def _asked(
    before: Manifest, after: Manifest, asking: Asking, note: Callable[[str], None]
) -> tuple[list[Answer], list[Answer]]:
    """Return what both answer to the examples of the first; `note` is told which forms of a version answer."""
    if (before.each is None) != (after.each is None):
        raise _NotAsked("Only one of them is a ranking, so their answers are not compared.")
    answers = []
    rows: list[dict[str, Any]] = []
    for manifest in (before, after):
        try:
            copy = await asking.copy_of(manifest.version)
            rows = rows or _examples(copy)
            answers.append(await asyncio.to_thread(_ask, copy, rows, asking))
            if said := _forms(manifest, rows):
                note(f"{manifest.version} is optimized, and these examples were answered by {said}.")
        except BundleCorrupt:
            raise
        except ClocheError as error:
            reason = shortened(str(error), _LONGEST_REASON)
            raise _NotAsked(f"{manifest.version} can't be asked here, so no answers are compared: {reason}") from None
    return answers[0], answers[1]


def _forms(manifest: Manifest, rows: list[dict[str, Any]]) -> str:
    """Return which forms of an optimized version answer such calls, in words; nothing of another version."""
    context = CallContext(NO_INFERENCE, 0)
    asks = [Ask(msgspec.json.encode([row]), rows=1, many=False, context=context, deadline_ms=0) for row in rows]
    forms = dict.fromkeys(form_for(manifest, ask) for ask in asks)
    return " and ".join("the original" if form == "original" else f"its form {form}" for form in forms if form)


def _examples(copy: Copy) -> list[dict[str, Any]]:
    if copy.manifest.examples is None:
        return []
    rows: list[dict[str, Any]] = msgspec.json.decode((copy.folder / copy.manifest.examples.path).read_bytes() or b"[]")
    return rows


def _ask(copy: Copy, rows: list[dict[str, Any]], asking: Asking) -> list[Answer]:
    asking.tell(f"loading {copy.manifest.name} {copy.manifest.version}")
    with ExitStack() as started:
        worker = started.enter_context(start_version(copy, confinement=asking.confinement))
        worker.wait_loaded(asking.load_s)
        asking.tell(f"asking {copy.manifest.version} {len(rows)} examples")
        return answers_of(worker, copy.manifest, rows, _ANSWER_S)


def _answers(before: Manifest, asked: tuple[list[Answer], list[Answer]]) -> AnswersDifference:
    golden = before.golden
    rtol, atol = (golden.rtol, golden.atol) if golden else (RTOL, ATOL)
    found = differing(*asked, close_to(rtol, atol))
    failed, refused = (
        tuple(sum(getattr(answer, ending) is not None for answer in answers) for answers in asked)
        for ending in ("failure", "refusal")
    )
    rows = len(asked[0])
    return AnswersDifference(rows, rows - len(found), rtol, _pair(failed), _pair(refused), found)


def _pair(counts: tuple[int, ...]) -> tuple[int, int]:
    return counts[0], counts[1]
