"""The output of workers stays bounded, and none of it is lost between one file and the next."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloche.errors import DoesNotLoad
from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.logfile import MOST_BYTES, older, open_log, tail, turn
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


def added(path: Path, text: str) -> None:
    with os.fdopen(open_log(path), "a") as file:
        file.write(text)


def test_output_is_added_to_what_is_there(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    for text in ("one ", "two"):
        added(log, text)
    assert log.read_text() == "one two"


@pytest.mark.parametrize("put", [Path.symlink_to, Path.hardlink_to])
def test_no_worker_is_given_the_file_of_somebody_else(tmp_path: Path, put: Callable[[Path, Path], None]) -> None:
    theirs, log = tmp_path / "profile", tmp_path / "worker.log"
    theirs.write_text("# mine")
    put(log, theirs)
    added(log, "evil")
    assert (theirs.read_text(), log.read_text()) == ("# mine", "evil")
    assert not log.is_symlink()


def test_nobody_waits_for_a_pipe_in_the_place_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    os.mkfifo(log)
    added(log, "said")
    os.mkfifo(older(log))
    assert tail(log, 100) == "said"


def test_a_link_to_a_large_file_is_not_turned(tmp_path: Path) -> None:
    large, log = tmp_path / "large", tmp_path / "worker.log"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    log.symlink_to(large)
    turn(log)
    assert log.is_symlink()
    assert tail(log, 100) == ""


def test_what_a_model_does_to_its_log_is_no_failure_of_who_looks_at_it(make_bundle: Any, tmp_path: Path) -> None:
    """It is long, or gone, when the stack of a model that does not load is looked for there."""
    wait = "import time\nwhile True: time.sleep(1)"
    grow = "import faulthandler, os, signal\nfaulthandler.unregister(signal.SIGUSR1)\n"
    grow += "signal.signal(signal.SIGUSR1, lambda *_: os.ftruncate(2, 1 << 42))\n"
    remove = f"import os\nos.remove({str(tmp_path / 'log-1')!r})\n"
    for number, code in enumerate((grow, remove)):
        with (
            WorkerProcess.start(make_bundle(code + wait), log=tmp_path / f"log-{number}") as worker,
            pytest.raises(DoesNotLoad, match="It has not loaded within 2 s"),
        ):
            worker.wait_loaded(2)
