"""The output of workers stays bounded, and none of it is lost between one file and the next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.logfile import MOST_BYTES, older, tail, turn
from cloche.values import CallContext

CONTEXT = CallContext(id="c1", now_us=0)

CHATTY = """
    import os, threading, time

    class M:
        def load(self, bundle):
            threading.Thread(target=self.count, daemon=True).start()
        def count(self):
            for number in range(10**9):
                os.write(1, b"number %012d of a thread\\n" % number)
                time.sleep(0.0005)
        def predict_one(self, row):
            os.write(2, b"x" * 2_999_999 + b"\\n")
            return 1
"""


def test_a_worker_begins_a_new_file_and_loses_nothing(make_bundle: Any, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "chatty.log"
    with WorkerProcess.start(make_bundle(CHATTY), log=log) as worker:
        worker.wait_loaded(30)
        while not older(log).exists():
            worker.predict(b"[{}]", 1, False, CONTEXT)
        worker.predict(b"[{}]", 1, False, CONTEXT)
        assert worker._process.poll() is None
    assert older(log).stat().st_size < MOST_BYTES + 4 * 3_000_000
    assert log.stat().st_size < MOST_BYTES + 3_000_000
    numbers = [int(found) for found in re.findall(rb"number (\d{12}) of", older(log).read_bytes() + log.read_bytes())]
    assert len(numbers) > 1
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [path.name for path in log.parent.iterdir() if path.name.endswith(".new")] == []


def test_a_stack_that_is_dumped_after_that_is_in_the_new_file(make_bundle: Any, tmp_path: Path) -> None:
    log = tmp_path / "large.log"
    log.write_bytes(b"x" * (MOST_BYTES + 1))
    code = "import os\nclass M:\n def predict_one(self, row): return os.write(2, b'y' * 10_000_001)"
    with WorkerProcess.start(make_bundle(code), log=log) as worker:
        worker.wait_loaded(30)
        assert older(log).read_bytes() == b"x" * (MOST_BYTES + 1)
        worker.predict(b"[{}]", 1, False, CONTEXT)
        worker.describe()
        assert log.stat().st_size == 0
        assert "serve.py" in worker.dump_stack()


def test_the_tail_goes_back_into_the_older_file(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert tail(log, 100) == ""
    older(log).write_bytes(b"0123456789")
    assert tail(log, 4) == "6789"
    log.write_bytes(b"abc")
    assert [tail(log, size) for size in (2, 3, 5, 100)] == ["bc", "abc", "89abc", "0123456789abc"]


@pytest.mark.parametrize("size", [MOST_BYTES, MOST_BYTES + 1])
def test_a_file_is_turned_when_it_is_too_large_and_not_before(tmp_path: Path, size: int) -> None:
    log = tmp_path / "worker.log"
    turn(log)
    log.write_bytes(b"x" * size)
    turn(log)
    assert log.exists() is (size <= MOST_BYTES)
    assert older(log).exists() is (size > MOST_BYTES)
