"""From a draft to a published version, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from cloche.authoring.bridge import wait_for
from cloche.authoring.draft import Draft, check_options
from cloche.authoring.optimizing.finding import Around
from cloche.authoring.optimizing.publishing import with_second
from cloche.authoring.optimizing.unpublished import second_form
from cloche.authoring.packing import file_of
from cloche.authoring.preparing import Prepared, prepare
from cloche.authoring.progress import Progress, telling
from cloche.authoring.scratch import scratch_folder
from cloche.authoring.wheels import collect_wheels
from cloche.environments.python import PythonOf, this_python
from cloche.errors import FileUnusable
from cloche.registry.bundle import Manifest, encode_manifest
from cloche.registry.catalog import Added, Registry
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import find_steps
from cloche.values import SigningKey


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
        with telling(progress, "collecting what it asks"):
            steps = wait_for(find_steps(registry, draft.steps or {}, python_of=python_of, tell=progress))
        prepared = prepare(draft, progress, steps, confinement)
        if draft.vendor:
            with telling(progress, "collecting the wheels of its packages"):
                prepared = _vendored(prepared)
        if draft.optimize:
            prepared = _optimized(prepared, registry, Around(progress, confinement))
    with _translated(registry.where), telling(progress, f"writing to {registry.where}"):
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
            prepared.manifest, vendored=[file_of(path, data) for path, data in wheels.items()]
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


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Give a failure of the disk our name, with the file where it is known and else with `place`."""
    try:
        yield
    except OSError as error:
        raise FileUnusable(place=error.filename or place, reason=error.strerror or str(error)) from error
