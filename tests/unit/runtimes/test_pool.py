"""The pool keeps the workers of each version alive, whatever becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche.runtimes import crew
from cloche.runtimes import pool as runtimes_pool
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.replica import STACK_GRACE_S, WorkerSpec
from cloche.runtimes.residence import resident_mb
from cloche.runtimes.roster import CrewState
from cloche.runtimes.worker import wire

from .conftest import MakeBundle

MODEL = """
from cloche import Model

class M(Model):
    def predict(self, rows):
        return [1 for row in rows]
"""

HOARDER = """
class M:
    def __init__(self):
        self.hoard = []

    def predict_one(self, row):
        self.hoard.append(b"x" * (row["mb"] << 20))
        return len(self.hoard)
"""

DIGEST = "sha256:0"


class Listener:
    """A subscriber that writes down what it hears, and asks workers."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.connections: dict[int, socket.socket] = {}

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None:
        if replica in self.connections:
            self.connections[replica].close()
        self.connections[replica] = connection
        self.heard.put_nowait(f"connected {replica}")

    def withdrawn(self, digest: str, replica: int) -> None:
        self.connections.pop(replica).close()
        self.heard.put_nowait(f"withdrawn {replica}")

    def died(self, digest: str, replica: int) -> None:
        if replica in self.connections:
            self.connections.pop(replica).close()
        self.heard.put_nowait(f"died {replica}")

    def failed(self, digest: str, reason: str) -> None:
        self.heard.put_nowait(f"failed: {reason}")

    async def hear(self) -> str:
        return await asyncio.wait_for(self.heard.get(), 30)

    async def ask(self, replica: int, **row: Any) -> Any:
        """Return what a worker answers to a row."""
        connection, loop, decoder = self.connections[replica], asyncio.get_running_loop(), wire.Decoder()
        connection.setblocking(False)
        call = {"call": 1, "rows": 1, "many": False, "context": {"id": "id", "now_us": 0}}
        header = {"op": "predict", "calls": [call]}
        await loop.sock_sendall(connection, wire.pack(header, json.dumps([row]).encode()))
        while True:
            data = await asyncio.wait_for(loop.sock_recv(connection, 65536), 30)
            for _, body in decoder.feed(data):
                return json.loads(body)[0]


@pytest.fixture
async def told() -> list[Sequence[CrewState]]:
    """How the workers were doing, as the pool has told it so far."""
    return []


@pytest.fixture
async def pool(told: list[Sequence[CrewState]]) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(told.append)
    yield made
    await made.stop()


@pytest.fixture
async def listeners() -> AsyncIterator[tuple[Listener, Listener]]:
    made = (Listener(), Listener())
    yield made
    for each in made:
        for connection in each.connections.values():
            connection.close()


@pytest.fixture
def listener(listeners: tuple[Listener, Listener]) -> Listener:
    return listeners[0]


def spec_of(bundle: Path, **fields: Any) -> WorkerSpec:
    return WorkerSpec("toy", "1.0.0", DIGEST, str(bundle), str(bundle.parent / "worker.log"), **fields)


async def until(check: Any) -> Any:
    async with asyncio.timeout(10):
        while not (found := check()):
            await asyncio.sleep(0.01)
    return found


async def test_a_worker_that_cant_be_started_is_told_of_and_tried_again(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(MODEL)
    away = bundle.with_name("away")
    bundle.rename(away)
    pool.want(spec_of(bundle), listener)
    assert "can't be started" in await listener.hear()
    shutil.copytree(away, bundle)
    while not (heard := await listener.hear()).startswith("connected"):
        assert "can't be started" in heard


async def test_a_model_that_takes_too_long_to_load_is_told_of(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle
) -> None:
    pool.want(spec_of(make_bundle(f"import time\ntime.sleep(600)\n{MODEL}"), load_ms=100), listener)
    assert await listener.hear() == "failed: The model did not load within 100 ms."


async def test_what_the_model_started_ends_with_its_worker(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    child = f"""
import subprocess
from pathlib import Path
Path({str(started)!r}).write_text(str(subprocess.Popen(['sleep', '600']).pid))
"""
    pool.want(spec_of(make_bundle(child + MODEL)), listener)
    assert await listener.hear() == "connected 1"
    child_pid = int(started.read_text())
    os.kill(pool.pids[DIGEST][0], signal.SIGKILL)
    assert await listener.hear() == "died 1"
    await until(lambda: not _runs(child_pid))


async def test_only_the_worker_that_hung_is_killed_for_it(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle, told: list[Sequence[CrewState]]
) -> None:
    """Where it dies of itself before its time is up, its successor lives."""
    pool.want(spec_of(make_bundle(MODEL)), listener)
    assert await listener.hear() == "connected 1"
    pool.hung(DIGEST, 1, 0.0)
    os.kill(pool.pids[DIGEST][0], signal.SIGKILL)
    assert await listener.hear() == "died 1"
    pool.hung(DIGEST, 1, 0.0)
    assert await listener.hear() == "connected 2"
    pool.hung(DIGEST, 1, 0.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.heard.get(), 1.5 * STACK_GRACE_S)
    await until(lambda: told[-1][0].serving == 1)
    assert (told[-1][0].hangs, told[-1][0].crashes) == (1, 0)


async def test_a_worker_that_is_busy_for_others_is_not_hung(
    pool: WorkerPool, listeners: tuple[Listener, Listener], make_bundle: MakeBundle
) -> None:
    """Each batch takes its time, and the second has to wait: longer than either may."""
    sleeper = "import time\nclass M:\n def predict_one(self, row): time.sleep(row['s']); return 1"
    spec = spec_of(make_bundle(sleeper))
    for listener in listeners:
        pool.want(spec, listener)
        assert await listener.hear() == "connected 1"
    asked = [asyncio.create_task(listener.ask(1, s=0.3)) for listener in listeners]
    for _ in range(11):
        await asyncio.sleep(0.05)
        pool.hung(DIGEST, 1, 0.4)
    assert await asyncio.gather(*asked) == [1, 1]
    hanging = asyncio.create_task(listeners[0].ask(1, s=600))
    await asyncio.sleep(0.1)
    pool.hung(DIGEST, 1, 0.4)
    await asyncio.sleep(0.4)
    pool.hung(DIGEST, 1, 0.4)
    assert await listeners[1].hear() == "died 1"
    hanging.cancel()


async def test_a_worker_that_does_nothing_and_does_not_answer_is_hung(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle
) -> None:
    pool.want(spec_of(make_bundle(MODEL)), listener)
    assert await listener.hear() == "connected 1"
    os.kill(pool.pids[DIGEST][0], signal.SIGSTOP)
    pool.hung(DIGEST, 1, 5.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.heard.get(), 1.5 * STACK_GRACE_S)
    pool.hung(DIGEST, 1, 5.0)
    assert await listener.hear() == "died 1"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_that_no_successor_wants_are_stopped(
    pool: WorkerPool,
    listeners: tuple[Listener, Listener],
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtimes_pool, "UNWANTED_S", 0.3)
    specs = [msgspec.structs.replace(spec_of(make_bundle(MODEL)), digest=f"sha256:{name}") for name in (0, 1)]
    first, successor = listeners
    for spec in specs:
        pool.want(spec, first)
    assert {await first.hear(), await first.hear()} == {"connected 1", "connected 2"}
    pids = pool.pids
    pool.forget(first)
    pool.want(specs[0], successor)
    assert await successor.hear() == "connected 1"
    await until(lambda: len(pool.pids) == 1)
    assert pool.pids == {DIGEST: pids[DIGEST]}, "it was taken over as it was"


async def test_as_many_workers_run_as_the_gateway_wants_that_wants_most(
    pool: WorkerPool, listeners: tuple[Listener, Listener], make_bundle: MakeBundle
) -> None:
    few, many = listeners
    spec = spec_of(make_bundle(MODEL))
    pool.want(spec, few)
    assert await few.hear() == "connected 1"
    pool.want(msgspec.structs.replace(spec, replicas=3), many)
    assert sorted([await many.hear() for _ in range(3)]) == ["connected 1", "connected 2", "connected 3"]
    assert sorted([await few.hear() for _ in range(2)]) == ["connected 2", "connected 3"]
    pool.resize(DIGEST, 2, many)
    gone = await many.hear()
    assert gone.startswith("withdrawn")
    assert await few.hear() == gone
    assert await many.hear() == gone.replace("withdrawn", "died")
    assert len(pool.pids[DIGEST]) == 2
    pool.release(DIGEST, many)
    assert await few.hear() == gone.replace("withdrawn", "died")
    assert (await few.hear()).startswith("withdrawn")


async def test_a_worker_that_has_answered_enough_ends_when_its_successor_has_answered(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle, told: list[Sequence[CrewState]]
) -> None:
    asked = "import os\nclass M:\n def predict_one(self, row): open(row['to'], 'a').write('.'); return os.getpid()"
    bundle = make_bundle(asked)
    note, examples = bundle / "note", bundle / "examples.json"
    examples.write_text(json.dumps([{"to": str(note)}, {"to": "/nowhere/at/all"}]))
    pool.want(spec_of(bundle, max_calls=5, examples=str(examples)), listener)
    assert await listener.hear() == "connected 1"
    assert note.read_text() == "."
    for _ in range(2):
        await listener.ask(1, to="/dev/null")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.heard.get(), 0.05)
    for _ in range(2):
        await listener.ask(1, to="/dev/null")
    assert [await listener.hear() for _ in range(3)] == ["connected 2", "withdrawn 1", "died 1"]
    assert note.read_text() == ".."
    await until(lambda: told[-1][0].recycled == 1)
    assert (told[-1][0].crashes, told[-1][0].serving) == (0, 1)


async def test_a_worker_whose_successor_does_not_load_goes_on(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(MODEL)
    pool.want(spec_of(bundle, max_calls=1), listener)
    assert await listener.hear() == "connected 1"
    (bundle / "code" / "model.py").write_text("raise ValueError('not any more')")
    assert await listener.ask(1) == 1
    await until(lambda: "not any more" in caplog.text)
    assert await listener.ask(1) == 1
    assert listener.heard.empty()


async def test_a_leak_is_let_go_of_behind_a_successor_and_said_when_it_goes_on(
    pool: WorkerPool,
    listener: Listener,
    make_bundle: MakeBundle,
    told: list[Sequence[CrewState]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtimes_pool, "LOOK_S", 0.05)
    pool.want(spec_of(make_bundle(HOARDER), max_rss_mb=120), listener)
    assert await listener.hear() == "connected 1"
    for replica in (1, 2):
        assert resident_mb(pool.pids[DIGEST][0]) < 100
        assert await listener.ask(replica, mb=60) == 1
        assert not told[-1][0].leaking
        assert await listener.ask(replica, mb=60) == 2
        await until(lambda: len(pool.pids[DIGEST]) == 2)
        assert await listener.ask(replica, mb=0) == 3, "it answers while its successor loads"
        heard = [await listener.hear() for _ in range(3)]
        assert heard == [f"connected {replica + 1}", f"withdrawn {replica}", f"died {replica}"]
    (state,) = await until(lambda: told[-1][0].recycled == 2 and told[-1])
    assert state.leaking
    assert await listener.ask(3, mb=130) == 1
    await asyncio.sleep(0.2)
    assert listener.heard.empty(), "a third within the minute is of no use"
    connection = listener.connections[3]
    connection.sendall(wire.pack({"op": "predict", "calls": [{"call": 1, "rows": 1, "many": False}]}, b'[{"mb":130}]'))
    assert await listener.hear() == "died 3", "it takes memory that others need"


async def test_a_version_whose_workers_crash_gets_no_calls_until_one_has_lived_for_a_while(
    pool: WorkerPool,
    listener: Listener,
    make_bundle: MakeBundle,
    told: list[Sequence[CrewState]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "PROBE_S", 0.3)
    monkeypatch.setattr(crew, "BACK_OFF_S", (0.0,))
    monkeypatch.setattr(runtimes_pool, "LOOK_S", 0.05)
    model = "import os\nclass M:\n def predict_one(self, row): return os.getpid()"
    pool.want(spec_of(make_bundle(model), replicas=2), listener)
    assert sorted([await listener.hear(), await listener.hear()]) == ["connected 1", "connected 2"]
    for victim, successor in ((1, 3), (3, 4), (4, None)):
        os.kill(await listener.ask(victim), signal.SIGKILL)
        assert await listener.hear() == f"died {victim}"
        assert successor is None or await listener.hear() == f"connected {successor}"
    assert await listener.hear() == "withdrawn 2"
    assert await listener.hear() == "failed: Its workers crashed 3 times within a minute."
    failed_at = asyncio.get_running_loop().time()
    (state,) = await until(lambda: told[-1][0].crashing and told[-1])
    assert state.serving == 0
    assert "crash again and again" in (state.trouble or "")
    back = {await listener.hear()}
    assert asyncio.get_running_loop().time() - failed_at >= 0.29
    back.add(await listener.hear())
    assert back == {"connected 2", "connected 5"}, "the one that never crashed is the same process"
    await until(lambda: not told[-1][0].crashing)
    assert (told[-1][0].crashes, told[-1][0].trouble) == (3, None)
    os.kill(await listener.ask(2), signal.SIGKILL)
    while not (heard := await listener.hear()).startswith("failed"):
        assert "connected" not in heard, "one more within the minute is enough"


async def test_a_version_that_does_not_answer_its_first_example_gets_no_calls(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle("class M:\n def predict_one(self, row): raise ValueError('never today')")
    examples = bundle / "examples.json"
    examples.write_text("[{}]")
    pool.want(spec_of(bundle, examples=str(examples)), listener)
    heard = await listener.hear()
    assert heard.startswith("failed: It does not answer its first example")
    assert "never today" in heard


@pytest.mark.parametrize("examples", [b"[]", b"{", b'[{"x": "\xff"}]', None], ids=["none", "cut", "damaged", "erased"])
async def test_a_version_without_examples_is_given_calls_all_the_same(
    pool: WorkerPool, listener: Listener, make_bundle: MakeBundle, examples: bytes | None
) -> None:
    bundle = make_bundle(MODEL)
    if examples is not None:
        (bundle / "examples.json").write_bytes(examples)
    pool.want(spec_of(bundle, examples=str(bundle / "examples.json")), listener)
    assert await listener.hear() == "connected 1"
