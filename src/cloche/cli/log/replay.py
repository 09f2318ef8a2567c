"""`cloche log replay`: recorded inferences through another version."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from cloche.assembly.loader import open_loader
from cloche.cli import show
from cloche.cli.log.filters import Typed, filter_options, settled
from cloche.cli.log.outfile import KINDS, check_out, noted
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.drivers import table_file
from cloche.hindsight.loading import NICENESS
from cloche.hindsight.replay import Replay, Through, Watching, live_until_now, read_sample
from cloche.hindsight.replay import replay as replay_records
from cloche.log.export import new_file
from cloche.log.reading import timestamp
from cloche.log.search import Query, read_cursor
from cloche.pages.replay import replay_page
from cloche.ports import Cursor

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_OWN = ("model", "version", "kind", "shadowed", "shadows")


@click.command()
@click.option("--model", required=True, metavar="NAME", help="Whose inferences.")
@click.option(
    "--version", required=True, metavar="VERSION", help="The version that they are put to; it need not be live."
)
@click.option(
    "--sample",
    type=Typed("sample", read_sample),
    metavar="N|P%",
    help="So many of them, or such a share: a random sample, the same every time.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help=f"Write both answers to a file ({KINDS}).")
@click.option(
    "--after", type=Typed("page", read_cursor), help="Go on where an earlier one was stopped, which has said how."
)
@partial(filter_options, but=_OWN)
@show.json_option
@click.pass_obj
def replay(place: Place, /, wanted: Query, out: Path | None, as_json: bool, **asked: Any) -> None:
    """Put recorded live inferences to another version, and say what it would have answered otherwise.

    The version is loaded in a worker that gives way to everything else, and is asked what its callers asked, at the
    time when they did. Nothing is recorded. Ctrl-C or SIGTERM ends it with what there is until then, and says how to go
    on; so does a log that can't be read any further, with status 1.

    --out writes both answers, in the columns of `cloche log export`: those that were recorded, of kind live, and those
    of the version, of kind history, with the same ids.
    """
    if out is not None:
        check_out(out)
    os.nice(NICENESS)
    found = wait_for(_replayed(place, wanted, asked, out))
    if as_json:
        show.document(found)
    else:
        show.page(replay_page(found))
    if out is not None:
        show.note(f"Both answers to {found.calls:,} inferences written to {out}.")
    if found.after is not None:
        more = shlex.join(["--until", found.until or "", "--after", found.after])
        show.note(f"This is a part of it. The same command goes on with: {more}")
    if found.failure is not None:
        raise click.ClickException(found.failure)


async def _replayed(place: Place, wanted: Query, asked: dict[str, Any], out: Path | None) -> Replay:
    model, after = str(asked["model"]), asked["after"]
    assert after is None or isinstance(after, Cursor)
    reader = await settled(place)
    stopped, told = _stopped_by_hand(), _Told()
    async with AsyncExitStack() as stack:
        loader = await stack.enter_async_context(open_loader(place.home, place.settings(), show.Steps()))
        version, digest = await loader.registry.resolve(model, str(asked["version"]))
        through = Through(model, version, digest, live_until_now(wanted, model), asked["sample"], after)
        answers = None
        if out is not None:
            file = new_file(out, table_file(out.suffix.lower()), noted(place, out))
            answers = await stack.enter_async_context(file)
        found = await replay_records(reader, loader, through, Watching(told, answers, stopped.is_set))
        told.end()
        return found


def _stopped_by_hand() -> asyncio.Event:
    """Return what Ctrl-C sets, and SIGTERM. The next one ends the command at once."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        stopped.set()
        show.note("Stopping with the calls that are under way … Once more ends it at once.")
        for each in _STOPPING:
            loop.remove_signal_handler(each)

    for each in _STOPPING:
        loop.add_signal_handler(each, stop)
    return stopped


class _Told:
    """Says how many were asked, how far in time, and how fast."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._progress = show.Progress("… {} inferences asked again, up to {}, {} a second")

    def __call__(self, calls: int, time_us: int) -> None:
        """Learn how far it has come."""
        rate = calls / max(time.monotonic() - self._began, 1e-3)
        self._progress(calls, timestamp(time_us), f"{rate:,.0f}")

    def end(self) -> None:
        """Leave the line that was written over."""
        self._progress.end()
