"""`cloche log export`: inferences as JSON Lines, CSV or Parquet."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from cloche.cli import show
from cloche.cli.log.filters import filter_options, settled
from cloche.cli.log.outfile import KINDS, check_out, noted
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.drivers import table_file
from cloche.log.export import LastLook, Progress, State, begin, unfinished, write_lines
from cloche.log.export import export as export_records
from cloche.log.reading import timestamp
from cloche.log.search import Query


@click.command()
@click.option("--out", required=True, metavar="FILE|-", help=f"Where to: a file ({KINDS}), or - for standard output.")
@filter_options
@click.option("--resume", is_flag=True, help="Go on with an export to this file that was cut short, if there is one.")
@click.option("--restart", is_flag=True, help="Begin anew, though an export to this file was cut short.")
@click.pass_obj
def export(place: Place, wanted: Query, out: str, resume: bool, restart: bool) -> None:
    """Write inferences to a file, the oldest first: those from before the command began.

    How the file is named says what it will be: .jsonl has one JSON object a line, with the id that its answer carried;
    .csv and .parquet have columns, with JSON text for input and output. --out - writes JSON Lines to standard output.

    A file appears under its name once it is complete, and replaces one that is there. Until then it is made in a folder
    beside it, FILE.part; an export that was cut short goes on there with --resume, with the filters that it began with.
    """
    if resume and restart:
        raise click.UsageError("--resume goes on and --restart begins anew: choose one.")
    if out == "-":
        _to_stdout(place, wanted, resume or restart)
        return
    file = Path(out)
    check_out(file)
    state = begin(file, wanted, resume=resume, restart=restart)
    if state.written:
        show.note(f"Going on after {state.written:,} inferences, up to {timestamp(state.begun_us)}.")
    last_look, progress = noted(place, file, state.begun_us), _Told(state.written)
    try:
        written = wait_for(_export(place, state, file, progress, last_look))
    except BaseException:
        progress.end()
        if (left := unfinished(file)) is not None:
            show.note(f"Cut short after {left.written:,} inferences. The same command goes on with --resume.")
        raise
    progress.end()
    show.note(f"{written:,} inferences written to {out}.")


def _to_stdout(place: Place, wanted: Query, goes_on: bool) -> None:
    if goes_on:
        raise click.UsageError("what goes to standard output can't go on; name a file.")
    progress = _Told(0)
    try:
        written = wait_for(_write_lines(place, wanted, progress))
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise
    progress.end()
    show.note(f"{written:,} inferences written.")


async def _export(place: Place, state: State, out: Path, progress: Progress, last_look: LastLook) -> int:
    opener = table_file(out.suffix.lower())
    return await export_records(await settled(place), state, out, opener, progress, last_look)


async def _write_lines(place: Place, wanted: Query, progress: Progress) -> int:
    written = await write_lines(await settled(place), wanted, sys.stdout.buffer, progress)
    sys.stdout.buffer.flush()
    return written


class _Told:
    """Says how many are written, how far in time, and how fast."""

    def __init__(self, before: int) -> None:
        self._before = before
        self._began = time.monotonic()
        self._progress = show.Progress("… {} inferences written, up to {}, {} a second")

    def __call__(self, written: int, time_us: int) -> None:
        """Learn how far it has come."""
        rate = (written - self._before) / max(time.monotonic() - self._began, 1e-3)
        self._progress(written, timestamp(time_us), f"{rate:,.0f}")

    def end(self) -> None:
        """Leave the line that was written over."""
        self._progress.end()
