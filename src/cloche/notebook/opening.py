"""Where what is called works: the home, what is opened there, and how failures come out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from cloche.assembly.stores import open_registry
from cloche.errors import ClocheError
from cloche.home import Home, find_home, home_at
from cloche.log.filters import read_moment
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Release
from cloche.settings import Settings, load_settings

Given = ParamSpec("Given")
Result = TypeVar("Result")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OpenHome:
    """A home, opened."""

    home: Home
    settings: Settings
    """Those in force there, but for the secrets."""
    registry: Registry


def open_home(home: str | Path | None) -> OpenHome:
    """Return the home that is named; else `CLOCHE_HOME`, the nearest parent folder with one, or `./.cloche`.

    Raises:
        HomeIsFile: there is a file in its place.
        InvalidSetting: its settings are not valid.
        MissingExtra: what its store needs is not installed.
    """
    found = find_home() if home is None else home_at(home)
    settings = load_settings(found.settings_file, os.environ, secrets=False)
    return OpenHome(found, settings, open_registry(found, settings))


def plainly(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let failures that have a name come out of a function without the way through Cloche to where they were found."""

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except ClocheError as error:
            raise error.with_traceback(None) from error.__cause__

    return called


async def live_before(registry: Registry, release: Release, seen: Live) -> Live:
    """Return what was live until a release that was just made, which may be later than what was `seen` before."""
    for number in range(seen.number + 1, release.number):
        seen = seen.after(await registry.releases.stored(number))
    return seen


def moment_us(since: str | datetime | timedelta) -> int:
    """Return a moment as microseconds UTC: RFC 3339 or a datetime, or how long ago that was.

    Raises:
        ValueError: it is none, or has no time zone.
    """
    if isinstance(since, str):
        return read_moment(since)
    moment = datetime.now(UTC) - since if isinstance(since, timedelta) else since
    if moment.tzinfo is None:
        raise ValueError("since needs a time zone, such as datetime(2026, 11, 5, tzinfo=UTC)")
    return (moment - _EPOCH) // timedelta(microseconds=1)
