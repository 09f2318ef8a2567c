"""`cloche log query`: find inferences."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from typing import Any

import click
import msgspec

from cloche.assembly.log import log_place
from cloche.cli import show
from cloche.cli.log.filters import INFERENCE, Typed, filter_options, find_record, outcome_of, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import timestamp, to_json
from cloche.log.search import Page, Query, read_cursor, search, write_cursor
from cloche.ports import Cursor

_MOST = 10_000
_MOST_BYTES = 256 * 1024 * 1024
"""Of the personal parts of one page, as they are packed."""

_ANSWER_WIDTH = 60


_TYPED = "cloche.typed"


class _Paged(click.Command):
    """A command that remembers what was typed, so that it can say how to go on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what was typed."""
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Paged)
@filter_options
@click.option("--id", "inference", type=INFERENCE, help="This one alone.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), metavar="N", default=20, show_default=True, help="How many at most."
)
@click.option("--after", type=Typed("page", read_cursor), help="Go on where a page ended, which has said how.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines with all there is of each, as export does.")
@click.pass_context
def query(
    context: click.Context, wanted: Query, inference: bytes | None, limit: int, after: Cursor | None, as_json: bool
) -> None:
    """Find inferences, the newest first.

    --input and --output look into what was asked and answered: a JSON pointer, then = != < <= > or >=, then JSON, or
    text as it is. /carrier=UA fits where the carrier is UA, /items/*/id=7 where any item has that id, /score where
    there is a score, !/score where there is none, and >100 where the whole output is more. Of a call with many rows
    one has to fit. Both may be given several times.
    """
    place: Place = context.obj
    if inference is not None and (wanted != Query() or after is not None):
        raise click.UsageError("--id names one inference; leave out the other options.")
    page = wait_for(_found(place, wanted, inference, limit, after))
    if as_json:
        for record in page.records:
            show.line(to_json(record))
    elif page.records:
        fields = ("time", "id", "model", "version", "subject", "outcome", "rows", "ms", "answer")
        show.table(fields, [_row(to_json(record)) for record in page.records])
    elif not page.stopped:
        show.note(f"No {'more ' if after else ''}inference fits in {log_place(place.home)} (home {place.why}).")
    if page.next is not None:
        _say_how_to_go_on(context, wanted, page.next, page.stopped)


async def _found(place: Place, wanted: Query, inference: bytes | None, limit: int, after: Cursor | None) -> Page:
    if inference is not None:
        return Page([await find_record(place, inference)], None)
    timeout_ms = place.settings(secrets=False).log.query_timeout_ms
    return await search(await settled(place), wanted, limit, after, timeout_ms, _MOST_BYTES)


def _say_how_to_go_on(context: click.Context, wanted: Query, place: Cursor, stopped: bool) -> None:
    times = {"--since": wanted.where.since_us, "--until": wanted.where.until_us}
    typed = list(_without((*times, "--after"), context.meta[_TYPED]))
    for option, time_us in times.items():  # how long ago would move on
        typed += [option, timestamp(time_us)] if time_us is not None else []
    home = ["--home", str(context.obj.home.path)] if context.parent and context.find_root().params.get("home") else []
    command = shlex.join(["cloche", *home, "log", "query", *typed, "--after", write_cursor(place)])
    late = f"Time was over: nothing from before {timestamp(place.time_us)} was looked at."
    show.note(f"{late if stopped else 'There may be more.'} Go on: {command}")


def _without(options: Collection[str], typed: list[str]) -> Iterator[str]:
    """Yield what was typed but for some options that have a value."""
    left = iter(typed)
    for each in left:
        name, equals, _ = each.partition("=")
        if name not in options:
            yield each
        elif not equals:
            next(left, None)


def _row(record: dict[str, Any]) -> list[object]:
    taken_ms = sum(record["timings_us"].values()) / 1000
    return [
        *(record["time"], record["id"], record["model"], record["version"], record.get("subject")),
        *(outcome_of(record), record["rows"], f"{taken_ms:.1f}", _answer(record)),
    ]


def _answer(record: dict[str, Any]) -> str:
    """Return the beginning of what was answered."""
    for state in ("erased", "damaged"):
        if record.get(state):
            return state
    if record["rows"] > 1 or "outputs" in record:
        return ""
    found = record["refusal"] if record.get("refusal") else record["output"]
    text = "" if found is None else msgspec.json.encode(found).decode()
    return text if len(text) <= _ANSWER_WIDTH else f"{text[: _ANSWER_WIDTH - 1]}…"
