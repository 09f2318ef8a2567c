"""What the commands of the log have in common: which inferences are meant, and seeing all that was acknowledged."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

import click

from cloche.assembly.log import log_place, open_shipper
from cloche.cli import show
from cloche.cli.place import Place
from cloche.errors import InferenceNotFound
from cloche.log.filters import ASKED, Asked, make_query, read_inference, read_moment
from cloche.log.settle import settle
from cloche.ports import LogReader
from cloche.values import Record

_QUIET_S = 1.0


class Typed(click.ParamType[Any]):
    """What the log room reads: a time, an id, a condition."""

    def __init__(self, form: str, read: Callable[[str], Any]) -> None:
        self.name = form.lower()
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read what was typed."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{str(error).rstrip('.')}.", param, ctx)


MOMENT = Typed("time", read_moment)
INFERENCE = Typed("id", read_inference)


def filter_options(command: Callable[..., None], but: Collection[str] = ()) -> Callable[..., None]:
    """Give a command the options that say which inferences are meant, together as the argument `wanted`.

    Args:
        command: what is to have them.
        but: names of those that it has not.
    """
    offered = [asked for asked in ASKED if asked.name not in but]

    @wraps(command)
    def with_query(*args: Any, **kwargs: Any) -> None:
        said = {asked.name: kwargs.pop(asked.name) for asked in offered}
        command(*args, wanted=make_query({name: value for name, value in said.items() if value != ()}), **kwargs)

    decorated: Callable[..., None] = with_query
    for asked in reversed(offered):
        decorated = option_of(asked)(decorated)
    return decorated


def option_of(asked: Asked) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option that says one thing of what is asked for."""
    name = f"--{asked.name.replace('_', '-')}"
    if asked.is_flag:
        return click.option(name, asked.name, is_flag=True, default=None, help=asked.help)
    read = Typed(asked.form, asked.read)
    return click.option(name, asked.name, type=read, multiple=asked.many, metavar=asked.form, help=asked.help)


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
        if not await settle(place.home.spool, lambda: open_shipper(place.home, log_alone=True), reader):
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
        raise InferenceNotFound(id=uuid.UUID(bytes=inference), where=log_place(place.home))
    return record
