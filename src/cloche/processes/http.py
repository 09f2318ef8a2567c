"""The HTTP server that gateway and keeper share: uvicorn, on a socket that the supervisor bound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn

from cloche.settings import Settings

KEEP_ALIVE_S = 75


class HttpServer(uvicorn.Server):
    """Uvicorn, without its own signal handlers: those end a process by the signal, and ours ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def http_server(app: object, settings: Settings) -> HttpServer:
    """Return a server for an ASGI application."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, settings.server.drain_ms // 1000),
    )
    return HttpServer(config)
