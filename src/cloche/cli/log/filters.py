"""What the commands of the log have in common: which inferences are meant, and seeing all that was acknowledged."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from cloche.assembly import open_sink
from cloche.cli import show
from cloche.cli.place import Place
from cloche.errors import InferenceNotFound
from cloche.log.settle import settle
from cloche.ports import Filter, LogReader
from cloche.values import Record

_DURATION = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUIET_S = 1.0


class Moment(click.ParamType[int]):
    """A time as microseconds UTC: RFC 3339 with a zone, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed."""
        if isinstance(value, int):
            return value
        if match := _DURATION.fullmatch(value):
            return time.time_ns() // 1000 - int(match[1]) * _SECONDS[match[2]] * 1_000_000
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; use 2026-11-05T09:30:00Z, or how long ago, such as 2h or 3d.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write {moment.isoformat()}Z for UTC.", param, ctx)
        since_epoch = moment - _EPOCH
        return (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds


class Inference(click.ParamType[bytes]):
    """The id of an inference, or of one of its rows, as 16 bytes."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Read what was typed."""
        if isinstance(value, bytes):
            return value
        try:
            return uuid.UUID(value.partition(".")[0]).bytes
        except ValueError:
            self.fail(f"{value!r} is no id of an inference; it is in the answer to each call.", param, ctx)


MOMENT = Moment()
INFERENCE = Inference()

_OPTIONS = (
    click.option("--model", help="Of this model."),
    click.option("--version", help="Answered by this version."),
    click.option("--subject", help="About this subject."),
    click.option("--since", "since_us", type=MOMENT, help="From this time on: RFC 3339, or how long ago: 2h, 3d."),
    click.option("--until", "until_us", type=MOMENT, help="Before this time."),
    click.option("--failed", is_flag=True, help="Where the model failed: those with a traceback."),
    click.option("--outcome", help="With this outcome: ok, refused, or the code of an error."),
    click.option("--shadowed", is_flag=True, help="Shadows, and the calls that they were asked beside."),
)


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which inferences are meant, together as the argument `wanted`."""

    @wraps(command)
    def with_filter(*args: Any, **kwargs: Any) -> None:
        wanted = Filter(**{name: kwargs.pop(name) for name in Filter.__struct_fields__})
        command(*args, wanted=wanted, **kwargs)

    decorated: Callable[..., None] = with_filter
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def outcome_of(record: dict[str, Any]) -> str:
    """Return how a call ended, in words, from its record as JSON."""
    if record["answered_by"]:
        return f"{record['fallback']}, answered by {record['answered_by']}"
    return f"{record['outcome']}, as a shadow" if record["kind"] == "shadow" else str(record["outcome"])


async def settled(place: Place) -> LogReader:
    """Return the log, once all that was acknowledged so far can be seen in it.

    Where that is not so within a few seconds, a note on standard error says it.
    """
    reader = place.log()
    waiting = asyncio.get_running_loop().call_later(_QUIET_S, show.note, "Bringing the log up to date …")
    try:
        if not await settle(place.home.spool, lambda: open_sink(place.home), reader):
            show.note("The newest inferences are not in the log yet: GET /ready on the control address says why.")
    finally:
        waiting.cancel()
    return reader


async def find_record(place: Place, inference: bytes) -> Record:
    """Return the record of an inference.

    Raises:
        InferenceNotFound: there is none.
    """
    reader = await settled(place)
    record = await reader.get(inference)
    if record is None:
        raise InferenceNotFound(id=uuid.UUID(bytes=inference), where=place.home.log)
    return record
