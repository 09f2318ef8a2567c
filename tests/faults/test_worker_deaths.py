"""What a model can do to its worker, as the other end of a connection sees it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloche.errors import DeadlineExceeded, WorkerCrashed
from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.wire import Channel
from cloche.values import CallContext

CONTEXT = CallContext(id="c1", now_us=0)


def predicting(call: int) -> dict[str, Any]:
    """Return the header of a message with one call of one row."""
    return {"op": "predict", "calls": [{"call": call, "rows": 1, "many": False}]}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(body: str) -> WorkerProcess:
        (tmp_path / "code").mkdir()
        manifest = {"format": 1, "name": "m", "version": "1.0.0", "flavor": "heuristic", "entry": "m:f", "takes": "row"}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / "code" / "m.py").write_text(f"def f(row):\n    {body}\n    return 1\n")
        started.append(WorkerProcess.start(tmp_path))
        started[-1].wait_loaded(60)
        return started[-1]

    yield start
    for worker in started:
        worker.stop(1)


FORK = "import os, time\n    if os.fork() == 0: time.sleep(20)\n    else: "


@pytest.mark.parametrize(
    "body",
    [
        "import ctypes; ctypes.string_at(0)",
        "import os; os._exit(0)",
        "import os; os.abort()",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        FORK + "os.kill(os.getpid(), 9)",
    ],
    ids=["segfault", "exit", "abort", "killed", "with-a-forked-child"],
)
def test_a_death_is_seen_on_every_connection_within_100_ms(
    run: Callable[[str], WorkerProcess], body: str, tmp_path: Path
) -> None:
    moment = tmp_path / "moment"
    worker = run(f"import time; open({str(moment)!r}, 'w').write(repr(time.monotonic()))\n    {body}")
    asked, idle = Channel(worker.connect()), Channel(worker.connect())
    asked.send(predicting(1), b"[{}]")
    assert asked.receive() is None
    assert idle.receive() is None
    assert time.monotonic() - float(moment.read_text()) < 0.1
    asked.close()
    idle.close()
    os.killpg(worker.pid, signal.SIGKILL) if body.startswith(FORK) else None


def test_a_crash_is_told_with_what_the_worker_wrote_last(run: Callable[[str], WorkerProcess]) -> None:
    worker = run("import ctypes; ctypes.string_at(0)")
    with pytest.raises(WorkerCrashed) as raised:
        worker.predict(b"[{}]", 1, False, CONTEXT)
    assert "killed by SIGSEGV" in raised.value.private["traceback"]
    assert "Fatal Python error: Segmentation fault" in raised.value.private["traceback"]
    assert not list(Path.cwd().glob("core*"))


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(600)"], ids=["busy", "asleep"])
def test_a_hung_worker_shows_its_stack_and_is_ended_by_force(run: Callable[[str], WorkerProcess], body: str) -> None:
    worker = run(body)
    with pytest.raises(DeadlineExceeded):
        worker.predict(b"[{}]", 1, False, CONTEXT, timeout_s=0.2)
    assert "m.py" in worker.dump_stack()
    worker.stop(0.1)
    assert worker._process.returncode == -signal.SIGKILL
