"""How the workers of each version are doing: `run/workers.json`, which the supervisor writes and everybody may read.

It is true while that supervisor runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

ROSTER_FORMAT = 1


class CrewState(msgspec.Struct, frozen=True):
    """The workers of a version. Counts began with the supervisor."""

    model: str
    version: str
    wanted: int
    """How many there are to be."""
    serving: int
    """How many may be given calls."""
    pids: list[int]
    """The processes, those that load and those that end among them."""
    crashes: int
    """How many died after they had loaded, but for those that were hung."""
    hangs: int
    """How many did not answer."""
    recycled: int
    """How many were replaced because of the memory that they took, or of the calls that they had answered."""
    crashing: bool = False
    """Whether so many died within a minute that none is given calls for now."""
    leaking: bool = False
    """Whether two outgrew the memory that they may have within a minute."""

    @property
    def trouble(self) -> str | None:
        """What is wrong with the version, in words; None where nothing is."""
        if self.crashing:
            return "its workers crash again and again, and are given no calls until one has lived for a while"
        if self.leaking:
            return "its workers outgrow workers.max_rss_mb again and again, and are replaced"
        return None


class _Roster(msgspec.Struct, frozen=True):
    format: int
    crews: list[CrewState]


def write_roster(run: Path, crews: Sequence[CrewState]) -> None:
    """Put it in its place in the folder `run`, whole.

    Raises:
        OSError: the disk does not take it.
    """
    draft = _path(run).with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(_Roster(ROSTER_FORMAT, list(crews))))
    draft.replace(_path(run))


def read_roster(run: Path) -> list[CrewState]:
    """Return what the supervisor wrote last; nothing where there is nothing that this Cloche can read."""
    try:
        found = msgspec.json.decode(_path(run).read_bytes(), type=_Roster)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return []
    return found.crews if found.format <= ROSTER_FORMAT else []


def drop_roster(run: Path) -> None:
    """Forget it: nobody has workers any more."""
    _path(run).unlink(missing_ok=True)


def _path(run: Path) -> Path:
    return run / "workers.json"
