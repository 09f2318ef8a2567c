"""How uvicorn is built inside, as far as the fast lane relies on it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Final

from uvicorn.protocols.http import httptools_impl

_METHODS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "HttpToolsProtocol": {
        "__init__": ("config", "server_state", "app_state", "_loop"),
        "connection_lost": ("exc",),
        "data_received": ("data",),
        "on_message_begin": (),
        "on_url": ("url",),
        "on_header": ("name", "value"),
        "on_headers_complete": (),
        "on_body": ("body",),
        "on_message_complete": (),
        "on_response_complete": (),
        "shutdown": (),
    },
    "RequestResponseCycle": {
        "__init__": (
            *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers"),
            *("message_event", "expect_100_continue", "keep_alive", "on_response"),
        ),
    },
    "FlowControl": {"__init__": ("transport",), "drain": (), "resume_reading": ()},
}
"""Their parameters, `self` apart."""

_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "HttpToolsProtocol": (
        *("loop", "parser", "root_path", "limit_concurrency", "server_state", "tasks"),
        *("transport", "flow", "pipeline", "scope", "headers", "expect_100_continue", "cycle"),
    ),
    "RequestResponseCycle": (
        *("scope", "disconnected", "keep_alive", "body", "more_body", "message_event", "response_complete"),
    ),
    "FlowControl": ("write_paused",),
}
"""What their constructors set."""


def unknown_parts() -> list[str]:
    """Return the names of what is not there, or is built in another way."""
    methods = [(owner, name, parameters) for owner, named in _METHODS.items() for name, parameters in named.items()]
    attributes = [(owner, name) for owner, names in _ATTRIBUTES.items() for name in names]
    return [
        *(f"{owner}.{name}" for owner, name, parameters in methods if _parameters(owner, name) != parameters),
        *(f"{owner}.{name}" for owner, name in attributes if name not in _set_by(owner)),
        *(name for name in ("STATUS_LINE",) if not hasattr(httptools_impl, name)),
    ]


def _parameters(owner: str, name: str) -> tuple[str, ...] | None:
    method = getattr(getattr(httptools_impl, owner, None), name, None)
    return tuple(inspect.signature(method).parameters)[1:] if inspect.isfunction(method) else None


def _set_by(owner: str) -> tuple[str, ...]:
    constructor = getattr(getattr(httptools_impl, owner, None), "__init__", None)
    return constructor.__code__.co_names if inspect.isfunction(constructor) else ()
