"""What is live: a line of numbered, immutable releases. Writing the next number is the commit point.

A release holds the complete new routing of each model it touches; what is live is all releases folded together.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from cloche.errors import BundleCorrupt, NewerFormat, ReleaseNotFound, ReleaseTaken
from cloche.ports import ObjectStore
from cloche.registry.bundle import digest_of
from cloche.registry.traffic import Canary, Experiment, Fallback, Held, Override, Pilot, Rollout, RolloutPlan, Shadow

RELEASE_FORMAT = 1

_KEY = re.compile(r"releases/(\d{12})\.json")
_TRIES = 100
_READ_TOGETHER = 32


class Routing(msgspec.Struct, frozen=True):
    """All there is to say about which version of a model answers a call."""

    active: dict[str, str]
    """Version -> digest, of every version that answers calls."""
    default: str
    subject: str | None = None
    """JSON pointer into the body to whom a call is about."""
    deadline_ms: int | None = None
    fallback: Fallback | None = None
    shadow: Shadow | None = None
    pilot: Pilot | None = None
    rules: list[dict[str, Any]] = []
    overrides: list[Override] = []
    experiments: dict[str, Experiment] = {}
    rollout: RolloutPlan | None = None
    """How a new default is brought in; at once where this is None."""
    schemas: dict[str, str] = {}
    held: Held | None = None
    """Why `cloche apply` may not touch it, after an undo or an abort."""
    attributes: dict[str, str] = {}
    """What overrides may look at: name -> `header:NAME`, or a JSON pointer into the body."""
    canary: Canary | None = None
    progress: Rollout | None = None
    """The rollout that is under way, or the last one."""


class Reason(msgspec.Struct, frozen=True):
    """Who changes what is live, and why."""

    author: str
    message: str = ""
    command: str = ""
    """What was run: `publish`, `cloche models default …`."""
    source_digest: str | None = None
    """Of the file that it was read from, where there was one."""
    git_commit: str | None = None


class Release(msgspec.Struct, frozen=True):
    """One change to what is live."""

    format: int
    number: int
    created_us: int
    models: dict[str, Routing]
    """The complete new routing of each model it touches."""
    author: str
    message: str = ""
    command: str = ""
    source_digest: str | None = None
    git_commit: str | None = None


class Live(msgspec.Struct, frozen=True):
    """What is live once release `number` is in force."""

    number: int = 0
    models: dict[str, Routing] = {}
    released: dict[str, int] = {}
    """Model -> the release that its routing comes from."""

    def after(self, release: Release) -> Live:
        """Return what is live once `release` is, too."""
        touched = dict.fromkeys(release.models, release.number)
        return Live(release.number, self.models | release.models, self.released | touched)


class Releases:
    """The line of releases in an object store: `releases/{number:012d}.json`, from 1 without gaps."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def latest(self) -> int:
        """Return the newest number, 0 where there is none."""
        keys = [key async for key in self._store.list("releases")]
        return max((int(match[1]) for match in map(_KEY.fullmatch, keys) if match), default=0)

    async def read(self, number: int) -> Release:
        """Return a release.

        Raises:
            ReleaseNotFound: there is no such number.
            BundleCorrupt, NewerFormat: it can't be read.
        """
        found = await self._get(number)
        if found is None:
            raise ReleaseNotFound(number=number, where=self._store.where, newest=await self.latest())
        return found

    async def next_after(self, number: int) -> Release | None:
        """Return the release after `number`, or None while there is none. One look at one key."""
        return await self._get(number + 1)

    async def live(self) -> Live:
        """Return what is live now."""
        numbers = range(1, await self.latest() + 1)
        live = Live()
        for first in numbers[::_READ_TOGETHER]:
            for release in await asyncio.gather(*map(self.read, numbers[first - 1 : first - 1 + _READ_TOGETHER])):
                live = live.after(release)
        return live

    async def write(self, models: Mapping[str, Routing], reason: Reason, *, after: int) -> Release:
        """Make the next release, with routings that were worked out from what was live after release `after`.

        Releases of other models that came between do no harm: it goes behind them.

        Raises:
            ReleaseTaken: a release that came between touches one of the same models.
        """
        for number in range(after + 1, after + 1 + _TRIES):
            release = _make(number, models, reason)
            if await self._store.put_if_absent(_key(number), encode_release(release)):
                return release
            if models.keys() & (await self.read(number)).models.keys():
                break
        raise ReleaseTaken(number=number)

    async def _get(self, number: int) -> Release | None:
        data = await self._store.get(_key(number))
        return None if data is None else decode_release(data, number)


def _make(number: int, models: Mapping[str, Routing], reason: Reason) -> Release:
    said = msgspec.structs.asdict(reason)
    return Release(format=RELEASE_FORMAT, number=number, created_us=time.time_ns() // 1000, models=dict(models), **said)


def encode_release(release: Release) -> bytes:
    """Return the bytes that are stored."""
    return msgspec.json.format(msgspec.json.encode(release, order="sorted"), indent=1) + b"\n"


def decode_release(data: bytes, number: int) -> Release:
    """Read a stored release.

    Raises:
        NewerFormat: a later Cloche wrote it.
        BundleCorrupt: it is no release, or another one.
    """
    what = f"release {number}"
    try:
        stored = msgspec.json.decode(data, type=_Stamp).format
        if stored > RELEASE_FORMAT:
            raise NewerFormat(what=what, found=stored, known=RELEASE_FORMAT)
        release = msgspec.json.decode(data, type=Release)
    except msgspec.DecodeError as error:
        raise BundleCorrupt(what=what, expected="a release", found=str(error)) from None
    if release.number != number:
        raise BundleCorrupt(what=what, expected=f"number {number}", found=f"number {release.number}")
    return release


def release_digest(release: Release) -> str:
    """Return `sha256:` and the hexadecimal SHA-256 of the release as it is stored."""
    return digest_of(encode_release(release))


class _Stamp(msgspec.Struct):
    format: int


def _key(number: int) -> str:
    return f"releases/{number:012d}.json"
