"""`cloche keeper status` and `cloche keeper run`: the schedules of the running keeper."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final, TypeVar
from urllib.parse import quote

import click
import msgspec

from cloche.cli import show
from cloche.cli.place import Place
from cloche.errors import ServerNotFound
from cloche.log.ship import ShipState
from cloche.pages.upkeep import upkeep_page
from cloche.processes.boot import ServerFile
from cloche.secrets import bearing
from cloche.upkeep.schedules import UpkeepState

_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.1
_UNAUTHORIZED: Final = 401
_T = TypeVar("_T")


class KeeperState(msgspec.Struct, frozen=True):
    """What the keeper answers to `GET /status`."""

    shipping: ShipState
    upkeep: UpkeepState


@click.command()
@show.json_option
@click.pass_obj
def status(place: Place, as_json: bool) -> None:
    """Say how the keeper of this home stands: what waits to be shipped, and each schedule's next run and last result.

    Where several keepers share a log, one of them leads: it does what one does for all, and the others wait.
    """
    found = _asked(place, "GET", "/status", KeeperState)
    if as_json:
        show.document(found)
    else:
        show.page(upkeep_page(found.shipping, found.upkeep, time.time_ns() // 1000))


@click.command()
@click.argument("schedule")
@click.option("--wait", "wait_s", type=click.FloatRange(0), metavar="SECONDS", help="Wait for it to end.")
@show.json_option
@click.pass_obj
def run(place: Place, schedule: str, wait_s: float | None, as_json: bool) -> None:
    """Let SCHEDULE run now, as `cloche keeper status` names it; with --wait, say what came of it."""
    before_us = time.time_ns() // 1000
    found = _asked(place, "POST", f"/schedules/{quote(schedule, safe='')}/run", UpkeepState)
    until_s = time.monotonic() + (wait_s or 0)
    while time.monotonic() < until_s and not _is_over(found, schedule, before_us):
        time.sleep(_LOOK_S)
        found = _asked(place, "GET", "/schedules", UpkeepState)
    if as_json:
        show.document(found)
    else:
        show.page(upkeep_page(None, found, time.time_ns() // 1000))
    if wait_s and not _is_over(found, schedule, before_us):
        raise click.ClickException(f"{schedule} has not ended within {wait_s:g} s.")


def _is_over(state: UpkeepState, schedule: str, since_us: int) -> bool:
    """Tell whether a run of a schedule has ended that began after a moment."""
    found = [each for each in state.schedules if each.name == schedule and each.took_s is not None]
    return any((each.began_us or 0) >= since_us for each in found)


def _asked(place: Place, method: str, path: str, kind: type[_T]) -> _T:
    """Return what the keeper answers.

    Raises:
        ServerNotFound: none runs.
        click.ClickException: it says no.
    """
    found = ServerFile.read(place.home)
    if found is None:
        raise ServerNotFound(home=place.home.path)
    token = place.settings().token_to("manage")
    headers = {"Content-Type": "application/json", **bearing(token)}
    request = urllib.request.Request(found.control_url + path, method=method, headers=headers)  # noqa: S310  ours
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read(), type=kind)
    except urllib.error.HTTPError as error:
        with error:
            hint = "\nFrom here: set CLOCHE_TOKEN to the token of the server." if error.code == _UNAUTHORIZED else ""
            raise click.ClickException(_detail(error.read(), error.code) + hint) from None
    except TimeoutError:
        said = f"The keeper at {found.control_url} has not answered within {_PATIENCE_S:.0f} s. Calls need no keeper."
        raise click.ClickException(f"{said} Look at what the server prints.") from None
    except (OSError, HTTPException):
        raise ServerNotFound(home=place.home.path) from None


def _detail(body: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return f"The keeper answered with status {status}."
