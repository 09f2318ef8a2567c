"""`cloche models ls` and `cloche models show`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from cloche.cli import show as shown
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import timestamp
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Routing


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
        shown.note(f"No model is published in {place.home.registry} (home {place.why}).")
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
        _show_version(*wait_for(_version(place.registry(), name, version)), as_json)


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


async def _version(registry: Registry, name: str, wanted: str) -> tuple[Manifest, str]:
    version, _ = await registry.resolve(name, wanted)
    return await registry.manifest(name, version)


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


def _is_said(field: str, value: object) -> bool:
    return field not in ("active", "default") and bool(value)


def _show_version(manifest: Manifest, digest: str, as_json: bool) -> None:
    if as_json:
        shown.document({"digest": digest, **msgspec.to_builtins(manifest)})
        return
    made = manifest.provenance
    commit = f"{made.git_commit}{' with changes' if made.git_dirty else ''}" if made.git_commit else "none"
    pairs: list[tuple[str, object]] = [
        ("model", manifest.name),
        ("version", manifest.version),
        ("digest", digest),
        ("flavor", f"{manifest.flavor}: {manifest.entry}, {manifest.method}({manifest.takes})"),
        ("published", f"{timestamp(made.created_us)} by {made.author}"),
        ("message", made.message),
        ("commit", commit),
        ("description", manifest.description),
        ("python", f"{manifest.environment.python} on {manifest.environment.platform}"),
        ("packages", _lines(f"{name}=={version}" for name, version in manifest.environment.distributions.items())),
        ("files", _lines(f"{file.path}  {file.size:,} bytes" for file in manifest.files)),
        ("golden", f"{manifest.golden.cases} cases" if manifest.golden else None),
        ("deadline", f"{manifest.deadline_ms} ms" if manifest.deadline_ms else None),
        ("input", _json(manifest.input_schema)),
        ("output", _json(manifest.output_schema) if manifest.output_schema else None),
    ]
    shown.facts([(name, value) for name, value in pairs if value])


def _lines(parts: Any) -> str:
    return "".join(f"{part}\n" for part in parts)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
