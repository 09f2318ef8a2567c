"""Records as rows of a table: the columns that CSV and Parquet files have, and what a record has in each."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from cloche.log.reading import to_json
from cloche.values import Record, Timings

Kind = Literal["text", "integer", "flag", "time", "labels", "exposure", "json"]


class Column(NamedTuple):
    """A column of the table."""

    name: str
    kind: Kind
    """`time` is microseconds UTC since 1970, `labels` a dict of text, `exposure` a dict by the names of `Exposure`, and
    `json` the text of a JSON value."""


_PERSONAL = ("input", "output", "refusals", "parameters")

PERSONAL = frozenset(("subject", *_PERSONAL, "inputs", "outputs", "refusal", "traceback", "printed", "redacted"))
"""What rows of a table, and lines of JSON, lose when a person is forgotten."""

COLUMNS = (
    Column("id", "text"),
    Column("time", "time"),
    *(Column(name, "text") for name in ("model", "version", "digest")),
    Column("release", "integer"),
    *(Column(name, "text") for name in ("release_digest", "variant", "reason", "caller", "kind", "shadows")),
    Column("labels", "labels"),
    Column("exposure", "exposure"),
    Column("hurried", "flag"),
    *(Column(name, "text") for name in ("outcome", "fallback", "answered_by")),
    Column("rows", "integer"),
    Column("many", "flag"),
    *(Column(name, "integer") for name in Timings.__struct_fields__),
    Column("erased", "flag"),
    Column("damaged", "flag"),
    Column("subject", "text"),
    *(Column(name, "json") for name in _PERSONAL),
    Column("traceback", "text"),
    Column("printed", "text"),
)
"""Where the caller sent many rows (`many`), `input` and `output` hold the lists of them."""


def row_of(record: Record) -> dict[str, Any]:
    """Return what a record has in each column, None where it has nothing.

    Raises:
        NewerFormat: a later Cloche packed the input or output.
    """
    read = to_json(record)
    refusals = read.get("refusals") or ([{"row": 0, **read["refusal"]}] if read.get("refusal") else None)
    timings = {f"{station}_us": taken_us for station, taken_us in read["timings_us"].items()}
    inside = {
        "input": read.get("inputs" if record.many else "input"),
        "output": read.get("outputs" if record.many else "output"),
        "refusals": refusals,
        "parameters": read.get("parameters"),
    }
    flat = {
        **read,
        **timings,
        **{name: None if value is None else msgspec.json.encode(value).decode() for name, value in inside.items()},
        "time": record.time_us,
        "many": record.many,
        "erased": read.get("erased", False),
        "damaged": read.get("damaged", False),
    }
    return {column.name: flat.get(column.name) for column in COLUMNS}
