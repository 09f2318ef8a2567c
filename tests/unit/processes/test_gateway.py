"""What keeps a gateway process going, apart from the calls themselves."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

from cloche.processes.gateway import follow


class Follower:
    """Fails where nobody foresaw it, and goes on the second time."""

    def __init__(self) -> None:
        self.progress = SimpleNamespace(trouble=None)
        self.runs = 0
        self.goes_on = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("nobody foresaw it")
        self.goes_on.set()
        await asyncio.Event().wait()


async def test_following_that_fails_is_logged_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower()
    with caplog.at_level(logging.ERROR):
        following = asyncio.create_task(follow(follower, pause_s=0.0))  # type: ignore[arg-type]
        await asyncio.wait_for(follower.goes_on.wait(), 5)
    assert follower.progress.trouble == "following them failed; the server's log says why"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "nobody foresaw it" in str(record.exc_info[1])
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
