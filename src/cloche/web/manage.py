"""What the pages have in common by which what is live is changed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from cloche.errors import BodyTooLarge, ClocheError, InvalidHeader, InvalidParameter, LogError, StoreUnavailable
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason
from cloche.schema.syntax import parse

Page = Callable[[HttpRequest], Awaitable[Response]]

JSON = "application/json"
TOML = "application/toml"

_COUNT = re.compile("[1-9][0-9]{0,8}")


def public(page: Page, registry: Registry) -> Page:
    """Keep the places of the registry and the log out of what callers are told.

    Raises:
        StoreUnavailable: the registry can't be read or written now.
    """

    @wraps(page)
    async def answer(request: HttpRequest) -> Response:
        try:
            return await page(request)
        except LogError as error:
            raise error.told_of("this server") from None
        except ClocheError as error:
            if error.details.get("where") != registry.where:
                raise
            raise type(error)(**error.details | {"where": "the registry"}) from None
        except OSError as error:  # of a registry that is a folder; its text would tell where
            raise StoreUnavailable(reason=error.strerror or "it does not answer") from error

    return answer


def reason_of(request: HttpRequest, message: str, git_commit: str | None = None) -> Reason:
    """Return who changes what is live with a request, and why."""
    return Reason(request.scope["caller"], message, f"{request.method} {request.url.path}", git_commit=git_commit)


def limit_of(request: HttpRequest, usual: int) -> int:
    """Return how many are wanted at most, as `?limit=` says it, else `usual`.

    Raises:
        InvalidParameter: it is no such number.
    """
    given = request.query_params.get("limit", str(usual))
    if not _COUNT.fullmatch(given):
        raise InvalidParameter(parameter="limit", reason="it must be a number of at least 1")
    return int(given)


def content_type(request: HttpRequest, *allowed: str) -> str:
    """Return what a request says that it holds: something that no form on a page of another site can say.

    Raises:
        InvalidHeader: it is nothing that is allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in allowed:
        raise InvalidHeader(header="Content-Type", reason=f"it must be {' or '.join(allowed)}")
    return kind


async def body_of(request: HttpRequest, limit: int) -> bytes:
    """Return the body, of at most `limit` bytes.

    Raises:
        BodyTooLarge: it has more.
    """
    sent = b""
    async for part in request.stream():
        sent += part
        if len(sent) > limit:
            raise BodyTooLarge(limit=limit)
    return sent


async def json_of(request: HttpRequest, limit: int) -> object:
    """Return the JSON of a request; an empty body is an empty object.

    Raises:
        InvalidHeader: it does not say that it is JSON.
        InvalidJson, NestedTooDeep, BodyTooLarge: it can't be read.
    """
    content_type(request, JSON)
    return parse(await body_of(request, limit) or b"{}")
