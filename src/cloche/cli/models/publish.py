"""`cloche models publish`: a file, or an object of a module, as a version."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.mlflow import is_address
from cloche.authoring.publish import Published
from cloche.authoring.publish import publish as publish_draft
from cloche.cli import show
from cloche.cli.models.rows import read_json, read_rows
from cloche.cli.place import Place
from cloche.model import Command
from cloche.runtimes.confinement import confinement_of
from cloche.values import LONGEST_WAIT_MS, MOST_ROWS_TOGETHER

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("target")
@click.option("--name", required=True, help="The model.")
@click.option("--version", required=True, help="The version: 1.4.0, 2.0.0-rc.1.")
@click.option("--examples", required=True, type=_FILE, help="Some rows: .jsonl, .json, .csv or .parquet.")
@click.option("--training", type=_FILE, help="The rows that it was trained on, for what may be missing.")
@click.option(
    "--file", "files", multiple=True, metavar="NAME=PATH", help="A file that load() finds as NAME. Repeat it."
)
@click.option(
    "--include", multiple=True, metavar="NAME", help="A module, or files such as zoo/*.csv, to take along. Repeat it."
)
@click.option("--exclude", multiple=True, metavar="NAME", help="What to leave behind of your own modules. Repeat it.")
@click.option("--schema", type=_FILE, help="JSON Schema of a row, instead of one inferred from the examples.")
@click.option(
    "--unknown-fields",
    type=click.Choice(["refuse", "ignore"]),
    default="refuse",
    show_default=True,
    help="What becomes of fields that the schema does not name.",
)
@click.option(
    "--on-unseen",
    type=click.Choice(["pass", "null", "refuse"]),
    default="pass",
    show_default=True,
    help="What becomes of a value that is none of its column's categories.",
)
@click.option(
    "--required", multiple=True, metavar="FIELD", help="A field that may be neither missing nor null. Repeat it."
)
@click.option("--method", help="What to call: predict, predict_proba, …")
@click.option("--takes", type=click.Choice(["rows", "row", "keywords", "frame", "array"]), help="What it is given.")
@click.option("--command", "is_command", is_flag=True, help="TARGET is a program with its arguments, as for a shell.")
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="NAME=MODEL@VERSION",
    help="An ensemble: a version to ask first, whose answer TARGET gets as NAME. Repeat it.",
)
@click.option("--each", metavar="POINTER", help="A ranking: where the list of items is, such as /items.")
@click.option("--item-id", help="A ranking: the field that names an item.")
@click.option("--order", type=click.Choice(["desc", "asc"]), default="desc", show_default=True, help="Of a ranking.")
@click.option("--max-items", type=click.IntRange(1), metavar="N", default=1000, show_default=True, help="Of a ranking.")
@click.option("--score", metavar="POINTER", help="Where in an answer the number is that drift looks at.")
@click.option("--redact", multiple=True, metavar="POINTER", help="What no record keeps, as /input/name. Repeat it.")
@click.option(
    "--golden",
    type=click.Choice(["equal", "schema"]),
    default="equal",
    show_default=True,
    help="A fresh worker must answer the examples equally; for random models: as the schema says.",
)
@click.option("--provider", "providers", multiple=True, help="What an ONNX graph must run on. Repeat it.")
@click.option("--deadline-ms", type=click.IntRange(1), metavar="N", help="Deadline of calls that state none.")
@click.option(
    "--hang-after-ms", type=click.IntRange(1), metavar="N", help="A worker busy for longer with one call is replaced."
)
@click.option(
    "--max-wait-ms", type=click.IntRange(1, LONGEST_WAIT_MS), metavar="N", help="How long calls wait for company."
)
@click.option(
    "--max-batch", type=click.IntRange(1, MOST_ROWS_TOGETHER), metavar="ROWS", help="Most rows that go together."
)
@click.option("--description", help="What it is, for those who call it.")
@click.option(
    "--sign", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Sign it with this private key."
)
@click.option("--vendor", is_flag=True, help="Keep the wheels of its packages, so that it needs no index later.")
@click.option("--optimize", is_flag=True, help="Publish it with a second form that is faster, where there is one.")
@click.option("-m", "--message", help="What is new, for those who look at its versions.")
@show.json_option
@click.pass_obj
def publish(place: Place, /, target: str, as_json: bool, **options: Any) -> None:
    """Publish TARGET as a version of a model, after a fresh worker has answered the examples.

    TARGET is a file (.onnx; .ubj, .json or .txt that XGBoost or LightGBM saved; .pkl, .joblib or .dill, which only a
    worker opens), an MLflow model (a folder, models:/… or runs:/…), or module:attribute, which is imported from this
    folder: an estimator, a cloche.Model, a function of a row, any object with predict. With --step it makes one answer
    of those of the steps, or is 'mean', or the step whose answer counts.

    The first version of a model is live at once; a later one changes nothing that is live.
    """
    if (options["each"] is None) != (options["item_id"] is None):
        raise click.UsageError("A ranking needs both --each and --item-id.")
    draft = _draft(target, options)
    registry, confinement = place.registry(), confinement_of(place.settings().workers)
    python_of = place.interpreters(registry).of
    published = publish_draft(draft, registry, lambda step: show.note(f"… {step}"), confinement, python_of)
    if as_json:
        show.document(_as_json(published))
    else:
        _say(published)


def _draft(target: str, options: dict[str, Any]) -> Draft:
    training, schema = options.pop("training"), options.pop("schema")
    return Draft(
        model=_model(target, options),
        examples=read_rows(options.pop("examples")),
        training=read_rows(training) if training else None,
        files=dict(map(_file, options.pop("files"))),
        steps=dict(map(_named_step, options.pop("steps"))),
        schema=read_json(schema) if schema else None,
        providers=options.pop("providers") or None,
        **options,
    )


def _model(target: str, options: dict[str, Any]) -> object:
    sys.path.insert(0, str(Path.cwd()))
    if options.pop("is_command"):
        return Command(shlex.split(target))
    module, colon, attribute = target.partition(":")
    if is_address(target) or (options["steps"] and not colon):
        return target
    if Path(target).exists() or not colon or "/" in target:
        return Path(target)
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the author's module raises  # noqa: BLE001
        hint = f"\nName the module: {module[:-3]}:{attribute}" if module.endswith(".py") else ""
        raise click.ClickException(f"{target} can't be imported: {type(error).__name__}: {error}{hint}") from None
    return found


def _named_step(pair: str) -> tuple[str, str]:
    name, equals, version = pair.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{pair!r} is not NAME=MODEL@VERSION.", param_hint="--step")
    return name, version


def _file(pair: str) -> tuple[str, Path]:
    name, equals, path = pair.partition("=")
    if not equals or not Path(path).is_file():
        raise click.BadParameter(f"{pair!r} is not NAME=PATH of a file.", param_hint="--file")
    return name, Path(path)


def _as_json(published: Published) -> dict[str, object]:
    return {
        "model": published.manifest.name,
        "version": published.manifest.version,
        "digest": published.digest,
        "new": published.is_new,
        "live": published.live,
        "where": published.where,
        "notices": published.notices,
    }


def _say(published: Published) -> None:
    name, version = published.manifest.name, published.manifest.version
    for notice in published.notices:
        show.note(show.printable(notice))
    if published.is_new:
        click.echo(f"Published {name} {version} to {published.where}")
    else:
        click.echo(f"{name} {version} was published before with the same content; nothing changed.")
    if published.live:
        click.echo("It is live: `cloche serve` serves it.")
    else:
        click.echo(f"Another version is live. To make this one live: cloche models default {name} {version}")
