"""What is live: a line of numbered, immutable releases. Writing the next number is the commit point.

A release holds the complete new routing of each model it touches; what is live is all releases folded together.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import msgspec

from cloche.errors import ReleaseNotFound, ReleaseTaken
from cloche.ports import ObjectStore
from cloche.registry.bundle import digest_of
from cloche.registry.numbered import Line
from cloche.registry.traffic import Canary, Experiment, Fallback, Held, Override, Pilot, Rollout, RolloutPlan, Shadow
from cloche.values import Criticality

RELEASE_FORMAT = 1

_KEY = re.compile(r"releases/(\d{12})\.json")
_SEAL = re.compile(rb'\{\n "seal": "(sha256:[0-9a-f]{64})",\n')
_NUMBERS = 10**12
"""What the keys have room for."""
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
    redact: tuple[str, ...] = ()
    """Pointers to what no record keeps (`/input/name`), besides those that its versions name."""
    retention_ms: int | None = None
    """How long records keep their personal parts; for ever where this is None."""
    max_wait_ms: int | None = None
    """How long a call may wait for company. Where this or `max_batch` is said, what versions say does not count."""
    max_batch: int | None = None
    criticality: Criticality = "default"
    workers: int | None = None
    """Processes of each version that runs in any; as many as gateways are set to where this is None."""


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


_LINE = Line(Release, "a release", RELEASE_FORMAT)


class Stored(msgspec.Struct, frozen=True):
    """A release as it lies in the store."""

    release: Release
    digest: str
    """`sha256:` and the hexadecimal SHA-256 of the bytes that are stored, whoever wrote them."""


class Live(msgspec.Struct, frozen=True):
    """What is live once release `number` is in force."""

    number: int = 0
    models: dict[str, Routing] = {}
    released: dict[str, int] = {}
    """Model -> the release that its routing comes from."""
    digests: dict[str, str] = {}
    """Model -> the digest of that release."""

    def after(self, stored: Stored) -> Live:
        """Return what is live once that release is, too."""
        release = stored.release
        touched = dict.fromkeys(release.models, release.number)
        sealed = dict.fromkeys(release.models, stored.digest)
        return Live(release.number, self.models | release.models, self.released | touched, self.digests | sealed)


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
        return (await self.stored(number)).release

    async def stored(self, number: int) -> Stored:
        """Return a release with its digest.

        Raises:
            ReleaseNotFound: there is no such number.
            BundleCorrupt, NewerFormat: it can't be read.
        """
        found = await self._get(number)
        if found is None:
            raise ReleaseNotFound(number=number, where=self._store.where, newest=await self.latest())
        return found

    async def next_after(self, number: int) -> Stored | None:
        """Return the release after `number`, or None while there is none. One look at one key.

        Raises:
            BundleCorrupt, NewerFormat: it can't be read.
        """
        return await self._get(number + 1)

    async def line(self) -> AsyncIterator[Stored]:
        """Yield all releases, from the first.

        Raises:
            ReleaseNotFound: one is missing between two others.
            BundleCorrupt, NewerFormat: one can't be read.
        """
        numbers = range(1, await self.latest() + 1)
        for first in numbers[::_READ_TOGETHER]:
            for found in await asyncio.gather(*map(self.stored, numbers[first - 1 : first - 1 + _READ_TOGETHER])):
                yield found

    async def live(self) -> Live:
        """Return what is live now."""
        live = Live()
        async for found in self.line():
            live = live.after(found)
        return live

    async def write(
        self, models: Mapping[str, Routing], reason: Reason, *, after: int, watching: Collection[str] = ()
    ) -> Release:
        """Make the next release, with routings that were worked out from what was live after release `after`.

        Releases of other models that came between do no harm: it goes behind them.

        Args:
            models: the complete new routing of each model that changes.
            reason: who changes it, and why.
            after: the release that this was worked out on.
            watching: models that stay as they are, which it was worked out with, too.

        Raises:
            ReleaseTaken: a release that came between touches one of these models.
        """
        considered = {*models, *watching}
        for number in range(after + 1, after + 1 + _TRIES):
            release = _make(number, models, reason)
            encoded = encode_release(release)
            if await self._store.put_if_absent(_key(number), encoded):
                return release
            if await self._store.get(_key(number)) == encoded:
                return release  # it was written, the answer to that was lost, and the driver has tried again
            if considered & (await self.read(number)).models.keys():
                break
        raise ReleaseTaken(number=number)

    async def skip_to(self, number: int, reason: Reason) -> list[int]:
        """Make releases that change nothing up to a number, since those with these numbers are lost; return which."""
        made = []
        while (newest := await self.latest()) < number:
            made.append((await self.write({}, reason, after=newest)).number)
        return made

    async def _get(self, number: int) -> Stored | None:
        if not 0 < number < _NUMBERS:
            return None
        data = await self._store.get(_key(number))
        return None if data is None else Stored(decode_release(data, number), digest_of(data))


def _make(number: int, models: Mapping[str, Routing], reason: Reason) -> Release:
    return Release(
        format=RELEASE_FORMAT,
        number=number,
        created_us=time.time_ns() // 1000,
        models=dict(models),
        author=_as_text(reason.author),
        message=_as_text(reason.message),
        command=_as_text(reason.command),
        source_digest=reason.source_digest,
        git_commit=reason.git_commit,
    )


def _as_text(said: str) -> str:
    """Return what can be stored: a command line may hold bytes that are no text, which Python keeps as surrogates."""
    return said.encode(errors="replace").decode()


def encode_release(release: Release) -> bytes:
    """Return the bytes that are stored: JSON with a seal in front, which is the digest of all else.

    Nothing else in a registry has the digest of a release. An earlier Cloche reads past the seal.
    """
    data = msgspec.json.format(msgspec.json.encode(release, order="sorted"), indent=1) + b"\n"
    return b'{\n "seal": "%b",\n' % digest_of(data).encode() + data.removeprefix(b"{\n")


def is_as_written(data: bytes) -> bool:
    """Tell whether a release that can be read has its seal; one of an earlier Cloche has none, and nobody can tell."""
    if seal := _SEAL.match(data):
        return digest_of(b"{\n" + data[seal.end() :]).encode() == seal[1]
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError:  # a name that nobody has read
        return False
    return found.keys() <= set(Release.__struct_fields__)


def decode_release(data: bytes, number: int) -> Release:
    """Read a stored release.

    Raises:
        NewerFormat: a later Cloche wrote it.
        BundleCorrupt: it is no release, or another one.
    """
    return _LINE.decode(data, number, f"release {number}")


def _key(number: int) -> str:
    return f"releases/{number:012d}.json"
