"""Errors as RFC 9457 problems: the one place that knows which failure is which status."""

from __future__ import annotations

from typing import Any

import msgspec

from cloche import errors
from cloche.errors import ClocheError, SchemaMismatch, ServingError

STATUS: dict[type[ClocheError], int] = {
    errors.InvalidJson: 400,
    errors.NestedTooDeep: 400,
    errors.InvalidHeader: 400,
    errors.InvalidParameter: 400,
    errors.InvalidHttp: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.PilotOnly: 403,
    errors.UnknownModel: 404,
    errors.UnknownVersion: 404,
    errors.NotLiveThen: 404,
    errors.UnknownPath: 404,
    errors.MethodNotAllowed: 405,
    errors.IdempotencyKeyReused: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedEncoding: 415,
    errors.UnknownHost: 421,
    errors.SchemaMismatch: 422,
    errors.HeadTooLarge: 431,
    errors.PoisonInput: 422,
    errors.ModelFailed: 500,
    errors.InvalidOutput: 500,
    errors.ModelLoading: 503,
    errors.VersionLoading: 503,
    errors.VersionUnavailable: 503,
    errors.WorkerCrashed: 503,
    errors.WorkerUnavailable: 503,
    errors.Overloaded: 503,
    errors.Abandoned: 503,  # to nobody
    errors.Stopping: 503,
    errors.LogUnavailable: 503,
    errors.AnswerPending: 503,
    errors.IdempotencyUnavailable: 503,
    errors.DeadlineExceeded: 504,
}

MANAGEMENT: dict[type[ClocheError], int] = {
    errors.ModelNotFound: 404,
    errors.VersionNotFound: 404,
    errors.ReleaseNotFound: 404,
    errors.InferenceNotFound: 404,
    errors.NotHeld: 404,
    errors.NoRollout: 404,
    errors.ScheduleNotFound: 404,
    errors.ModelHeld: 409,
    errors.IncompatibleSchema: 409,
    errors.NothingToUndo: 409,
    errors.RolloutUnderWay: 409,
    errors.ReleaseTaken: 409,
    errors.RegistryDiffers: 409,
    errors.InvalidName: 422,
    errors.InvalidVersion: 422,
    errors.InvalidGoal: 422,
    errors.InvalidRouting: 422,
    errors.PackagesElsewhere: 422,
    errors.Unsigned: 422,
    errors.SignerNotKnown: 422,
    errors.BundleCorrupt: 500,
    errors.BlobCorrupt: 500,
    errors.QueryTooSlow: 422,
    errors.RollupsMissing: 422,
    errors.NewerFormat: 500,
    errors.LogCorrupt: 500,
    errors.StoreUnavailable: 503,
    errors.SinkUnavailable: 503,
}
"""What the keeper answers where something could not be changed, or not be looked up."""

TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Unprocessable content",
    431: "Request header fields too large",
    500: "Internal server error",
    503: "Service unavailable",
    504: "Gateway timeout",
}

CONTENT_TYPE = b"application/problem+json"

Header = tuple[bytes, bytes]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    id: str | None = None
    """The inference, where it was recorded."""
    faults: list[dict[str, str]] | None = None
    """One entry per fault of the input."""


def problem(error: ClocheError) -> tuple[int, list[Header], bytes]:
    """Return the status, headers and body that answer an error."""
    status = STATUS.get(type(error)) or MANAGEMENT[type(error)]
    body = Problem(
        type=f"urn:cloche:error:{error.code}",
        title=TITLES[status],
        status=status,
        detail=str(error),
        code=error.code,
        id=error.inference if isinstance(error, ServingError) else None,
        faults=error.faults if isinstance(error, SchemaMismatch) else None,
    )
    return status, [(b"content-type", CONTENT_TYPE), *_extra(error)], msgspec.json.encode(body)


def unforeseen() -> tuple[int, list[Header], bytes]:
    """Return the answer to a failure of our own that has no name. Nothing of it is shown."""
    body: dict[str, Any] = {
        "type": "urn:cloche:error:internal",
        "title": TITLES[500],
        "status": 500,
        "detail": "Something failed here that should not have. It is in the server's log.",
        "code": "internal",
    }
    return 500, [(b"content-type", CONTENT_TYPE)], msgspec.json.encode(body)


def _extra(error: ClocheError) -> list[Header]:
    if isinstance(error, errors.Unauthorized):
        return [(b"www-authenticate", b"Bearer")]
    if isinstance(error, errors.MethodNotAllowed):
        return [(b"allow", str(error.details["allow"]).encode())]
    if isinstance(error, errors.UnsupportedEncoding):
        return [(b"accept-encoding", b"identity")]
    if isinstance(error, ServingError) and error.retry_after_s is not None:
        return [(b"retry-after", str(error.retry_after_s).encode())]
    return []
