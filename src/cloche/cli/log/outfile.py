"""Files that commands of the log write inferences to: which names they may have, and who must not be in them."""

from __future__ import annotations

import time
from pathlib import Path

import click

from cloche.assembly.stores import open_store
from cloche.cli import show
from cloche.cli.place import Place
from cloche.drivers import TABLE_FILES, erasing_file
from cloche.erasure.exports import Exports
from cloche.erasure.orders import Orders
from cloche.log.export import LastLook

KINDS = ", ".join(TABLE_FILES)


def check_out(out: Path) -> None:
    """Check that a file can be made there.

    Raises:
        BadParameter: its name does not say what it is to be, or its folder does not exist.
    """
    if out.suffix.lower() not in TABLE_FILES:
        raise click.BadParameter(f"{out} does not say what it is to be: let it end in {KINDS}.", param_hint="--out")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise click.BadParameter(f"no file can be made at {out}; its folder must exist.", param_hint="--out")


def noted(place: Place, out: Path, begun_us: int | None = None) -> LastLook:
    """Note that a file is made, for who is forgotten from then on; return what is to look into it once it is complete.

    Args:
        place: whose inferences they are.
        out: the file.
        begun_us: when it was begun, microseconds UTC; without that, now.
    """
    exports, since_us = Exports(place.home.exports, erasing_file), begun_us or time.time_ns() // 1000
    exports.note(out)

    async def look(file: Path) -> None:
        orders = Orders(open_store(place.home))
        if left_out := await exports.leave_out_forgotten(orders, since_us, out.suffix.lower(), file):
            show.note(f"{left_out:,} of them have no personal part: somebody was forgotten meanwhile.")

    return look
