"""`cloche models ls` and `cloche models show`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec

from cloche.cli import show as shown
from cloche.cli.loop import wait_for
from cloche.cli.models.diff import package_changes
from cloche.cli.models.signing import in_words
from cloche.cli.place import Place
from cloche.errors import MissingExtra
from cloche.log.reading import timestamp
from cloche.pages.optimized import optimized_lines
from cloche.processes.boot import ServerFile
from cloche.registry.between import Between, before, between
from cloche.registry.bundle import Manifest
from cloche.registry.cache import bundle_files
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Routing
from cloche.schema import example_of
from cloche.web.describe import curl


@click.command()
@shown.json_option
@click.pass_obj
def ls(place: Place, as_json: bool) -> None:
    """List the models, with the version that answers and the newest."""
    models = wait_for(_listed(place.registry()))
    if as_json:
        shown.document(models)
    elif models:
        fields = ("model", "default", "release", "newest", "versions")
        rows = [[*(model[field] for field in fields[:-1]), len(model["versions"])] for model in models]
        shown.table(fields, [["-" if cell is None else cell for cell in row] for row in rows])
    else:
        shown.note(f"No model is published in {place.registry().where} (home {place.why}).")
        shown.note("Publish one: cloche models publish FILE --name NAME --version 1.0.0 --examples ROWS")


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@shown.json_option
@click.pass_obj
def show(place: Place, name: str, version: str | None, as_json: bool) -> None:
    """Show a model: its routing and its versions. With VERSION: all there is to know of that one.

    VERSION is exact, or a pattern such as '2.*' that means the highest it fits.
    """
    if version is None:
        _show_model(wait_for(_model(place.registry(), name)), as_json)
    else:
        _show_version(wait_for(_version(place.registry(), name, version)), _curl_of(place), as_json)


async def _listed(registry: Registry) -> list[dict[str, Any]]:
    live = await registry.releases.live()
    return [_summary(name, await registry.versions(name), live) for name in await registry.models()]


def _summary(name: str, versions: list[str], live: Live) -> dict[str, Any]:
    routing = live.models.get(name)
    return {
        "model": name,
        "default": routing.default if routing else None,
        "release": live.released.get(name),
        "newest": versions[-1],
        "active": [version for version in versions if routing and version in routing.active],
        "versions": versions,
    }


async def _model(registry: Registry, name: str) -> dict[str, Any]:
    versions = await registry.versions(name)
    if not versions:
        await registry.resolve(name, "*")  # raises, and names the models there are
    live = await registry.releases.live()
    routing = live.models.get(name)
    manifests = [(await registry.manifest(name, version))[0] for version in versions]
    return {
        "model": name,
        "release": live.released.get(name),
        "routing": msgspec.to_builtins(routing) if routing else None,
        "versions": [_brief(manifest, routing) for manifest in manifests],
    }


class Version(msgspec.Struct, frozen=True):
    """A version, and what it has otherwise than the one before."""

    manifest: Manifest
    digest: str
    signatures: list[str]
    """Of each, who made it, or why it does not count here."""
    changes: Between | None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in bundle_files(self.manifest))


async def _version(registry: Registry, name: str, wanted: str) -> Version:
    version, _ = await registry.resolve(name, wanted)
    manifest, digest = await registry.manifest(name, version)
    earlier = before(version, await registry.versions(name))
    changes = between((await registry.manifest(name, earlier))[0], manifest) if earlier else None
    return Version(manifest, digest, await _signatures(registry, manifest, digest), changes)


async def _signatures(registry: Registry, manifest: Manifest, digest: str) -> list[str]:
    names = (manifest.name, manifest.version)
    if not await registry.signatures.stored(*names):
        return []
    try:
        verdicts = await registry.signatures.verdicts(*names, await registry.encoded(*names, digest))
    except MissingExtra as error:
        return [str(error)]
    return list(map(in_words, verdicts))


def _curl_of(place: Place) -> Callable[[Manifest], str]:
    """Return what makes a call to a version that can be pasted into a shell here."""
    settings, server = place.settings(), ServerFile.read(place.home)
    base = server.url if server else f"http://{settings.server.host}:{settings.server.port}"

    def made(manifest: Manifest) -> str:
        row = example_of(manifest.input_schema) or {}
        return curl(
            f"{base}/models/{manifest.name}/versions/{manifest.version}/predict", {"input": row}, settings.secured
        )

    return made


def _brief(manifest: Manifest, routing: Routing | None) -> dict[str, Any]:
    active = routing is not None and manifest.version in routing.active
    default = routing is not None and manifest.version == routing.default
    return {
        "version": manifest.version,
        "state": "default" if default else "active" if active else "published",
        "flavor": manifest.flavor,
        "published": timestamp(manifest.provenance.created_us),
        "author": manifest.provenance.author,
        "message": manifest.provenance.message,
    }


def _show_model(model: dict[str, Any], as_json: bool) -> None:
    if as_json:
        shown.document(model)
        return
    routing = model["routing"] or {}
    pairs = [("model", model["model"]), ("default", routing.get("default", "none: nothing of it is live"))]
    pairs += [("release", model["release"])] if model["release"] else []
    pairs += [
        (field, msgspec.json.encode(value).decode()) for field, value in routing.items() if _is_said(field, value)
    ]
    shown.facts(pairs)
    click.echo()
    fields = ("version", "state", "flavor", "published", "author", "message")
    shown.table(fields, [[version[field] for field in fields] for version in model["versions"]])
    if not routing:
        newest = model["versions"][-1]["version"]
        shown.note(f"\nMake one live: cloche models default {model['model']} {newest}")


def _asked(manifest: Manifest) -> str:
    """Return how a version is asked, in the words of its flavor."""
    if manifest.command:
        return shlex.join(manifest.command)
    return manifest.combine or f"{manifest.entry}, {manifest.method}({manifest.takes})"


def _is_said(field: str, value: object) -> bool:
    return field not in ("active", "default") and bool(value) and (field, value) != ("criticality", "default")


def _show_version(found: Version, made_curl: Callable[[Manifest], str], as_json: bool) -> None:
    manifest, changes = found.manifest, found.changes
    if as_json:
        stored = {"digest": found.digest, "size": found.size, **msgspec.to_builtins(manifest)}
        stored["signatures"] = found.signatures
        shown.document({**stored, "curl": made_curl(manifest), "changes": changes})
        return
    pairs = [*_facts(found), ("curl", made_curl(manifest) + "\n")]
    if changes is not None:
        pairs.append((f"since {changes.since}", _lines(_changes(changes)) or "nothing but its golden cases and words"))
    shown.facts([(name, value) for name, value in pairs if value])


def _facts(found: Version) -> list[tuple[str, object]]:
    manifest, made = found.manifest, found.manifest.provenance
    commit = f"{made.git_commit}{' with changes' if made.git_dirty else ''}" if made.git_commit else "none"
    return [
        ("model", manifest.name),
        ("version", manifest.version),
        ("digest", found.digest),
        ("flavor", f"{manifest.flavor}: {_asked(manifest)}"),
        ("optimized", _lines(optimized_lines(manifest.optimized)) if manifest.optimized else None),
        ("steps", _lines(f"{name}  {step.model} {step.version}" for name, step in (manifest.steps or {}).items())),
        ("published", f"{timestamp(made.created_us)} by {made.author}"),
        ("message", made.message),
        ("commit", commit),
        ("description", manifest.description),
        ("python", f"{manifest.environment.python} on {manifest.environment.platform}"),
        ("packages", _lines(f"{name}=={version}" for name, version in manifest.environment.distributions.items())),
        ("files", _lines(f"{file.path}  {file.size:,} bytes" for file in manifest.files)),
        ("size", f"{found.size:,} bytes with its golden cases and examples"),
        ("signatures", _lines(found.signatures)),
        ("golden", f"{manifest.golden.cases} cases" if manifest.golden else None),
        ("deadline", f"{manifest.deadline_ms} ms" if manifest.deadline_ms else None),
        ("batches", _batches(manifest)),
        ("input", _json(manifest.input_schema)),
        ("output", _json(manifest.output_schema) if manifest.output_schema else None),
    ]


def _batches(manifest: Manifest) -> str | None:
    rows = f"at most {manifest.max_batch} rows" if manifest.max_batch else None
    wait = f"calls wait for {manifest.max_wait_ms} ms" if manifest.max_wait_ms else None
    return "; ".join(filter(None, (rows, wait))) or None


def _changes(changes: Between) -> Iterator[str]:
    for name, (old, new) in changes.traits.items():
        yield f"{name}: {'none' if old is None else old} -> {'none' if new is None else new}"
    found = changes.schema.compatibility
    if found.verdict != "yes":
        yield f"schema: it {found.fact} {changes.since} took"
    yield from (f"schema: {difference}" for difference in (*found.differences, *changes.schema.additions))
    yield from (f"package: {change}" for change in package_changes(changes.environment))
    yield from (f"file: {path} is {fate}" for path, fate in changes.files.items())


def _lines(parts: Any) -> str:
    return "".join(f"{part}\n" for part in parts)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
