"""A worker says since when it is busy, to who can't ask it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cloche.runtimes.worker.busy import FILE, Busy, busy_s


def test_it_is_busy_between_beginning_and_end(tmp_path: Path) -> None:
    assert busy_s(tmp_path) is None
    busy = Busy(tmp_path)
    assert busy_s(tmp_path) == 0.0
    before = time.monotonic()
    busy.begin()
    found = busy_s(tmp_path)
    assert found is not None
    assert 0 < found <= time.monotonic() - before
    busy.end()
    assert busy_s(tmp_path) == 0.0


def test_a_model_that_empties_the_folder_harms_nobody_else(tmp_path: Path) -> None:
    busy = Busy(tmp_path)
    (tmp_path / FILE).write_bytes(b"")
    assert busy_s(tmp_path) is None
    shutil.rmtree(tmp_path)
    assert busy_s(tmp_path) is None
    del busy
