"""The keeper goes on when a part of it fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys

import msgspec

from cloche.home import Home
from cloche.processes.boot import Boot
from cloche.processes.keeper import conduct
from cloche.settings import Settings


class Stumbling:
    """Fails once, then runs until it is told to stop."""

    def __init__(self) -> None:
        self.runs = 0
        self.again = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        self.runs += 1
        if self.runs == 1:
            raise ZeroDivisionError
        self.again.set()
        await stopping.wait()


async def test_a_controller_that_fails_begins_again(caplog):
    controller, stopping = Stumbling(), asyncio.Event()
    with caplog.at_level(logging.ERROR):
        conducting = asyncio.create_task(conduct(controller, stopping, pause_s=0.01))
        await asyncio.wait_for(controller.again.wait(), 5)
    assert "begins again" in caplog.text
    stopping.set()
    await asyncio.wait_for(conducting, 5)


async def test_a_pause_after_a_failure_ends_when_the_keeper_stops():
    controller, stopping = Stumbling(), asyncio.Event()
    conducting = asyncio.create_task(conduct(controller, stopping, pause_s=3600))
    await asyncio.sleep(0)
    stopping.set()
    await asyncio.wait_for(conducting, 5)
    assert controller.runs == 1


def test_a_log_that_can_not_be_opened_is_a_sentence_in_what_the_server_prints(tmp_path):
    home = Home(tmp_path / ".cloche")
    home.log.parent.mkdir(parents=True)
    home.log.write_bytes(b"this is no database, whatever it is called" * 100)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        boot = Boot(str(home.path), Settings(), listening.fileno())
        ended = subprocess.run(
            [sys.executable, "-m", "cloche.processes.keeper"],
            input=msgspec.json.encode(boot),
            pass_fds=boot.files,
            capture_output=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"The log at {home.log} ".encode())
    assert b"Traceback" not in ended.stderr
