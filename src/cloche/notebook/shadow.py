"""`shadow`: a version's answers beside those that callers got."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from cloche.assembly.log import open_log, open_shipper
from cloche.authoring.bridge import wait_for
from cloche.insight.shadow import ShadowStatus, ShadowWatch
from cloche.log.settle import settle
from cloche.notebook.opening import OpenHome, moment_us, open_home, plainly
from cloche.pages import plain
from cloche.pages.shadow import shadow_page
from cloche.processes.boot import ServerFile
from cloche.registry.standing import read_standing


class ShadowPage(ShadowStatus, frozen=True):
    """The shadows of a model at one moment."""

    def __repr__(self) -> str:
        return plain(shadow_page(self))


@plainly
def shadow(
    model: str, *, since: str | datetime | timedelta | None = None, home: str | Path | None = None
) -> ShadowPage:
    """Compare a model's shadow with what is live: the same calls, both answers, as `cloche shadow show` does.

        shadow("flight-delay", since="2h")

    Args:
        model: its name.
        since: from when on: RFC 3339 or a datetime, with a time zone; or for how long: "2h", "3d" or a timedelta.
            Without it, since the versions that are shadows now became so.
        home: the home folder, where it is not the one that is found.

    Raises:
        ValueError: `since` is no time, or has no time zone.
        ModelNotFound: no such model is published.
        LogError: the log can't be read.
    """
    since_us = None if since is None else moment_us(since)
    found = wait_for(_look(open_home(home), model, since_us))
    return ShadowPage(**msgspec.structs.asdict(found))


async def _look(opened: OpenHome, model: str, since_us: int | None) -> ShadowStatus:
    home = opened.home
    log = open_log(home)
    await settle(home.spool, lambda: open_shipper(home, log_alone=True), log)
    is_running = ServerFile.read(home) is not None
    watch = ShadowWatch(
        opened.registry,
        log,
        lambda: read_standing(home.run) if is_running else None,
        opened.settings.limits.deadline_ms,
    )
    return await watch.look(model, time.time_ns() // 1000, since_us)
