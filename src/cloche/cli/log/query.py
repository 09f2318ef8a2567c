"""`cloche log query`: find inferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from cloche.cli import show
from cloche.cli.log.filters import INFERENCE, filter_options, find_record, outcome_of, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import to_json
from cloche.ports import Filter
from cloche.values import Record

_MOST = 10_000
_ANSWER_WIDTH = 60


@click.command()
@filter_options
@click.option("--id", "inference", type=INFERENCE, help="This one alone.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), metavar="N", default=20, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines with all there is of each, as export does.")
@click.pass_obj
def query(place: Place, wanted: Filter, inference: bytes | None, limit: int, as_json: bool) -> None:
    """Find inferences, the newest first."""
    if inference is not None and wanted != Filter():
        raise click.UsageError("--id names one inference; leave out the other options.")
    records = [to_json(record) for record in wait_for(_found(place, wanted, inference, limit))]
    if as_json:
        for record in records:
            show.line(record)
    elif records:
        fields = ("time", "id", "model", "version", "subject", "outcome", "rows", "ms", "answer")
        show.table(fields, [_row(record) for record in records])
    else:
        show.note(f"No inference fits in {place.home.log} (home {place.why}).")
    if len(records) == limit and inference is None:
        show.note(f"There may be more: these are the newest {limit}. `cloche log export` writes all.")


async def _found(place: Place, wanted: Filter, inference: bytes | None, limit: int) -> Sequence[Record]:
    if inference is not None:
        return [await find_record(place, inference)]
    return await (await settled(place)).find(wanted, limit)


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
