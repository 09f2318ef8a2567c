"""`cloche demo`: the whole way on real data."""

from __future__ import annotations

from pathlib import Path

import click

from cloche.errors import MissingExtra


@click.command()
@click.option("--once", is_flag=True, help="End after the calls, and do not wait for Ctrl-C.")
@click.option(
    "--folder", default=".cloche-demo", type=click.Path(path_type=Path), help="Where to; it is emptied first."
)
def demo(once: bool, folder: Path) -> None:
    """Train three models on the flights that left New York in 2013, publish and serve them, and send later flights."""
    try:
        from cloche.demo.tour import run
    except ModuleNotFoundError as error:
        raise MissingExtra(what="The demo", module=error.name, requirement="cloche[demo]") from None
    run(folder, once)
