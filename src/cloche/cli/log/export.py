"""`cloche log export`: inferences as JSON Lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click

from cloche.cli import show
from cloche.cli.log.filters import filter_options, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log import reading
from cloche.ports import Filter


@click.command()
@click.option("--out", required=True, metavar="FILE|-", help="Where to: a file, or - for standard output.")
@filter_options
@click.pass_obj
def export(place: Place, wanted: Filter, out: str) -> None:
    """Write inferences as JSON Lines, the oldest first: one object each, with the id that its answer carried.

    A file appears under its name once it is complete, and replaces one that is there.
    """
    to_stdout = out == "-"
    if not to_stdout and (Path(out).is_dir() or not Path(out).absolute().parent.is_dir()):
        raise click.BadParameter(f"no file can be made at {out}; its folder must exist.", param_hint="--out")
    progress = show.Progress("{} inferences written …")
    written = wait_for(_export(place, wanted, sys.stdout.buffer if to_stdout else Path(out), progress))
    progress.end()
    show.note(f"{written:,} inferences written{'' if to_stdout else f' to {out}'}.")


async def _export(place: Place, wanted: Filter, out: Path | IO[bytes], progress: show.Progress) -> int:
    written = await reading.export(await settled(place), wanted, out, progress)
    if not isinstance(out, Path):
        out.flush()
    return written
