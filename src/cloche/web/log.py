"""The inference log over HTTP, on the keeper's port: what `cloche log query` and `cloche log show` find."""

from __future__ import annotations

import asyncio
import difflib
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import InferenceNotFound, InvalidParameter
from cloche.log.filters import ASKED, Asked, make_query, read_inference
from cloche.log.reading import timestamp, to_json
from cloche.log.search import Query, read_cursor, search, write_cursor
from cloche.ports import Cursor, LogReader
from cloche.registry.catalog import Registry
from cloche.settings import Settings
from cloche.web.app import json_response
from cloche.web.manage import limit_of, public

NDJSON = "application/x-ndjson"
MOST = 1_000
USUAL = 20

_PAGE_BYTES = 8 * 1024 * 1024
"""Of the personal parts of one page, as they are packed: what bounds an answer, with one record more."""

_LONGEST_NAME = 64
_BY_NAME = {asked.name: asked for asked in ASKED}
_KNOWN = (*_BY_NAME, "limit", "after")


class LogPages:
    """The management API of the log. It shows what has reached the log: of what was answered just now, not yet all."""

    def __init__(self, log: LogReader, registry: Registry, settings: Settings) -> None:
        self._log = log
        self._registry = registry
        self._timeout_ms = settings.log.query_timeout_ms

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/log", public(self.inferences, self._registry)),
            Route("/log/{id}", public(self.inference, self._registry)),
        ]

    async def inferences(self, request: HttpRequest) -> Response:
        """Answer the inferences that fit, the newest first.

        `next` says where the next page begins (`?after=`), `stopped` up to which moment there was time to look. To
        `Accept: application/x-ndjson` they are lines, and only the header Link leads on.
        """
        given = request.query_params.multi_items()
        query, after = _read(given)
        limit = min(limit_of(request, USUAL), MOST)
        page = await search(self._log, query, limit, after, self._timeout_ms, _PAGE_BYTES)
        found = await asyncio.to_thread(lambda: [to_json(record) for record in page.records])
        links = {"link": f'<{_address(given, query, page.next)}>; rel="next"'} if page.next else {}
        if NDJSON in request.headers.get("accept", ""):
            lines = b"".join(msgspec.json.encode(each) + b"\n" for each in found)
            return Response(lines, headers=links, media_type=NDJSON)
        answer = json_response(
            {
                "inferences": found,
                "next": page.next and write_cursor(page.next),
                "stopped": timestamp(page.next.time_us) if page.stopped and page.next else None,
            }
        )
        answer.headers.update(links)
        return answer

    async def inference(self, request: HttpRequest) -> Response:
        """Answer all there is of one inference."""
        name = request.path_params["id"]
        try:
            inference = read_inference(name)
        except ValueError as error:
            raise InvalidParameter(parameter="id", reason=error) from None
        record = await self._log.get(inference)
        if record is None:
            raise InferenceNotFound(id=uuid.UUID(bytes=inference), where="this server")
        return json_response(to_json(record))


def _read(given: Sequence[tuple[str, str]]) -> tuple[Query, Cursor | None]:
    """Return what is asked for, and where the page begins.

    Raises:
        InvalidParameter: a parameter is not known, or can't be read, or is given twice.
    """
    values: dict[str, Any] = {}
    after = None
    for name, text in given:
        asked = _BY_NAME.get(name)
        if asked is not None and asked.many:
            values.setdefault(name, []).append(value_of(asked, text))
        elif sum(each == name for each, _ in given) > 1:
            raise InvalidParameter(parameter=name[:_LONGEST_NAME], reason="it is given more than once")
        elif asked is not None:
            values[name] = value_of(asked, text)
        elif name == "after":
            after = _cursor(text)
        elif name != "limit":
            raise unknown_parameter(name, _KNOWN)
    return make_query(values), after


def value_of(asked: Asked, text: str) -> Any:
    """Return what a parameter says.

    Raises:
        InvalidParameter: it can't be read.
    """
    try:
        return asked.read(text)
    except ValueError as error:
        raise InvalidParameter(parameter=asked.name, reason=str(error).rstrip(".")) from None


def _cursor(text: str) -> Cursor:
    try:
        return read_cursor(text)
    except ValueError as error:
        raise InvalidParameter(parameter="after", reason=error) from None


def unknown_parameter(name: str, known: Sequence[str]) -> InvalidParameter:
    """Return what is wrong with a parameter that is not known."""
    near = difflib.get_close_matches(name, known, 1) if len(name) <= _LONGEST_NAME else []
    reason = f"there is none of that name, did you mean {near[0]}?" if near else f"those known are {', '.join(known)}"
    return InvalidParameter(parameter=repr(name[:_LONGEST_NAME]), reason=reason)


def _address(given: Sequence[tuple[str, str]], query: Query, place: Cursor) -> str:
    """Return where the next page is, with times for how long ago: those would move on."""
    times = {"since": query.where.since_us, "until": query.where.until_us}
    said = [(name, text) for name, text in given if name not in (*times, "after")]
    said += [(name, timestamp(time_us)) for name, time_us in times.items() if time_us is not None]
    return f"/log?{urlencode([*said, ('after', write_cursor(place))])}"
