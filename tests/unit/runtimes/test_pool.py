"""The pool keeps one worker per version alive, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloche.runtimes import pool as runtimes_pool
from cloche.runtimes.pool import STACK_GRACE_S, WorkerPool, WorkerSpec

from .conftest import MakeBundle

MODEL = """
from cloche import Model

class M(Model):
    def predict(self, rows):
        return [1 for row in rows]
"""


class Listener:
    """A subscriber that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def connected(self, digest: str, connection: socket.socket) -> None:
        connection.close()
        self.heard.put_nowait("connected")

    def died(self, digest: str) -> None:
        self.heard.put_nowait("died")

    def failed(self, digest: str, traceback: str) -> None:
        self.heard.put_nowait(f"failed: {traceback}")

    async def hear(self) -> str:
        return await asyncio.wait_for(self.heard.get(), 30)


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    made = WorkerPool()
    yield made
    await made.stop()


def spec_of(bundle: Path, log: Path) -> WorkerSpec:
    return WorkerSpec("toy", "1.0.0", "sha256:0", str(bundle), str(log))


async def test_a_worker_that_cant_be_started_is_told_of_and_tried_again(
    pool: WorkerPool, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle(MODEL)
    away = bundle.with_name("away")
    bundle.rename(away)
    listener = Listener()
    pool.want(spec_of(bundle, tmp_path / "worker.log"), listener)
    assert "can't be started" in await listener.hear()
    shutil.copytree(away, bundle)
    while (heard := await listener.hear()) != "connected":
        assert "can't be started" in heard


async def test_what_the_model_started_ends_with_its_worker(
    pool: WorkerPool, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    child = f"""
import subprocess
from pathlib import Path
Path({str(started)!r}).write_text(str(subprocess.Popen(['sleep', '600']).pid))
"""
    listener = Listener()
    pool.want(spec_of(make_bundle(child + MODEL), tmp_path / "worker.log"), listener)
    assert await listener.hear() == "connected"
    child_pid = int(started.read_text())
    os.kill(pool.pids["sha256:0"], signal.SIGKILL)
    assert await listener.hear() == "died"
    async with asyncio.timeout(5):
        while _runs(child_pid):
            await asyncio.sleep(0.01)


async def test_only_the_worker_that_hung_is_killed_for_it(
    pool: WorkerPool, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Where it dies of itself before its time is up, its successor lives."""
    listener = Listener()
    pool.want(spec_of(make_bundle(MODEL), tmp_path / "worker.log"), listener)
    assert await listener.hear() == "connected"
    pool.hung("sha256:0")
    os.kill(pool.pids["sha256:0"], signal.SIGKILL)
    assert await listener.hear() == "died"
    pool.hung("sha256:0")
    assert await listener.hear() == "connected"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.heard.get(), 1.5 * STACK_GRACE_S)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_that_no_successor_wants_are_stopped(
    pool: WorkerPool, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes_pool, "UNWANTED_S", 0.3)
    specs = [
        WorkerSpec("toy", "1.0.0", digest, str(make_bundle(MODEL)), str(tmp_path / "worker.log"))
        for digest in ("sha256:0", "sha256:1")
    ]
    first, successor = Listener(), Listener()
    for spec in specs:
        pool.want(spec, first)
    assert [await first.hear(), await first.hear()] == ["connected", "connected"]
    pids = pool.pids
    pool.forget(first)
    pool.want(specs[0], successor)
    assert await successor.hear() == "connected"
    async with asyncio.timeout(10):
        while len(pool.pids) > 1:
            await asyncio.sleep(0.01)
    assert pool.pids == {"sha256:0": pids["sha256:0"]}, "it was taken over as it was"
