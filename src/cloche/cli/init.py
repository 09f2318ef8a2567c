"""`cloche init`: a home in this folder, and a settings file with everything in it as comments."""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from pathlib import Path

import click

from cloche.cli.place import Place
from cloche.home import Home
from cloche.settings import SECRETS, Setting, declared

_WIDTH = 100
_EXAMPLES = {
    "registry": "s3://bucket/prefix",
    "idempotency": "redis://host:6379/0",
    "log.subject_key": "env:CLOCHE_LOG_SUBJECT_KEY",
}
"""What is shown of settings whose default can't be written."""

_HEAD = """\
# Settings of Cloche. What is commented out shows the default. Each can also be set in the environment:
# {example}. Secrets are given as "env:NAME" or "file:/path", never as they are.
"""


@click.command()
@click.pass_obj
def init(place: Place) -> None:
    """Make a home for models in this folder.

    Writes .cloche, a folder for bundles, releases and the inference log, and cloche.toml, a settings file in which
    everything is commented out. What is there already stays as it is. Nothing needs it: `cloche serve` works in an
    empty folder too.
    """
    home = place.home if place.chosen else Home(Path.cwd() / ".cloche")
    _make("home", home.path, _make_folder(home.path))
    _make("settings", home.settings_file, _make_file(home.settings_file, settings_template()))
    if place.home.path.parent in home.path.parent.parents and place.home.path.is_dir():
        click.echo(f"From now on commands run here use this home, and no longer {place.home.path}.")
    click.echo("\nNext, in a notebook or a script that runs in this folder:")
    click.echo("    from cloche import publish")
    click.echo('    publish(model, name="my-model", version="1.0.0", examples=X.head(20))')
    click.echo("and then, in a shell:\n    cloche serve")


def settings_template() -> str:
    """Return a `cloche.toml` that changes nothing and shows everything."""
    settings = list(declared())
    example = next(setting.variable for setting in settings if len(setting.path) > 1)
    parts = [_HEAD.format(example=example)]
    for section, members in groupby(settings, key=lambda setting: setting.path[:-1]):
        if section:
            parts.append(f"\n[{'.'.join(section)}]\n")
        parts.extend(_commented(setting) for setting in members)
    return "".join(parts)


def _commented(setting: Setting) -> str:
    meaning = textwrap.fill(setting.description, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    name = setting.path[-1]
    if setting.is_table:
        return f"\n{meaning}\n# [{name}.NAME]\n"
    usual = _EXAMPLES.get(setting.name, setting.default)
    value = f'"env:{setting.variable}"' if name in SECRETS else json.dumps(usual)
    return f"\n{meaning}\n# {name} = {value}\n"


def _make_folder(folder: Path) -> bool:
    made = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_file(folder / ".gitignore", "# bundles, records of people, locks: nothing for a repository\n*\n")
    return made


def _make_file(file: Path, text: str) -> bool:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return False
    return True


def _make(what: str, path: Path, made: bool) -> None:
    click.echo(f"{what:<8}  {path}{'' if made else '  (was there already)'}")
