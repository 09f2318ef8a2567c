"""How far the gateway of a host has come with the releases: `run/standing.json`, for the keeper and the command line.

It is true while that gateway runs. It holds what models wrote when they failed, which is why no caller is shown it.
"""

from __future__ import annotations

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
    """What became of the live calls that a shadow was to be asked, since the gateway began."""

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


def write_standing(run: Path, standing: Standing) -> None:
    """Put it in its place in the folder `run`, whole.

    Raises:
        OSError: the disk does not take it.
    """
    draft = _path(run).with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(standing))
    draft.replace(_path(run))


def read_standing(run: Path) -> Standing | None:
    """Return what the gateway wrote last, or None where there is nothing that this Cloche can read."""
    try:
        found = msgspec.json.decode(_path(run).read_bytes(), type=Standing)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if found.format <= STANDING_FORMAT else None


def shortened(reason: str, most: int = _MOST_OF_A_REASON) -> str:
    """Return the end of a long reason, which is where a traceback says what happened."""
    return reason if len(reason) <= most else "…" + reason[-most:]


def _path(run: Path) -> Path:
    return run / "standing.json"
