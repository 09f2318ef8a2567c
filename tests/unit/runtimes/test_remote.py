"""Calls of many callers to one real worker: each gets its own answer, whatever happens to the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cloche.errors import (
    DeadlineExceeded,
    ModelFailed,
    Overloaded,
    PoisonInput,
    ServingError,
    WorkerCrashed,
    WorkerUnavailable,
)
from cloche.runtimes import remote
from cloche.runtimes.crew import Subscriber
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.remote import WorkerRuntime
from cloche.runtimes.replica import WorkerSpec
from cloche.runtimes.tables import LEAST_ITEMS
from cloche.runtimes.worker import wire
from cloche.schema.listing import items_of
from cloche.values import Ask, Batching, CallContext, Prediction

from .conftest import MakeBundle

Start = Callable[..., Awaitable[WorkerRuntime]]

MODEL = """
import time
from cloche import Model, Refusal

class M(Model):
    def predict(self, rows):
        self.largest = max(len(rows), getattr(self, "largest", 0))
        return [self.one(row) for row in rows]

    def one(self, row):
        time.sleep(row.get("sleep", 0))
        if row.get("fail"):
            raise ValueError(f"row {row['n']}")
        if row.get("refuse"):
            return Refusal("no", f"not {row['n']}")
        return self.largest if row.get("ask") else row["n"]
"""


@pytest.fixture
async def start(make_bundle: MakeBundle, tmp_path: Path) -> AsyncIterator[Start]:
    pool = WorkerPool()

    async def begin(code: str = MODEL, hang_after_s: float = 30.0, replicas: int = 1, **fields: Any) -> WorkerRuntime:
        bundle = make_bundle(code, **fields)
        files = str(bundle), str(tmp_path / "worker.log")
        spec = WorkerSpec("toy", "1.0.0", f"sha256:{bundle.name}", *files, replicas=replicas)
        runtime = WorkerRuntime(spec, pool, hang_after_s)
        while len(runtime._attached) < replicas:
            await asyncio.sleep(0.01)
        return runtime

    yield begin
    await pool.stop()


async def ask(
    runtime: WorkerRuntime, *rows: dict[str, Any], many: bool = False, within_s: float = 30, **said: Any
) -> Prediction:
    context = CallContext("id", 0)
    payload = json.dumps(rows).encode()
    deadline = asyncio.get_running_loop().time() + within_s
    return await runtime.predict(Ask(payload, len(rows), many, context, round(within_s * 1000), **said), deadline)


async def test_what_a_model_prints_reaches_the_record_of_its_own_call_alone(start: Start, tmp_path: Path) -> None:
    runtime = await start("class M:\n def predict_one(self, row): print(row['n']); return row['n']")
    for number in range(8):
        await ask(runtime, {"n": number})
    for _ in range(3):
        found = await asyncio.gather(*(ask(runtime, {"n": number}) for number in range(50)))
        for prediction in found:
            assert prediction.printed.strip() in ("", *map(str, json.loads(prediction.outputs)))
    assert [prediction.printed.strip() for prediction in found] == [str(number) for number in range(50)]
    assert (tmp_path / "worker.log").read_text().strip(), "what a first batch printed is not lost"


async def test_a_call_that_nobody_waits_for_leaves_the_queue(start: Start) -> None:
    runtime = await start()
    await ask(runtime, {"n": 0})
    busy = asyncio.create_task(ask(runtime, {"n": 1, "sleep": 0.3}))
    await asyncio.sleep(0.01)
    late = [asyncio.create_task(ask(runtime, {"n": 2}, within_s=0.05)) for _ in range(20)]
    ended = {type(error) for error in await asyncio.gather(*late, return_exceptions=True)}
    assert ended <= {DeadlineExceeded, Overloaded}
    assert runtime.waiting == 0
    assert json.loads((await busy).outputs) == [1]


async def test_rankings_go_together_and_come_apart(start: Start) -> None:
    model = "class M:\n def predict(self, rows): return [row['score'] + row['plus'] for row in rows]"
    runtime = await start(model, each={"path": "/items", "item_id": "sku"})

    async def rank(number: int) -> None:
        items = [{"sku": f"{number}-{item}", "score": item} for item in range(number % 7)]
        prediction = await ask(runtime, {"plus": number, "items": items})
        ranked = [{"sku": f"{number}-{item}", "score": item + number} for item in reversed(range(number % 7))]
        assert json.loads(prediction.outputs) == [ranked]

    await asyncio.gather(*map(rank, range(200)))


async def test_rankings_go_by_columns_once_the_worker_has_said_that_it_reads_them(start: Start) -> None:
    runtime = await start(
        "class M:\n def predict(self, rows): return [row['price'] * row['plus'] for row in rows]",
        each={"path": "/items", "item_id": "sku"},
    )
    call = {"plus": 2, "items": [{"sku": number, "price": number + 0.5} for number in range(LEAST_ITEMS)]}
    ranked = [{"sku": number, "score": 2 * number + 1.0} for number in reversed(range(LEAST_ITEMS))]
    for is_text in (True, False):
        asked = Ask([call], 1, False, CallContext("id", 0), 5000, items=items_of(call, "items"))
        found = await runtime.predict(asked, asyncio.get_running_loop().time() + 5)
        assert json.loads(found.outputs) == [ranked]
        assert isinstance(asked.given, bytes) == is_text


async def test_a_worker_of_before_is_never_sent_columns() -> None:
    runtime, _ = played()
    worker = Player(runtime)
    await runtime.wait_ready()
    for number in (1, 2):
        call = {"items": [{"sku": number, "price": 1.5} for number in range(LEAST_ITEMS)]}
        asked = Ask([call], 1, False, CallContext("id", 0), 5000, items=items_of(call, "items"))
        answer = asyncio.create_task(runtime.predict(asked, asyncio.get_running_loop().time() + 5))
        await worker.reply({"calls": [{"call": number, "ok": True, "size": 2, "refusals": {}, "printed": ""}]}, b"[]")
        await answer
        assert isinstance(asked.given, bytes)
    await runtime.close()
    worker.sock.close()


async def test_what_gains_nothing_from_company_gets_none_but_for_a_few_tries(start: Start) -> None:
    runtime = await start()
    for number in range(6):
        await ask(runtime, {"n": number, "sleep": 0.05})
    await asyncio.gather(*(ask(runtime, {"n": number, "sleep": 0.05}) for number in range(30)))
    assert json.loads((await ask(runtime, {"n": 0, "ask": True})).outputs) == [3]


async def test_an_abandoned_call_harms_nobody(start: Start) -> None:
    runtime = await start()
    late = asyncio.create_task(ask(runtime, {"n": 1, "sleep": 0.2}, within_s=0.02))
    await asyncio.sleep(0)
    next_one = asyncio.create_task(ask(runtime, {"n": 2}))
    with pytest.raises(DeadlineExceeded, match="20 ms"):
        await late
    assert json.loads((await next_one).outputs) == [2]
    cancelled = asyncio.create_task(ask(runtime, {"n": 3, "sleep": 0.1}))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    assert json.loads((await ask(runtime, {"n": 4})).outputs) == [4]


async def test_work_that_would_come_too_late_is_refused_at_once(start: Start) -> None:
    runtime = await start()
    for number in range(4):
        await ask(runtime, {"n": number, "sleep": 0.05})
    waiting = [asyncio.create_task(ask(runtime, {"n": number, "sleep": 0.05})) for number in range(10)]
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Overloaded):
        await ask(runtime, {"n": 99}, within_s=0.1)
    assert asyncio.get_running_loop().time() - began < 0.04
    await asyncio.gather(*waiting)


async def test_a_crash_ends_what_can_not_be_answered_and_the_next_worker_answers(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LEAST_START_S", 60.0)
    runtime = await start(
        "import os\nclass M:\n def predict_one(self, row): return os._exit(3) if row['n'] else os.getpid()"
    )
    first = json.loads((await ask(runtime, {"n": 0})).outputs)
    calls = [asyncio.create_task(ask(runtime, {"n": 1})) for _ in range(3)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {WorkerCrashed, WorkerUnavailable}
    assert runtime.state == "starting", "they have waited until there was another"
    second = await retried(runtime, {"n": 0})
    assert second != first


DEADLY = """
import os, time
class M:
    def predict(self, rows):
        for row in rows:
            time.sleep(row.get("sleep", 0))
            if row.get("die"):
                os._exit(3)
        return [row["n"] for row in rows]
"""


async def test_innocents_of_a_batch_that_killed_its_worker_are_answered(start: Start) -> None:
    runtime = await start(DEADLY)
    for _ in range(5):
        await ask(runtime, {"n": 0})
    busy = asyncio.create_task(ask(runtime, {"n": 1, "sleep": 0.1}))
    await asyncio.sleep(0)
    together = Batching(max_batch=64)
    innocents = [asyncio.create_task(ask(runtime, {"n": number}, batching=together)) for number in range(2, 7)]
    guilty = asyncio.create_task(ask(runtime, {"n": 9, "die": True}, batching=together))
    await asyncio.sleep(0)
    assert runtime.waiting == 6
    assert json.loads((await busy).outputs) == [1]
    with pytest.raises(PoisonInput):
        await guilty
    assert [json.loads((await call).outputs) for call in innocents] == [[number] for number in range(2, 7)]
    with pytest.raises(PoisonInput):
        await ask(runtime, {"n": 9, "die": True})
    assert json.loads((await ask(runtime, {"n": 10})).outputs) == [10]


async def test_an_input_that_was_alone_when_its_worker_died_is_refused_after_the_second(start: Start) -> None:
    runtime = await start(DEADLY)
    with pytest.raises(WorkerCrashed):
        await ask(runtime, {"n": 1, "die": True})
    with pytest.raises(PoisonInput):
        await ask(runtime, {"n": 1, "die": True})
    with pytest.raises(PoisonInput):
        await retried(runtime, {"n": 1, "die": True}, unless=PoisonInput)
    assert json.loads((await ask(runtime, {"n": 1})).outputs) == [1]


async def test_calls_go_to_all_workers_and_a_dead_one_takes_none_of_the_others_along(start: Start) -> None:
    runtime = await start("import os" + DEADLY.replace('row["n"] for', "os.getpid() for"), replicas=2)

    async def pid(**row: Any) -> int:
        (found,) = json.loads((await ask(runtime, row)).outputs)
        return int(found)

    both = await asyncio.gather(*(pid(n=number, sleep=0.2) for number in range(2)))
    assert len(set(both)) == 2
    others = [asyncio.create_task(pid(n=number, sleep=0.1)) for number in range(4)]
    await asyncio.sleep(0.01)
    os.kill(both[0], signal.SIGKILL)
    ended = await asyncio.gather(*others, return_exceptions=True)
    assert [type(end) for end in ended].count(WorkerCrashed) == 1
    answered = {end for end in ended if isinstance(end, int)}
    assert both[1] in answered
    assert both[0] not in answered, "the third is the one that took its place"


async def test_calls_wait_for_company_where_the_version_wants_that(start: Start) -> None:
    runtime = await start()
    together = Batching(max_wait_ms=25, max_batch=4)
    for _ in range(3):
        await ask(runtime, {"n": 0})
    began = asyncio.get_running_loop().time()
    assert json.loads((await ask(runtime, {"n": 0}, batching=together)).outputs) == [0]
    assert asyncio.get_running_loop().time() - began >= 0.02
    for _ in range(2):
        first = asyncio.create_task(ask(runtime, {"n": 0}, batching=together))
        await asyncio.sleep(0.001)
        rest = [ask(runtime, {"n": number}, batching=together) for number in range(3)]
        await asyncio.gather(first, *rest)
    assert json.loads((await ask(runtime, {"n": 0, "ask": True})).outputs) == [4]


async def test_a_hung_worker_is_replaced_and_its_stack_is_kept(start: Start, tmp_path: Path) -> None:
    runtime = await start(MODEL, hang_after_s=0.3)
    with pytest.raises(WorkerCrashed):
        await ask(runtime, {"n": 1, "sleep": 600})
    assert await retried(runtime, {"n": 2}) == [2]
    assert "in one" in (tmp_path / "worker.log").read_text()


async def test_a_slow_start_is_not_a_hang(start: Start) -> None:
    runtime = await start("import time; time.sleep(0.5)\n" + MODEL, hang_after_s=0.2)
    assert json.loads((await ask(runtime, {"n": 1})).outputs) == [1]


async def test_a_killed_worker_is_noticed_without_a_call(start: Start) -> None:
    runtime = await start("import os\nclass M:\n def predict_one(self, row): return os.getpid()")
    (pid,) = json.loads((await ask(runtime, {})).outputs)
    os.kill(pid, signal.SIGKILL)
    assert await retried(runtime, {}) != [pid]


async def retried(runtime: WorkerRuntime, row: dict[str, Any], unless: type[Exception] | None = None) -> Any:
    """Ask until a worker answers, for at most five seconds."""
    async with asyncio.timeout(5):
        while True:
            try:
                return json.loads((await ask(runtime, row)).outputs)
            except ServingError as error:
                if unless is not None and isinstance(error, unless):
                    raise
                await asyncio.sleep(0.01)


class Host:
    """Starts no workers: the test plays them."""

    def __init__(self) -> None:
        self.replaced = 0

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None: ...

    def resize(self, digest: str, replicas: int) -> None: ...

    def release(self, digest: str, subscriber: Subscriber) -> None: ...

    def hung(self, digest: str, replica: int, after_s: float) -> None:
        self.replaced += 1


class Player:
    """The worker's end of a connection."""

    def __init__(self, runtime: WorkerRuntime, replica: int = 1) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        runtime.connected("sha256:0", replica, theirs)

    async def reply(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Wait for a call, and answer it."""
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_recv(self.sock, 65536), 5)
        await loop.sock_sendall(self.sock, wire.pack(header, body))


def played(hang_after_s: float = 30.0) -> tuple[WorkerRuntime, Host]:
    host = Host()
    return WorkerRuntime(WorkerSpec("toy", "1.0.0", "sha256:0", "bundle", "log"), host, hang_after_s), host


async def test_a_call_that_the_worker_can_make_nothing_of_fails_at_once() -> None:
    runtime, host = played(hang_after_s=0.05)
    worker = Player(runtime)
    await runtime.wait_ready()
    asking = asyncio.create_task(ask(runtime, {"n": 1}))
    await worker.reply({"event": "error", "reason": "this is no call"})
    with pytest.raises(ModelFailed) as failed:
        await asking
    assert failed.value.private["reason"] == "this is no call"
    await asyncio.sleep(0.1)
    assert host.replaced == 0
    await runtime.close()
    worker.sock.close()


async def test_a_version_that_was_let_go_is_replaced_no_more() -> None:
    """The same version may be live again by then, and its worker well."""
    runtime, host = played(hang_after_s=0.05)
    worker = Player(runtime)
    await runtime.wait_ready()
    with pytest.raises(DeadlineExceeded):
        await ask(runtime, {"n": 1}, within_s=0.01)
    await runtime.close()
    await asyncio.sleep(0.1)
    assert host.replaced == 0
    worker.sock.close()


async def test_a_worker_that_is_withdrawn_before_it_was_connected_gets_no_calls() -> None:
    runtime, _ = played()
    worker = Player(runtime)
    runtime.withdrawn("sha256:0", 1)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(worker.sock, 1), 5) == b""
    assert runtime.state == "starting"
    await runtime.close()
    worker.sock.close()


async def test_who_waits_for_a_version_that_was_let_go_waits_no_more() -> None:
    runtime, _ = played()
    waiting = asyncio.create_task(runtime.wait_ready())
    await asyncio.sleep(0)
    await runtime.close()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.cancelled()


async def test_the_end_of_an_old_connection_is_not_that_of_the_new() -> None:
    runtime, _ = played()
    old = Player(runtime)
    new = Player(runtime, 2)
    await runtime.wait_ready()
    await asyncio.sleep(0.02)
    old.sock.close()
    await asyncio.sleep(0.02)
    assert runtime.state == "ready"
    asking = asyncio.create_task(ask(runtime, {"n": 1}))
    reply = {"call": 1, "ok": True, "size": 3, "refusals": {}, "printed": ""}
    await new.reply({"calls": [reply], "seconds": 0.0}, b"[7]")
    assert (await asking).outputs == b"[7]"
    await runtime.close()
    new.sock.close()


async def test_a_worker_that_lives_and_can_not_be_talked_to_is_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model, or a library of its, has written to a file that is not its own: only who reads it can know."""
    monkeypatch.setattr(remote, "TOLD_WITHIN_S", 0.1)
    scribble = """
import os, stat
class M:
    def predict_one(self, row):
        for number in range(3, 64) if row["n"] else ():
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, b"\\xff" * 64)
            except OSError:
                pass
        return os.getpid()
"""
    runtime = await start(scribble)
    first = json.loads((await ask(runtime, {"n": 0})).outputs)
    with pytest.raises(WorkerCrashed):
        await ask(runtime, {"n": 1})
    assert await retried(runtime, {"n": 0}) != first


@pytest.mark.parametrize(("explained", "replaced"), [(True, 0), (False, 1)])
async def test_of_a_worker_that_is_known_to_be_gone_nobody_asks_again(
    monkeypatch: pytest.MonkeyPatch, explained: bool, replaced: int
) -> None:
    monkeypatch.setattr(remote, "TOLD_WITHIN_S", 0.05)
    runtime, host = played()
    worker = Player(runtime)
    await runtime.wait_ready()
    worker.sock.close()
    while runtime.state == "ready":
        await asyncio.sleep(0)
    if explained:
        runtime.died("sha256:0", 1)
    await asyncio.sleep(0.15)
    assert host.replaced == replaced
    await runtime.close()


async def test_a_worker_that_is_withdrawn_answers_what_it_has_and_gets_no_more() -> None:
    runtime, host = played()
    old = Player(runtime)
    await runtime.wait_ready()
    asking = asyncio.create_task(ask(runtime, {"n": 1}))
    await asyncio.sleep(0.01)
    new = Player(runtime, 2)
    await asyncio.sleep(0.01)
    runtime.withdrawn("sha256:0", 1)
    second = asyncio.create_task(ask(runtime, {"n": 2}))
    reply = {"call": 1, "ok": True, "size": 3, "refusals": {}, "printed": ""}
    await new.reply({"calls": [reply | {"call": 2}], "seconds": 0.0}, b"[8]")
    assert (await second).outputs == b"[8]"
    await old.reply({"calls": [reply], "seconds": 0.0}, b"[7]")
    assert (await asking).outputs == b"[7]"
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(old.sock, 10), 5) == b""
    assert (runtime.state, host.replaced) == ("ready", 0)
    await runtime.close()
    old.sock.close()
    new.sock.close()


async def test_where_no_worker_is_to_be_expected_calls_end_at_once() -> None:
    runtime, _ = played()
    worker = Player(runtime)
    await runtime.wait_ready()
    calls = [asyncio.create_task(ask(runtime, {"n": number})) for number in range(3)]
    await asyncio.sleep(0.01)
    runtime.withdrawn("sha256:0", 1)
    runtime.failed("sha256:0", "crashed too often")
    ended = await asyncio.wait_for(asyncio.gather(*calls[1:], return_exceptions=True), 1)
    assert {type(error) for error in ended} == {WorkerUnavailable}
    with pytest.raises(WorkerUnavailable):
        await ask(runtime, {"n": 4})
    worker.sock.close()
    with pytest.raises(WorkerCrashed):
        await asyncio.wait_for(calls[0], 1)
    again = Player(runtime, 2)
    while runtime.state != "ready":
        await asyncio.sleep(0)
    asking = asyncio.create_task(ask(runtime, {"n": 5}))
    await again.reply({"calls": [{"call": 5, "ok": True, "size": 3, "refusals": {}, "printed": ""}]}, b"[5]")
    assert (await asking).outputs == b"[5]"
    await runtime.close()
    again.sock.close()


@pytest.mark.parametrize(("answers", "replaced"), [(True, 0), (False, 1)])
async def test_a_worker_without_calls_is_asked_whether_it_is_there(
    monkeypatch: pytest.MonkeyPatch, answers: bool, replaced: int
) -> None:
    monkeypatch.setattr(remote, "HEARTBEAT_S", 0.03)
    runtime, host = played(hang_after_s=0.05)
    worker = Player(runtime)
    await runtime.wait_ready()
    if answers:
        for _ in range(3):
            await worker.reply({"event": "pong"})
    else:
        await asyncio.sleep(0.2)
    assert host.replaced == replaced
    await runtime.close()
    worker.sock.close()
