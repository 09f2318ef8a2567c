"""The death of a process is noticed, also where the system does not tell of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from cloche.runtimes.exits import exited


@pytest.fixture(params=["told", "asked"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "asked":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.mark.usefixtures("_either_way")
async def test_a_death_is_noticed_and_work_goes_on_however_many_live() -> None:
    many = [subprocess.Popen(["sleep", "600"]) for _ in range(min(32, (os.cpu_count() or 1) + 4))]
    waiting = [asyncio.create_task(exited(process)) for process in many]
    await asyncio.sleep(0)
    try:
        with subprocess.Popen(["sh", "-c", "exit 7"]) as process:
            async with asyncio.timeout(10):
                assert await exited(process) == 7
                assert await asyncio.to_thread(int, "1") == 1
        assert not any(task.done() for task in waiting)
    finally:
        for process in many:
            process.kill()
        assert await asyncio.gather(*waiting) == [-9] * len(many)


def test_what_still_runs_keeps_neither_the_loop_nor_the_process_from_its_end() -> None:
    script = """
        import asyncio, os, time
        from subprocess import DEVNULL, Popen
        from cloche.runtimes.exits import exited

        if hasattr(os, "pidfd_open"):
            del os.pidfd_open
        lives, dies = [Popen(["sleep", seconds], stdout=DEVNULL, stderr=DEVNULL) for seconds in ("10", "0.5")]

        async def main():
            tasks = [asyncio.create_task(exited(process)) for process in (lives, dies)]
            await asyncio.sleep(0.1)

        asyncio.run(main())
        print(lives.pid, lives.returncode, dies.returncode, flush=True)
        while dies.returncode is None:
            time.sleep(0.05)
        time.sleep(0.1)
    """
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        pid, *codes = running.stdout.readline().split()
        try:
            assert codes == ["None", "None"]
            assert running.wait(5) == 0
            assert running.stderr.read() == ""
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
