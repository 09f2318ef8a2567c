"""Calls to the running server of a home, over one connection that is kept."""

from __future__ import annotations

import http.client
import select
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from cloche.errors import ServerNotFound
from cloche.home import Home
from cloche.processes.boot import ServerFile
from cloche.secrets import bearing

_PATIENCE_S = 600.0


class Answer(msgspec.Struct, frozen=True):
    """What the server said."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it answered the call."""
        return self.status == 200


class Calls:
    """The server of a home, to be used in a `with` statement.

    Raises:
        ServerNotFound: none runs.
    """

    def __init__(self, home: Home, token: str | None, deadline_ms: int | None) -> None:
        self._home = home
        found = ServerFile.read(home)
        if found is None:
            raise ServerNotFound(home=home.path)
        parts = urlsplit(found.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
        self._headers = {"Content-Type": "application/json", **bearing(token)}
        if deadline_ms:
            self._headers["Cloche-Deadline-Ms"] = str(deadline_ms)

    def predict(self, model: str, version: str | None, body: bytes) -> Answer:
        """Make a call, and return what was answered.

        Raises:
            ServerNotFound: nobody listens there any more.
        """
        path = f"/models/{quote(model, safe='')}"
        if version is not None:
            path += f"/versions/{quote(version, safe='')}"
        try:
            self._drop_if_ended()
            self._connection.request("POST", f"{path}/predict", body, self._headers)
            response = self._connection.getresponse()
            return Answer(response.status, msgspec.json.decode(response.read()))
        except (ConnectionError, http.client.HTTPException, msgspec.DecodeError):
            raise ServerNotFound(home=self._home.path) from None

    def _drop_if_ended(self) -> None:
        """Connect anew where the server has closed the idle connection: a call is never sent twice."""
        if self._connection.sock is not None and select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.close()

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._connection.close()
