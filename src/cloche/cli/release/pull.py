"""`cloche release pull`: what is live, as a file."""

from __future__ import annotations

from pathlib import Path

import click

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.registry.goal import goal_file, load_goal
from cloche.registry.pull import pull as pull_live


@click.command()
@click.argument("models", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="The file; without it, models.toml of the project.")
@show.json_option
@click.pass_obj
def pull(place: Place, models: tuple[str, ...], file: Path | None, as_json: bool) -> None:
    """Write what is live into models.toml: of MODELS; without any, of those in the file; where there is none, of all.

    Sections that say so already, in whatever words, stay as they are, with their comments. For a model that is held,
    this keeps what is live: the next `cloche apply` finds that the file agrees, and lifts the hold.
    """
    path = goal_file(place.home, file)
    goal = load_goal(path) if path.exists() else None
    pulled = wait_for(pull_live(place.registry(), goal, models))
    for name, content in pulled.files.items():
        schema = path.parent / name
        schema.parent.mkdir(parents=True, exist_ok=True)
        _write(schema, content)
    if pulled.models:
        _write(path, pulled.text.encode())
    if as_json:
        show.document({"file": str(path), "models": pulled.models, "schemas": sorted(pulled.files)})
    elif pulled.models:
        click.echo(f"{path}: {', '.join(pulled.models)} as live now.")
    else:
        click.echo(f"{path} says already what is live.")


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place, whole."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)
