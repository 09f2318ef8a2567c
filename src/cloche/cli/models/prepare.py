"""`cloche models prepare`: a version's files and its Python environment on this host, before they are needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.environments.altered import altered
from cloche.environments.recipe import differences
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.copies import Copy, copy_of
from cloche.runtimes.started import start_version


class Run(msgspec.Struct, frozen=True):
    """What runs a version here: itself, or a step of an ensemble."""

    model: str
    version: str
    python: str
    """The interpreter of its workers."""
    own: bool
    """Whether that has an environment of its own, with other packages than are installed beside Cloche."""
    differing: list[str]
    """What it was made with otherwise than is installed here."""
    altered: list[str]
    """Packages of its environment that somebody has changed since it was built."""


class Ready(msgspec.Struct, frozen=True):
    """A version that can be loaded here."""

    runs: list[Run]
    """The version, and below it the steps of an ensemble."""
    prepared_s: float
    cold_start_s: float
    """From the start of a new worker until it has loaded the model."""


@click.command()
@click.argument("name")
@click.argument("version")
@show.json_option
@click.pass_obj
def prepare(place: Place, name: str, version: str, as_json: bool) -> None:
    """Copy a version to this host and build its environment, so that a server loads it at once.

    An environment is built only where the version was made with other packages than are installed here. Then a worker
    loads the model once, to show that it does. VERSION is exact, or a pattern such as '2.*'.

    Ends with status 1 where somebody has changed a package of an environment since it was built.
    """
    began = time.monotonic()
    copy = wait_for(_prepared(place, name, version))
    prepared_s = time.monotonic() - began
    cold_start_s = _cold_start_s(place, copy) if copy.manifest.runs_code else 0.0
    ready = Ready(list(_runs(copy)), round(prepared_s, 3), round(cold_start_s, 3))
    if as_json:
        show.document(ready)
    else:
        _say(ready)
    for run in ready.runs:
        if run.altered:
            raise click.ClickException(
                f"{', '.join(run.altered)} was changed in {_environment(run.python)} since it was built. "
                "Stop what uses the environment, remove it, and prepare the version again."
            )


async def _prepared(place: Place, name: str, wanted: str) -> Copy:
    registry = place.registry()
    version, digest = await registry.resolve(name, wanted)
    python_of = place.interpreters(registry).of
    return await copy_of(registry, name, version, digest, python_of=python_of, tell=show.Steps())


def _cold_start_s(place: Place, copy: Copy) -> float:
    workers = place.settings().workers
    began = time.monotonic()
    with start_version(copy, confinement=confinement_of(workers)) as worker:
        worker.wait_loaded(workers.load_ms / 1000)
        return time.monotonic() - began


def _runs(copy: Copy) -> Iterator[Run]:
    manifest, own = copy.manifest, copy.python != sys.executable
    changed = altered(_environment(copy.python)) if own else []
    differing = differences(manifest.environment)
    yield Run(manifest.name, manifest.version, copy.python, own=own, differing=differing, altered=changed)
    for step in copy.steps.values():
        yield from _runs(step)


def _environment(python: str) -> Path:
    return Path(python).parents[1]


def _say(ready: Ready) -> None:
    for run in ready.runs:
        if not run.own:
            click.echo(f"{run.model} {run.version} runs with the packages that are installed here.")
            continue
        click.echo(f"{run.model} {run.version} has an environment of its own: {run.python}")
        for line in run.differing:
            click.echo(f"  made with {line}")
    click.echo(f"Prepared in {ready.prepared_s:.1f} s. A new worker loads it in {ready.cold_start_s:.2f} s.")
