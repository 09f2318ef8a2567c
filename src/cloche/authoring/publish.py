"""From a draft to a published version, step by step."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cloche.authoring.bridge import wait_for
from cloche.authoring.draft import Draft, check_options
from cloche.authoring.examples import Examples, read_examples
from cloche.authoring.onnx_graph import graph_traits
from cloche.authoring.outcomes import Outcome, close_to, describe_outputs, golden_lines, same_type
from cloche.authoring.own import OnlyWorkersOpenIt, own_outcomes
from cloche.authoring.packing import MODEL_ONNX, MODEL_PICKLE, pack
from cloche.authoring.provenance import provenance
from cloche.authoring.report import check_golden
from cloche.authoring.scratch import scratch_folder
from cloche.authoring.settle import Settled, faster, settle
from cloche.authoring.traits import traits
from cloche.authoring.trial import Trial
from cloche.errors import FileUnusable, GoldenMismatch, NotPublishable
from cloche.registry.bundle import (
    MANIFEST_FORMAT,
    File,
    Flavor,
    Golden,
    Manifest,
    Provenance,
    check_name,
    check_version,
)
from cloche.registry.catalog import NOWHERE, Registry
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first

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


def publish(draft: Draft, registry: Registry, progress: Progress = lambda _: None) -> Published:
    """Publish a draft. The first version of a model is live at once; a later one changes nothing that is live.

    Args:
        draft: what to publish.
        registry: where.
        progress: is told of steps that take longer than a second.

    Raises:
        PublishError: it can't be published as it is; nothing was.
        RegistryError: the registry can't take it.
        MissingExtra: a package that this needs is not installed.
    """
    with _translated(tempfile.gettempdir()):
        prepared = prepare(draft, progress)
    with _translated(registry.where), _step(progress, f"writing to {registry.where}"):
        return wait_for(_add(prepared, registry))


async def _add(prepared: Prepared, registry: Registry) -> Published:
    added = await registry.add(prepared.manifest, prepared.contents)
    name, version = added.manifest.name, added.manifest.version
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
        notices=prepared.notices,
    )


def prepare(draft: Draft, progress: Progress = lambda _: None) -> Prepared:
    """Make the bundle of a draft, and prove with a fresh worker that it answers as the author's object does.

    Raises:
        PublishError: it can't be published as it is.
        MissingExtra: a package that this needs is not installed.
    """
    check_name(draft.name)
    check_version(draft.version)
    check_options(draft)
    with _step(progress, "collecting what the model needs"):
        contents = pack(draft)
    found = _known_traits(draft, contents)
    with scratch_folder() as folder:
        trial = Trial(contents, folder)
        if draft.is_pickle:
            with _step(progress, "opening the pickle in a fresh worker"):
                found = trial.traits(_manifest(draft, contents, "sklearn"))
        if found["flavor"] is None:
            raise NotPublishable(kind=found["kind"], reason=found["advice"])
        attempt = _Attempt(draft, found, trial, progress)
        if draft.each is None or found["flavor"] == "onnx" or draft.golden == "schema":
            return attempt.run(single_precision=False)
        try:
            return attempt.run(single_precision=True)
        except GoldenMismatch:
            prepared = attempt.run(single_precision=False)
            prepared.notices.append("The items stay in double precision: in single precision the answers change.")
            return prepared


def _known_traits(draft: Draft, contents: Mapping[str, bytes]) -> dict[str, Any]:
    if draft.is_onnx:
        return graph_traits(contents[MODEL_ONNX])
    return {} if draft.is_pickle else traits(draft.model, draft.method or "predict")


class _Attempt:
    """One way to publish a draft, tried out."""

    def __init__(self, draft: Draft, found: Mapping[str, Any], trial: Trial, progress: Progress) -> None:
        self._draft = draft
        self._found = found
        self._trial = trial
        self._progress = progress

    def run(self, single_precision: bool) -> Prepared:
        draft, contents = self._draft, self._trial.contents
        examples = read_examples(draft, self._found, single_precision)
        begun = _manifest(draft, contents, self._found["flavor"], examples)
        with _step(self._progress, "asking your own object the examples"):
            settled = settle(draft, self._found, examples, begun, lambda manifest: self._author(manifest, examples))
            if not (draft.is_file or draft.is_onnx):
                settled = faster(settled, examples, lambda manifest: self._author(manifest, examples))
        with _step(self._progress, "asking a fresh worker the same"):
            answered = self._trial.ask(settled.manifest, examples.calls)
        alike = close_to(RTOL, ATOL) if draft.golden == "equal" else same_type
        check_golden(settled.manifest, examples, settled.outcomes, answered, alike)
        return self._finish(settled, examples)

    def _author(self, manifest: Manifest, examples: Examples) -> list[Outcome]:
        """Ask the author's object; where this process does not open it, a worker of its own."""
        if not (self._draft.is_file or self._draft.is_onnx):
            with suppress(OnlyWorkersOpenIt):
                return own_outcomes(self._draft, examples, self._trial.stage(manifest))
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
            environment=self._trial.environment,
            output_schema=describe_outputs(settled.manifest, settled.outcomes),
            golden=Golden(file=file, cases=cases, mode=self._draft.golden, rtol=RTOL, atol=ATOL),
            examples=_file(EXAMPLES, personal[EXAMPLES]),
        )
        code = [path.removeprefix("code/") for path in self._trial.contents if path.startswith("code/")]
        notices = [f"Your own modules went in as source: {', '.join(code)}"] if code else []
        return Prepared(manifest, {**self._trial.contents, **personal}, notices)


def _manifest(
    draft: Draft, contents: Mapping[str, bytes], flavor: Flavor, examples: Examples | None = None
) -> Manifest:
    return Manifest(
        format=MANIFEST_FORMAT,
        name=draft.name,
        version=draft.version,
        flavor=flavor,
        files=[_file(path, data) for path, data in sorted(contents.items())],
        entry=MODEL_ONNX if draft.is_onnx else MODEL_PICKLE,
        input_schema=examples.schema if examples else {},
        provenance=Provenance(author="", created_us=0),
        environment=NOWHERE,
        method=draft.method or "predict",
        unknown_fields=draft.unknown_fields,
        frame=examples.frame if examples else None,
        each=draft.each,
        deadline_ms=draft.deadline_ms,
        hang_after_ms=draft.hang_after_ms,
        description=draft.description,
    )


def _file(path: str, data: bytes) -> File:
    return File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


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
