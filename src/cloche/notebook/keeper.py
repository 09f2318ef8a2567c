"""Asking the keeper of a home to do something."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import msgspec

from cloche.errors import KeeperRefused
from cloche.home import Home
from cloche.processes.boot import ServerFile
from cloche.secrets import bearing
from cloche.settings import Permission, Settings

_PATIENCE_S = 3600.0
_OK = 200


def ask_keeper(home: Home, settings: Settings, permission: Permission, path: str, body: object) -> bytes | None:
    """Return what the keeper answers to a `POST`, or None where none runs.

    Args:
        home: its home.
        settings: with the tokens.
        permission: what the token must be allowed to do.
        path: of the management API.
        body: becomes JSON.

    Raises:
        KeeperRefused: it answers with a problem.
    """
    found = ServerFile.read(home)
    if found is None:
        return None
    parts = urlsplit(found.control_url)
    token = settings.token_to(permission)
    headers = {"Content-Type": "application/json", **bearing(token)}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=_PATIENCE_S)
    try:
        connection.connect()
    except OSError:  # what a server that was killed has left
        return None
    try:
        connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise KeeperRefused(home=home.path, status="no answer", detail=f"{error}. It may have done it.") from None
    finally:
        connection.close()
    if answer.status != _OK:
        raise KeeperRefused(home=home.path, status=answer.status, detail=_detail(said))
    return said


def _detail(said: bytes) -> str:
    try:
        return str(msgspec.json.decode(said)["detail"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return "it said nothing that can be read."
