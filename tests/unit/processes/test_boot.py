from __future__ import annotations

import stat
from pathlib import Path

from cloche.home import Home
from cloche.processes.boot import RunLock


def test_nobody_else_reads_what_a_running_server_writes(tmp_path: Path) -> None:
    """The output of workers is there, and in it what models print of the rows they are asked."""
    home = Home(tmp_path / ".cloche")
    RunLock(home, "supervisor").release()
    assert stat.S_IMODE(home.run.stat().st_mode) == 0o700
