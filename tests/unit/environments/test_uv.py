from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from cloche.environments.uv import find_uv, run
from cloche.errors import MissingExtra

ENVIRON = {"PATH": os.environ["PATH"]}


async def test_a_command_is_run_to_its_end(tmp_path: Path) -> None:
    script = "pwd; echo Resolved 3 packages in 2ms >&2; echo 'at /home/ann' >&2; echo $SAID >&2; exit 3"
    told: list[str] = []
    done = await run(["sh", "-c", script], {**ENVIRON, "SAID": "said"}, tmp_path, told.append)
    assert (done.status, done.printed) == (3, str(tmp_path))
    assert done.said == "Resolved 3 packages in 2ms\nat /home/ann\nsaid"
    assert told == ["Resolved 3 packages in 2ms"], "who waits is told nothing of this machine"


async def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    done = await run(["sh", "-c", "seq 1000 >&2"], ENVIRON, tmp_path)
    assert done.said.split() == [str(number) for number in range(971, 1001)]


async def test_it_runs_behind_the_calls(tmp_path: Path) -> None:
    assert (await run(["nice"], ENVIRON, tmp_path)).printed == str(os.nice(0) + 10 if os.nice(0) < 9 else 19)


async def test_who_gives_up_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; wait"
    task = asyncio.create_task(run(["sh", "-c", script], ENVIRON, tmp_path))
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.005)
    watched = os.pidfd_open(int((tmp_path / "pid").read_text()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, gone.set)
    await asyncio.wait_for(gone.wait(), 10)
    asyncio.get_running_loop().remove_reader(watched)
    os.close(watched)


async def test_who_gives_up_at_once_does_not_wait_for_it(tmp_path: Path) -> None:
    for turns in range(20):
        task = asyncio.create_task(run(["sh", "-c", "sleep 600 & sleep 600"], ENVIRON, tmp_path))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_what_is_not_there_can_not_be_started(tmp_path: Path) -> None:
    done = await run(["no-such-command"], ENVIRON, tmp_path)
    assert done.status == 127


def test_without_uv_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(MissingExtra, match=r"the environment of toy 1\.0\.0 needs uv.*'cloche\[environments\]'$"):
        find_uv("the environment of toy 1.0.0")
