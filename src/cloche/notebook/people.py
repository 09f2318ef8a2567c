"""`forget`, `hold` and `release_hold`: what is kept about people."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from cloche.assembly.log import open_shipper
from cloche.assembly.people import open_forgetting
from cloche.authoring.bridge import wait_for
from cloche.authoring.reason import reason_of
from cloche.erasure.forget import Forgetting
from cloche.erasure.orders import fault_of
from cloche.erasure.report import Hold, Report
from cloche.home import Home
from cloche.notebook.keeper import ask_keeper
from cloche.notebook.opening import open_home, plainly
from cloche.pages import plain
from cloche.pages.people import report_page
from cloche.settings import load_settings

_T = TypeVar("_T", bound=msgspec.Struct)
_Verb = Literal["forget", "hold", "release"]


class ForgetReport(Report, frozen=True):
    """What came of an order to forget somebody."""

    def __repr__(self) -> str:
        return plain(report_page(self))


@plainly
def forget(subject: str, *, reason: str, model: str | None = None, home: str | Path | None = None) -> ForgetReport:
    """Forget somebody in all that was recorded until now, as `cloche log forget` does.

        forget("customer-4711", reason="ticket 12")

    Args:
        subject: whom, as callers name them.
        reason: why. It is kept for ever, so it should name nobody.
        model: in the records of this model alone.
        home: the home folder, where it is not the one that is found.

    Raises:
        LogError, RegistryError: it could not be ordered.
        KeeperRefused: the keeper did not do it.
    """
    report = order("forget", open_home(home).home, subject, reason, model, Report)
    return ForgetReport(**msgspec.structs.asdict(report))


@plainly
def hold(subject: str, *, reason: str, model: str | None = None, home: str | Path | None = None) -> Hold:
    """Keep somebody from being forgotten, and from retention, until `release_hold`. Arguments as `forget` has them."""
    return order("hold", open_home(home).home, subject, reason, model, Hold)


@plainly
def release_hold(subject: str, *, reason: str, model: str | None = None, home: str | Path | None = None) -> Hold:
    """Release the holds on somebody. Arguments as `forget` has them.

    Raises:
        NotHeld: there is none.
    """
    return order("release", open_home(home).home, subject, reason, model, Hold)


def order(verb: _Verb, home: Home, subject: str, reason: str, model: str | None, kind: type[_T]) -> _T:
    """Give an order about a person: to the keeper of a home, or where none runs, carry it out here.

    Raises:
        ValueError: it can't be given: there is no subject, no reason, or no model of such a name.
        ClocheError: it could not be done.
    """
    if fault := fault_of(subject, reason, model):
        raise ValueError(f"{fault[0]}: {fault[1]}")
    settings = load_settings(home.settings_file, os.environ)
    by = reason_of(f"cloche log {verb}").author
    body = {"subject": subject, "reason": reason, "by": by} | ({"model": model} if model else {})
    said = ask_keeper(home, settings, "manage", f"/log/{verb}", body)
    if said is not None:
        return msgspec.json.decode(said, type=kind)

    async def carried_out() -> msgspec.Struct:
        shipper = open_shipper(home, settings)
        try:
            forgetting = open_forgetting(home, settings, shipper, ships=True)
            return await _method(forgetting, verb)(subject, by, reason, model)
        finally:
            await shipper.close()

    return msgspec.convert(wait_for(carried_out()), kind, from_attributes=True)


def _method(forgetting: Forgetting, verb: _Verb) -> Callable[[str, str, str, str | None], Awaitable[msgspec.Struct]]:
    if verb == "forget":
        return forgetting.forget
    return forgetting.hold if verb == "hold" else forgetting.release
