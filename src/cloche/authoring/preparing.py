"""From a draft to a bundle that a fresh worker has answered right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import msgspec

from cloche.authoring.caution import about_code
from cloche.authoring.draft import Draft, check_options
from cloche.authoring.examples import Examples, read_examples
from cloche.authoring.kinds import Kind, Packed, kind_of
from cloche.authoring.kinds.ensemble import Ensemble, as_called, as_combined, for_ensemble
from cloche.authoring.kinds.kind import OnlyWorkersOpenIt
from cloche.authoring.kinds.mlflow import installed
from cloche.authoring.kinds.pickle_file import SUFFIXES
from cloche.authoring.missing import advised
from cloche.authoring.outcomes import Outcome, about_answers, close_to, describe_outputs, golden_lines, same_type
from cloche.authoring.own import own_outcomes
from cloche.authoring.packing import file_of, pack
from cloche.authoring.progress import Progress, telling
from cloche.authoring.provenance import provenance
from cloche.authoring.report import check_golden
from cloche.authoring.scratch import scratch_folder
from cloche.authoring.settle import Settled, check_score, faster, none_works, settle, ways_of
from cloche.authoring.traits import Traits
from cloche.authoring.trial import NO_STEPS, Trial
from cloche.errors import ClocheError, MissingExtra, NotPublishable, PublishError
from cloche.registry.bundle import (
    MANIFEST_FORMAT,
    Environment,
    Flavor,
    Golden,
    Manifest,
    Provenance,
    Takes,
    check_name,
    check_version,
)
from cloche.registry.catalog import NOWHERE
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy
from cloche.runtimes.worker.flavors import FLAVORS

GOLDEN = "personal/golden.jsonl"
EXAMPLES = "personal/examples.json"

RTOL, ATOL = 1e-5, 1e-8
"""How close numbers must be to those of the author's object."""


@dataclass(frozen=True)
class Prepared:
    """A version that a fresh worker has answered right, ready to be published."""

    manifest: Manifest
    contents: Mapping[str, bytes]
    notices: list[str] = field(default_factory=list)
    """What the author should know."""


def prepare(
    draft: Draft,
    progress: Progress = lambda _: None,
    steps: Mapping[str, Copy] = NO_STEPS,
    confinement: Confinement = UNCONFINED,
) -> Prepared:
    """Make the bundle of a draft, and prove with a fresh worker that it answers as the author's object does.

    Args:
        draft: what to publish.
        progress: is told of steps that take longer than a second.
        steps: of an ensemble: the versions that the draft names.
        confinement: as for `publish`.

    Raises:
        PublishError: it can't be published as it is.
        MissingExtra: a package that this needs is not installed.
    """
    check_name(draft.name)
    check_version(draft.version)
    check_options(draft)
    kind = Ensemble(steps) if steps else kind_of(draft.model)
    with telling(progress, "collecting what the model needs"):
        packed = pack(draft, kind)
    with scratch_folder() as folder, advised(packed.code):
        trial = Trial(packed.files, folder, steps, confinement)
        with telling(progress, "scanning pickles without opening them"):
            advice = trial.scan(_manifest(draft, packed, "heuristic"), _handed_over(draft, kind, packed))
        packed = replace(packed, notices=(*packed.notices, *advice))

        def look() -> Traits:
            with telling(progress, "opening the pickle in a fresh worker"):
                return trial.traits(_manifest(draft, packed, "heuristic"))

        found = kind.traits(draft, packed, look)
        if found.flavor is None:
            raise NotPublishable(kind=found.kind, reason=found.advice)
        return _Attempt(draft, kind, packed, found, trial, progress).run()


def _handed_over(draft: Draft, kind: Kind, packed: Packed) -> list[str]:
    """Return the files that may be pickles which somebody else made: those that this process has not written."""
    given = {f"files/{name}" for name, value in (draft.files or {}).items() if isinstance(value, Path)}
    return sorted(
        path for path in packed.files if Path(path).suffix in SUFFIXES and (path in given or not kind.is_asked_here)
    )


class _Attempt:
    """One way to publish a draft, tried out."""

    def __init__(
        self, draft: Draft, kind: Kind, packed: Packed, found: Traits, trial: Trial, progress: Progress
    ) -> None:
        self._draft = draft
        self._kind = kind
        self._packed = packed
        self._found = found
        self._trial = trial
        self._progress = progress

    def run(self) -> Prepared:
        with telling(self._progress, "asking your own object the examples"):
            settled, examples = self._settled()
        check_score(self._draft, settled.outcomes)
        with telling(self._progress, "asking a fresh worker the same"):
            answered = self._trial.ask(settled.manifest, examples.calls, twice=self._draft.golden == "equal")
        alike = close_to(RTOL, ATOL) if self._draft.golden == "equal" else same_type
        check_golden(settled.manifest, examples, settled.outcomes, answered, alike)
        return self._finish(settled, examples)

    def _settled(self) -> tuple[Settled, Examples]:
        """Find the way to ask the model that works with its examples."""
        tried: dict[Takes, ClocheError] = {}
        for takes in ways_of(as_combined(self._draft, self._trial.steps), self._found):
            try:
                return self._settled_by(takes)
            except (PublishError, MissingExtra) as error:
                tried[takes] = error
        raise none_works(self._found, tried) from next(reversed(tried.values())).__cause__

    def _settled_by(self, takes: Takes) -> tuple[Settled, Examples]:
        draft, found = self._draft, self._found
        examples = read_examples(as_called(draft, self._trial.steps), found, takes)
        if self._trial.steps:
            examples = for_ensemble(draft, examples, self._trial.steps)
            examples = replace(examples, given=self._trial.beside_answers(examples.calls))
        begun = msgspec.structs.replace(
            _manifest(draft, self._packed, cast("Flavor", found.flavor), examples), takes=takes
        )
        settled = settle(draft, found, begun, lambda manifest: self._author(manifest, examples))
        if self._kind.is_asked_here or not FLAVORS[settled.manifest.flavor].reads_json:
            settled = faster(settled, examples, lambda manifest: self._author(manifest, examples))
        return settled, examples

    def _author(self, manifest: Manifest, examples: Examples) -> list[Outcome]:
        """Ask the author's object; where this process does not open it, a worker of its own."""
        if self._kind.is_asked_here:
            with suppress(OnlyWorkersOpenIt):
                return own_outcomes(self._draft, self._kind, examples, self._trial.stage(manifest))
        return [outcome for _, outcome in self._trial.ask(manifest, examples.calls)][: len(examples.calls)]

    def _finish(self, settled: Settled, examples: Examples) -> Prepared:
        personal = {
            GOLDEN: golden_lines(examples.calls, settled.outcomes),
            EXAMPLES: msgspec.json.encode(examples.calls),
        }
        file, cases = file_of(GOLDEN, personal[GOLDEN]), len(examples.calls)
        manifest = msgspec.structs.replace(
            settled.manifest,
            provenance=provenance(Path.cwd(), self._draft.message),
            environment=_needing(self._trial.environment, self._packed.requires),
            output_schema=describe_outputs(settled.manifest, settled.outcomes),
            golden=Golden(file=file, cases=cases, mode=self._draft.golden, rtol=RTOL, atol=ATOL),
            examples=file_of(EXAMPLES, personal[EXAMPLES]),
        )
        trial, deadline_ms = self._trial, self._draft.deadline_ms
        about_calls = about_answers(settled.outcomes, trial.quickest_s, deadline_ms, is_steady=trial.is_steady)
        notices = [*about_code(self._packed.code), *about_calls, *self._packed.notices]
        return Prepared(manifest, {**self._trial.contents, **personal}, notices)


def _needing(environment: Environment, names: Sequence[str]) -> Environment:
    """Return an environment with what a model says that it needs, as far as it is installed."""
    known = environment.distributions | environment.dependencies
    found = {name: version for name in names if name not in known and (version := installed(name))}
    return msgspec.structs.replace(environment, dependencies=dict(sorted((environment.dependencies | found).items())))


def _manifest(draft: Draft, packed: Packed, flavor: Flavor, examples: Examples | None = None) -> Manifest:
    return Manifest(
        format=MANIFEST_FORMAT,
        name=draft.name,
        version=draft.version,
        flavor=flavor,
        files=[file_of(path, data, path in packed.executables) for path, data in sorted(packed.files.items())],
        entry=packed.entry,
        input_schema=examples.schema if examples else {},
        provenance=Provenance(author="", created_us=0),
        environment=NOWHERE,
        method=draft.method or "predict",
        unknown_fields=draft.unknown_fields,
        frame=examples.frame if examples else None,
        fields=(examples.fields or None) if examples else None,
        on_unseen=draft.on_unseen,
        redact=tuple(sorted(set(draft.redact))),
        each=draft.ranking,
        deadline_ms=draft.deadline_ms,
        hang_after_ms=draft.hang_after_ms,
        max_wait_ms=draft.max_wait_ms,
        max_batch=draft.max_batch,
        description=draft.description,
        **packed.fields,
    )
