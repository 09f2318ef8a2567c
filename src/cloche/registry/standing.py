"""How far the gateways of a server have come with the releases, for the keeper and the command line.

Each has a file in the folder `run`: `standing.json`, and the second `standing-2.json`. It is true while that gateway
runs. It holds what models wrote when they failed, which is why no caller is shown it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

STANDING_FORMAT = 1

DropReason = Literal[
    "queue_full", "version_busy", "not_ready", "live_calls_wait", "failing", "gateway_time", "stopping"
]
"""Why a shadow was not asked what a live call asked."""

_MOST_OF_A_REASON = 4000


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model whose newest release is not in force here."""

    model: str
    release: int
    answering: int | None = None
    """The release that answers meanwhile, where one does."""
    version: str | None = None
    """Which version does not load; None while all are loading."""
    reason: str | None = None
    """Why, with the author's traceback where there is one."""
    passing: bool = False
    """Whether that is the fault of this host or of the registry's store, and says nothing of the version."""
    woken: bool = False
    """Whether it was asleep before a call wanted it, so that the gateway is as ready without it."""
    doing: str | None = None
    """What is being made for it before it can be loaded, in words: an environment."""

    @property
    def loading(self) -> bool:
        """Whether nothing has gone wrong yet."""
        return self.reason is None

    @property
    def state(self) -> str:
        """What it waits for, in words. Why a version does not load is its author's business, and no caller's."""
        if self.loading:
            return self.doing or "loading"
        return f"{self.version} does not load, and the server's log says why"


class Shadowed(msgspec.Struct, frozen=True):
    """What became of the live calls that a shadow was to be asked, since the server began."""

    model: str
    version: str
    """The shadow."""
    asked: int
    outcomes: dict[str, int]
    """`ok`, `refused`, or the code of an error -> how many of those that were asked."""
    dropped: dict[DropReason, int]
    """Why it was not asked -> how many."""


class Standing(msgspec.Struct, frozen=True):
    """What is in force on one gateway, and what is not."""

    format: int
    seen: int
    """The newest release that it knows of."""
    in_force: dict[str, int]
    """Model -> the release that answers."""
    waiting: list[Waiting]
    trouble: str | None
    """Why it may know nothing of newer releases, where it may not."""
    shadows: list[Shadowed] = []


def write_standing(run: Path, standing: Standing, gateway: int = 1) -> None:
    """Put that of a gateway, by its number, in its place in the folder `run`, whole.

    Raises:
        OSError: the disk does not take it.
    """
    path = _path(run, gateway)
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(standing))
    draft.replace(path)


def read_standing(run: Path) -> Standing | None:
    """Return what all gateways have come to, or None where there is nothing that this Cloche can read.

    A release is in force where it is on each of them.
    """
    found = [standing for path in sorted(run.glob("standing*.json")) if (standing := _read(path)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    everywhere = set(found[0].in_force).intersection(*(standing.in_force for standing in found))
    return Standing(
        STANDING_FORMAT,
        seen=min(standing.seen for standing in found),
        in_force={name: min(standing.in_force[name] for standing in found) for name in sorted(everywhere)},
        waiting=_all_waiting(found),
        trouble=next((standing.trouble for standing in found if standing.trouble), None),
        shadows=_all_shadowed(found),
    )


def drop_standings(run: Path, gateways: int) -> None:
    """Delete those of gateways that there are no longer: all but so many."""
    for path in run.glob("standing-*.json"):
        if path not in [_path(run, number) for number in range(1, gateways + 1)]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Standing | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Standing)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.format <= STANDING_FORMAT else None


def _all_waiting(found: list[Standing]) -> list[Waiting]:
    """Return what waits in any gateway; of a model that waits in several, the one that can say why."""
    waiting: dict[str, Waiting] = {}
    for each in (each for standing in found for each in standing.waiting):
        if each.model not in waiting or waiting[each.model].loading:
            waiting[each.model] = each
    return list(waiting.values())


def _all_shadowed(found: list[Standing]) -> list[Shadowed]:
    shadowed: dict[tuple[str, str], Shadowed] = {}
    for each in (each for standing in found for each in standing.shadows):
        before = shadowed.get((each.model, each.version), Shadowed(each.model, each.version, 0, {}, {}))
        outcomes = dict(Counter(before.outcomes) + Counter(each.outcomes))
        dropped = dict(Counter(before.dropped) + Counter(each.dropped))
        asked = before.asked + each.asked
        shadowed[each.model, each.version] = Shadowed(each.model, each.version, asked, outcomes, dropped)
    return list(shadowed.values())


def shortened(reason: str, most: int = _MOST_OF_A_REASON) -> str:
    """Return the end of a long reason, which is where a traceback says what happened."""
    return reason if len(reason) <= most else "…" + reason[-most:]


def _path(run: Path, gateway: int) -> Path:
    return run / ("standing.json" if gateway == 1 else f"standing-{gateway}.json")
