"""`cloche models default`: the release that makes a version live."""

from __future__ import annotations

import shlex
from typing import Any

import click
import msgspec
from msgspec import UNSET, UnsetType

from cloche.authoring.reason import reason_of
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.notebook.opening import live_before
from cloche.pages.release import default_page
from cloche.registry.release import Routing
from cloche.registry.routing import Wanted, make_default
from cloche.registry.traffic import Constant, Fallback


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--fallback", metavar="A,B,…", help="Versions that answer where VERSION does not, or input_order.")
@click.option("--fallback-constant", metavar="JSON", help="An answer for every row, as the end of the chain.")
@click.option("--no-fallback", is_flag=True, help="Take the fallback away.")
@click.option(
    "--reserve-ms", type=click.IntRange(1), metavar="N", help="How long before the deadline the fallback begins."
)
@click.option("--deadline-ms", type=click.IntRange(1), metavar="N", help="Deadline of calls that state none.")
@click.option("-m", "--message", default="", help="Why, for those who read the releases.")
@show.json_option
@click.pass_obj
def default(place: Place, /, name: str, version: str, message: str, as_json: bool, **options: Any) -> None:
    """Make VERSION the default of the model NAME: it answers from then on.

    This writes the next release; running servers follow within 3 seconds. Versions that were live stay ready for
    callers who name them. What is not mentioned (fallback, deadline) stays as it is.

    VERSION is exact, or a pattern such as '2.*' that means the highest it fits.
    """
    registry = place.registry()
    seen = wait_for(registry.releases.live())
    wanted = _wanted(seen.models.get(name), **options)
    command = shlex.join(["cloche", "models", "default", name, version])
    reason = reason_of(command, message)
    release = wait_for(make_default(registry, name, version, reason, wanted, place.settings().limits))
    if as_json:
        show.document(release)
    else:
        show.page(default_page(name, release, wait_for(live_before(registry, release, seen))))


def _wanted(
    current: Routing | None,
    *,
    fallback: str | None,
    fallback_constant: str | None,
    no_fallback: bool,
    reserve_ms: int | None,
    deadline_ms: int | None,
) -> Wanted:
    """Return what the options change."""
    members: list[str | Constant] = [member.strip() for member in (fallback or "").split(",") if member.strip()]
    if fallback_constant is not None:
        members.append(Constant(_json(fallback_constant)))
    if no_fallback and (members or reserve_ms):
        raise click.UsageError("--no-fallback and another option of the fallback contradict each other.")
    chain = None if no_fallback else _fallback(members, reserve_ms, current.fallback if current else None)
    return Wanted(fallback=chain, deadline_ms=UNSET if deadline_ms is None else deadline_ms)


def _fallback(members: list[str | Constant], reserve_ms: int | None, present: Fallback | None) -> Fallback | UnsetType:
    if not members and reserve_ms is None:
        return UNSET
    if not members and present is None:
        raise click.UsageError("--reserve-ms is about a fallback, and there is none; add --fallback.")
    changed = present or Fallback(members)
    changed = msgspec.structs.replace(changed, chain=members or changed.chain)
    return changed if reserve_ms is None else msgspec.structs.replace(changed, reserve_ms=reserve_ms)


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}", param_hint="--fallback-constant") from None
