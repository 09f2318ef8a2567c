from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cloche.home import Home
from cloche.processes.boot import RunLock, ServerFile, hold_lock


def test_nobody_else_reads_what_a_running_server_writes(tmp_path: Path) -> None:
    """The output of workers is there, and in it what models print of the rows they are asked."""
    home = Home(tmp_path / ".cloche")
    RunLock(home, "supervisor").release()
    assert stat.S_IMODE(home.run.stat().st_mode) == 0o700


def test_a_second_process_of_a_kind_ends_and_says_who_is_there(tmp_path: Path) -> None:
    home = Home(tmp_path / ".cloche")
    first = hold_lock(home, "gateway")
    hold_lock(home, "keeper").release()
    with pytest.raises(SystemExit, match=rf"There is a gateway already\. .*process {os.getpid()}"):
        hold_lock(home, "gateway")
    first.release()
    hold_lock(home, "gateway").release()


def test_where_a_server_is_comes_back_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    home = Home(tmp_path / ".cloche")
    assert ServerFile.read(home) is None
    home.run.mkdir(parents=True)
    file = ServerFile("http://here:1", "http://here:2", 3)
    file.write(home)
    assert ServerFile.read(home) == file
    whole = ServerFile.path(home).read_bytes()
    for damaged in (whole[:-3], whole.replace(b"here", b"\xff\xff")):
        ServerFile.path(home).write_bytes(damaged)
        assert ServerFile.read(home) is None
