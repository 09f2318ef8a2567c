"""From a draft to a published version, step by step."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import msgspec

from cloche.authoring.bridge import wait_for
from cloche.authoring.caution import about_code
from cloche.authoring.draft import Draft, check_options
from cloche.authoring.examples import Examples, read_examples
from cloche.authoring.kinds import Kind, Packed, kind_of
from cloche.authoring.kinds.ensemble import Ensemble, as_called, as_combined, for_ensemble
from cloche.authoring.kinds.kind import OnlyWorkersOpenIt
from cloche.authoring.kinds.mlflow import installed
from cloche.authoring.kinds.pickle_file import SUFFIXES
from cloche.authoring.missing import advised
from cloche.authoring.optimizing.finding import Around
from cloche.authoring.optimizing.publishing import with_second
from cloche.authoring.optimizing.unpublished import second_form
from cloche.authoring.outcomes import Outcome, about_answers, close_to, describe_outputs, golden_lines, same_type
from cloche.authoring.own import own_outcomes
from cloche.authoring.packing import pack
from cloche.authoring.provenance import provenance
from cloche.authoring.report import check_golden
from cloche.authoring.scratch import scratch_folder
from cloche.authoring.settle import Settled, check_score, faster, none_works, settle, ways_of
from cloche.authoring.traits import Traits
from cloche.authoring.trial import NO_STEPS, Trial
from cloche.authoring.wheels import collect_wheels
from cloche.environments.python import PythonOf, this_python
from cloche.errors import (
    ClocheError,
    FileUnusable,
    GoldenMismatch,
    MissingExtra,
    NotPublishable,
    PublishError,
)
from cloche.registry.bundle import (
    MANIFEST_FORMAT,
    Environment,
    File,
    Flavor,
    Golden,
    Manifest,
    Provenance,
    Takes,
    check_name,
    check_version,
    encode_manifest,
)
from cloche.registry.catalog import NOWHERE, Added, Registry
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy, find_steps
from cloche.values import SigningKey

GOLDEN = "personal/golden.jsonl"
EXAMPLES = "personal/examples.json"

RTOL, ATOL = 1e-5, 1e-8
"""How close numbers must be to those of the author's object."""

_SLOW_S = 1.0

Progress = Callable[[str], None]
"""Is told what is being done, once it has taken a second."""


@dataclass(frozen=True)
class Prepared:
    """A version that a fresh worker has answered right, ready to be published."""

    manifest: Manifest
    contents: Mapping[str, bytes]
    notices: list[str] = field(default_factory=list)
    """What the author should know."""


@dataclass(frozen=True)
class Published:
    """A version in the registry."""

    manifest: Manifest
    digest: str
    """Its identity: `sha256:` of its manifest."""
    is_new: bool
    """False where the same content had been published before."""
    live: bool
    """Whether it answers calls that name no version."""
    where: str
    notices: list[str]


def publish(
    draft: Draft,
    registry: Registry,
    progress: Progress = lambda _: None,
    confinement: Confinement = UNCONFINED,
    python_of: PythonOf = this_python,
) -> Published:
    """Publish a draft. The first version of a model is live at once; a later one changes nothing that is live.

    Args:
        draft: what to publish.
        registry: where.
        progress: is told of steps that take longer than a second.
        confinement: what the workers that try it may do: as much as those that will serve it.
        python_of: says which interpreters the steps of an ensemble need.

    Raises:
        PublishError: it can't be published as it is; nothing was.
        RegistryError: the registry can't take it.
        KeyUnusable: it is to be signed with what is no key; nothing was published.
        MissingExtra: a package that this needs is not installed.
        ConversionFailed, ServingError: it was to be optimized, and what converts it, or its worker, died.
    """
    with _translated(tempfile.gettempdir()):
        check_options(draft)
        with _step(progress, "collecting what it asks"):
            steps = wait_for(find_steps(registry, draft.steps, python_of=python_of, tell=progress))
        prepared = prepare(draft, progress, steps, confinement)
        if draft.vendor:
            with _step(progress, "collecting the wheels of its packages"):
                prepared = _vendored(prepared)
        if draft.optimize:
            prepared = _optimized(prepared, registry, Around(progress, confinement))
    with _translated(registry.where), _step(progress, f"writing to {registry.where}"):
        key = None if draft.sign is None else SigningKey(private_key=str(draft.sign))
        return wait_for(_add(prepared, registry, key))


def _vendored(prepared: Prepared) -> Prepared:
    """Add the wheels of its packages to a version."""
    with scratch_folder() as folder:
        wheels = collect_wheels(prepared.manifest.environment, folder)
    size = sum(map(len, wheels.values()))
    said = f"{len(wheels)} wheel{'' if len(wheels) == 1 else 's'} went in, {size / 1e6:,.0f} MB: it needs no index."
    return replace(
        prepared,
        manifest=msgspec.structs.replace(
            prepared.manifest, vendored=[_file(path, data) for path, data in wheels.items()]
        ),
        contents={**prepared.contents, **wheels},
        notices=[*prepared.notices, said],
    )


def _optimized(prepared: Prepared, registry: Registry, around: Around) -> Prepared:
    """Add a second form to a version, where there is one that agrees and is faster."""
    second, said = second_form(prepared.manifest, prepared.contents, registry, around)
    notices = [*prepared.notices, said]
    if second is None:
        return replace(prepared, notices=notices)
    contents = {**prepared.contents, second.file.path: second.data}
    return replace(prepared, manifest=with_second(prepared.manifest, second), contents=contents, notices=notices)


def _about_packages(prepared: Prepared, added: Added) -> list[str]:
    """Return what the author should know about packages that can't be had again."""
    if prepared.manifest.vendored and not added.manifest.vendored:
        return ["It was published before without its wheels, and stays so. Publish it as a new version to keep them."]
    elsewhere = prepared.manifest.environment.elsewhere
    if not elsewhere or added.manifest.vendored:
        return []
    packages = ", ".join(f"{name} ({origin})" for name, origin in elsewhere.items())
    return [f"No index is known to have {packages}. To keep the wheels with the version, publish with vendor=True."]


async def _add(prepared: Prepared, registry: Registry, key: SigningKey | None) -> Published:
    name, version = prepared.manifest.name, prepared.manifest.version
    if key is not None:  # a key that can't be used publishes nothing
        await registry.signatures.make(name, version, encode_manifest(prepared.manifest), key)
    added = await registry.add(prepared.manifest, prepared.contents)
    if key is not None:
        await registry.signatures.sign(name, version, await registry.encoded(name, version, added.digest), key)
    said = prepared.manifest.provenance
    reason = Reason(said.author, said.message or "the first version", "publish", git_commit=said.git_commit)
    await start_if_first(registry, name, version, reason)
    live = (await registry.releases.live()).models[name]
    return Published(
        manifest=added.manifest,
        digest=added.digest,
        is_new=added.is_new,
        live=live.default == version,
        where=registry.where,
        notices=[*prepared.notices, *_about_packages(prepared, added)],
    )


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
    with _step(progress, "collecting what the model needs"):
        packed = pack(draft, kind)
    with scratch_folder() as folder, advised(packed.code):
        trial = Trial(packed.files, folder, steps, confinement)
        with _step(progress, "scanning pickles without opening them"):
            advice = trial.scan(_manifest(draft, packed, "heuristic"), _handed_over(draft, kind, packed))
        packed = replace(packed, notices=(*packed.notices, *advice))

        def look() -> Traits:
            with _step(progress, "opening the pickle in a fresh worker"):
                return trial.traits(_manifest(draft, packed, "heuristic"))

        found = kind.traits(draft, packed, look)
        if found.flavor is None:
            raise NotPublishable(kind=found.kind, reason=found.advice)
        attempt = _Attempt(draft, kind, packed, found, trial, progress)
        if draft.each is None or not found.narrows or draft.golden == "schema":
            return attempt.run(single_precision=False)
        try:
            return attempt.run(single_precision=True)
        except GoldenMismatch:
            prepared = attempt.run(single_precision=False)
            prepared.notices.append("The items stay in double precision: in single precision the answers change.")
            return prepared


def _handed_over(draft: Draft, kind: Kind, packed: Packed) -> list[str]:
    """Return the files that may be pickles which somebody else made: those that this process has not written."""
    given = {f"files/{name}" for name, value in draft.files.items() if isinstance(value, Path)}
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

    def run(self, single_precision: bool) -> Prepared:
        with _step(self._progress, "asking your own object the examples"):
            settled, examples = self._settled(single_precision)
        check_score(self._draft, settled.outcomes)
        with _step(self._progress, "asking a fresh worker the same"):
            answered = self._trial.ask(settled.manifest, examples.calls)
        alike = close_to(RTOL, ATOL) if self._draft.golden == "equal" else same_type
        check_golden(settled.manifest, examples, settled.outcomes, answered, alike)
        return self._finish(settled, examples)

    def _settled(self, single_precision: bool) -> tuple[Settled, Examples]:
        """Find the way to ask the model that works with its examples."""
        tried: dict[Takes, ClocheError] = {}
        for takes in ways_of(as_combined(self._draft, self._trial.steps), self._found):
            try:
                return self._settled_by(takes, single_precision)
            except (PublishError, MissingExtra) as error:
                tried[takes] = error
        raise none_works(self._found, tried) from next(reversed(tried.values())).__cause__

    def _settled_by(self, takes: Takes, single_precision: bool) -> tuple[Settled, Examples]:
        draft, found = self._draft, self._found
        examples = read_examples(as_called(draft, self._trial.steps), found, takes, single_precision)
        if self._trial.steps:
            examples = for_ensemble(draft, examples, self._trial.steps)
            examples = replace(examples, given=self._trial.beside_answers(examples.calls))
        begun = msgspec.structs.replace(
            _manifest(draft, self._packed, cast("Flavor", found.flavor), examples), takes=takes
        )
        settled = settle(draft, found, begun, lambda manifest: self._author(manifest, examples))
        if self._kind.is_asked_here:
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
        file, cases = _file(GOLDEN, personal[GOLDEN]), len(examples.calls)
        manifest = msgspec.structs.replace(
            settled.manifest,
            provenance=provenance(Path.cwd(), self._draft.message),
            environment=_needing(self._trial.environment, self._packed.requires),
            output_schema=describe_outputs(settled.manifest, settled.outcomes),
            golden=Golden(file=file, cases=cases, mode=self._draft.golden, rtol=RTOL, atol=ATOL),
            examples=_file(EXAMPLES, personal[EXAMPLES]),
        )
        notices = [*about_code(self._packed.code), *about_answers(settled.outcomes), *self._packed.notices]
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
        files=[_file(path, data, path in packed.executables) for path, data in sorted(packed.files.items())],
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
        each=draft.each,
        deadline_ms=draft.deadline_ms,
        hang_after_ms=draft.hang_after_ms,
        max_wait_ms=draft.max_wait_ms,
        max_batch=draft.max_batch,
        description=draft.description,
        **packed.fields,
    )


def _file(path: str, data: bytes, executable: bool = False) -> File:
    return File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data), executable=executable)


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Give a failure of the disk our name, with the file where it is known and else with `place`."""
    try:
        yield
    except OSError as error:
        raise FileUnusable(place=error.filename or place, reason=error.strerror or str(error)) from error


@contextmanager
def _step(progress: Progress, what: str) -> Iterator[None]:
    timer = threading.Timer(_SLOW_S, progress, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
