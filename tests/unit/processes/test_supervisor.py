from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from cloche.errors import AddressTaken, UnsafeAddress
from cloche.processes.supervisor import _bind, _Kept, check_safe
from cloche.settings import Server, Settings, Token


async def test_a_process_that_cant_be_started_is_tried_again() -> None:
    """A machine may be out of memory, or of processes, for a moment."""
    tries = 0
    up = asyncio.Event()

    def start() -> subprocess.Popen[bytes]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        up.set()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    kept = _Kept("gateway", start)
    await asyncio.wait_for(up.wait(), 5)
    await asyncio.wait_for(kept.stop(10), 15)
    assert tries == 2


@pytest.mark.parametrize("opened", ["host", "control_host"])
def test_either_port_may_be_open_to_others_with_a_token_or_on_purpose(opened: str) -> None:
    others: dict[str, Any] = {opened: "0.0.0.0"}
    with pytest.raises(UnsafeAddress, match=r"0\.0\.0\.0"):
        check_safe(Settings(server=Server(**others)))
    check_safe(Settings(server=Server(**others, insecure=True)))
    check_safe(Settings(server=Server(**others), token="secret"))
    check_safe(Settings(server=Server(**others), tokens={"shop": Token(secret="secret")}))


def test_an_address_of_another_machine_is_no_matter_of_the_port() -> None:
    with pytest.raises(AddressTaken, match="Choose an address of this machine"):
        _bind("203.0.113.7", 0, "--port")
