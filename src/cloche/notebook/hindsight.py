"""`reproduce` and `replay`: recorded inferences, asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from cloche.assembly.loader import open_loader
from cloche.assembly.log import log_place, open_log, open_shipper
from cloche.authoring.bridge import wait_for
from cloche.errors import InferenceNotFound
from cloche.hindsight.loading import Loader
from cloche.hindsight.replay import Replay, Through, Watching, live_until_now, read_sample
from cloche.hindsight.replay import replay as replay_records
from cloche.hindsight.reproduce import Reproduction
from cloche.hindsight.reproduce import reproduce as reproduce_record
from cloche.log.filters import read_inference
from cloche.log.search import Query
from cloche.log.settle import settle
from cloche.notebook.opening import OpenHome, moment_us, open_home, plainly
from cloche.pages import plain
from cloche.pages.replay import replay_page
from cloche.pages.reproduction import reproduction_page
from cloche.ports import Filter, LogReader


class ReproductionPage(Reproduction, frozen=True, kw_only=True):
    """What came of asking again; `verdict` is `same`, `different` or `impossible`."""

    def __repr__(self) -> str:
        return plain(reproduction_page(self))


class ReplayPage(Replay, frozen=True, kw_only=True):
    """What another version would have answered."""

    def __repr__(self) -> str:
        return plain(replay_page(self))


@plainly
def reproduce(inference: str, *, rtol: float = 0.0, home: str | Path | None = None) -> ReproductionPage:
    """Ask again what was asked, and say whether the answer is the same, as `cloche log reproduce` does.

        reproduce("01a20349-36c9-727e-b484-73d48995bd0b").verdict

    The version that answered is loaded with its own packages in a worker that gives way to everything else. Nothing is
    recorded.

    Args:
        inference: the id that its answer carried.
        rtol: how far two numbers may be apart that count as the same, relative to the larger one.
        home: the home folder, where it is not the one that is found.

    Raises:
        ValueError: it is no id.
        InferenceNotFound: the log has no such inference.
        LogError, RegistryError: the log or the registry can't be read.
    """
    found = wait_for(_reproduced(open_home(home), read_inference(inference), rtol))
    return ReproductionPage(**msgspec.structs.asdict(found))


@plainly
def replay(
    model: str,
    version: str,
    *,
    since: str | datetime | timedelta | None = None,
    sample: int | str | None = None,
    home: str | Path | None = None,
) -> ReplayPage:
    """Put recorded live inferences to another version, as `cloche log replay` does, and say what would change.

        replay("flight-delay", "2.0.*", since="7d", sample="5%").changed.same

    Args:
        model: whose inferences.
        version: the version that they are put to: exact, or such as `2.*`. It need not be live.
        since: from when on: RFC 3339 or a datetime, with a time zone; or for how long: "2h", "3d" or a timedelta.
        sample: how many of them (500), or which share ("5%"): at random, and the same every time. Without it all.
        home: the home folder, where it is not the one that is found.

    Raises:
        ValueError: `since` is no time, or `sample` is no sample.
        ModelNotFound, VersionNotFound: no such version is published.
        DoesNotLoad, SetupError: it can't be loaded here.
        LogError, RegistryError: the log or the registry can't be read.
    """
    where = Filter(since_us=None if since is None else moment_us(since))
    share = None if sample is None else read_sample(str(sample))
    found = wait_for(_replayed(open_home(home), (model, version), Query(where), share))
    return ReplayPage(**msgspec.structs.asdict(found))


async def _reproduced(opened: OpenHome, inference: bytes, rtol: float) -> Reproduction:
    async with _log_and_loader(opened) as (log, loader):
        record = await log.get(inference)
        if record is None:
            raise InferenceNotFound(id=UUID(bytes=inference), where=log_place(opened.home))
        return await reproduce_record(record, loader, rtol, log=log)


async def _replayed(opened: OpenHome, names: tuple[str, str], query: Query, sample: float | int | None) -> Replay:
    async with _log_and_loader(opened) as (log, loader):
        version, digest = await loader.registry.resolve(*names)
        through = Through(names[0], version, digest, live_until_now(query, names[0]), sample)
        return await replay_records(log, loader, through, Watching())


@asynccontextmanager
async def _log_and_loader(opened: OpenHome) -> AsyncIterator[tuple[LogReader, Loader]]:
    """Give the log, with all that was acknowledged so far in it, and what loads versions."""
    home = opened.home
    log = open_log(home)
    await settle(home.spool, lambda: open_shipper(home, log_alone=True), log)
    async with open_loader(home, opened.settings) as loader:
        yield log, loader
