"""A program that answers for a version dies with its worker, and its own death is one call's failure."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche.errors import ModelFailed
from cloche.values import Request

from .following import Follows, Shop, following, until

PROGRAM = """
import json, os, sys
for line in sys.stdin:
    age = json.loads(line)["age"]
    if age == 13:
        sys.exit("thirteen brings bad luck")
    print(os.getpid(), flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
async def follows(shop: Shop) -> AsyncIterator[Follows]:
    async with following(shop) as follows:
        yield follows


async def go_live(shop: Shop, follows: Follows, *command: str) -> None:
    await shop.publish("1.0.0", flavor="command", command=list(command), entry="", takes="rows")
    await shop.release("1.0.0")
    await follows.look()


async def ask(follows: Follows, age: int) -> Any:
    request = Request("toy", json.dumps({"input": {"age": age}}).encode(), deadline_ms=20_000)
    return json.loads(msgspec.json.encode((await follows.gateway.answer(request)).answer))["output"]


async def test_a_program_that_dies_fails_its_call_alone(shop: Shop, follows: Follows) -> None:
    await go_live(shop, follows, sys.executable, "-I", "-c", PROGRAM)
    (worker,), first = follows.pool.pids[shop.pinned("1.0.0").digest], await ask(follows, 1)
    with pytest.raises(ModelFailed) as raised:
        await ask(follows, 13)
    assert "ended with status 1. It wrote last:\nthirteen brings bad luck" in raised.value.private["traceback"]
    assert await ask(follows, 1) not in (first, worker)
    assert follows.pool.pids[shop.pinned("1.0.0").digest] == [worker]


async def test_a_program_dies_with_its_worker(shop: Shop, follows: Follows) -> None:
    await go_live(shop, follows, sys.executable, "-I", "-c", PROGRAM)
    program = os.pidfd_open(await ask(follows, 1))
    (worker,) = follows.pool.pids[shop.pinned("1.0.0").digest]
    os.kill(worker, signal.SIGKILL)
    await until(lambda: bool(select.select([program], [], [], 0)[0]))
    os.close(program)
    await until(lambda: follows.pool.pids.get(shop.pinned("1.0.0").digest) not in (None, [worker]))


async def test_a_version_whose_program_is_not_installed_never_goes_live(shop: Shop, follows: Follows) -> None:
    await go_live(shop, follows, "Rscript-of-nobody", "score.R")
    (waiting,) = follows.progress.waiting
    assert waiting.reason is not None
    assert "Rscript-of-nobody is not installed here. Install it where the server runs" in waiting.reason
