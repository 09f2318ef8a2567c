"""Two forms of one model: each call goes to the one that is faster for its rows, and never to one that is not there."""

import asyncio

import pytest

from cloche.errors import WorkerUnavailable
from cloche.registry.bundle import Each
from cloche.registry.optimized import Agreement, Optimized, Spread, Timed
from cloche.runtimes.optimized import OptimizedRuntime
from cloche.values import Ask, CallContext, Prediction


def optimized(*table, **fields):
    """Return what a manifest says; `table` has pairs of rows and the form that answers so many."""
    spread = Spread(1.0, 1.0, 1.0)
    lines = [Timed(rows, spread, spread, faster) for rows, faster in table]
    return Optimized("onnx", "files/model.onnx", "onnx-double", lines, Agreement(1, 0, 0, 1e-5, 0.0), **fields)


TURNS = optimized((1, "converted"), (64, "original"), (1024, "converted"))


class Named:
    """A runtime that answers its name."""

    busy, waiting = True, 3

    def __init__(self, name, state="ready"):
        self.name = name
        self.state = state
        self.ready = asyncio.Event()

    async def wait_ready(self):
        await self.ready.wait()

    async def predict(self, ask, deadline):
        if self.state != "ready":
            raise WorkerUnavailable(model="m", version="1")
        return Prediction(f'["{self.name}"]'.encode())

    async def close(self):
        self.state = "closed"


def asked(rows, payload=b"[]"):
    return Ask(payload, rows, True, CallContext("id", 0), 1000)


@pytest.mark.parametrize(
    ("rows", "faster"),
    [
        (1, "converted"),
        (63, "converted"),
        (64, "original"),
        (1023, "original"),
        (1024, "converted"),
        (10**6, "converted"),
    ],
)
async def test_a_call_goes_to_the_faster_form(rows, faster):
    runtime = OptimizedRuntime(TURNS, Named("converted"), Named("original"), None)
    assert (await runtime.predict(asked(rows), 0.0)).outputs == f'["{faster}"]'.encode()


def test_fewer_rows_than_were_measured_fall_under_the_first_line():
    assert optimized((8, "original"), (64, "converted")).faster_at(1) == "original"


async def test_of_a_ranking_the_items_count():
    runtime = OptimizedRuntime(TURNS, Named("converted"), Named("original"), Each("/items", "id"))
    for items, faster in ((2, b'["converted"]'), (64, b'["original"]')):
        payload = b'[{"age":3,"items":[' + b",".join([b'{"id":1}'] * items) + b"]}]"
        assert (await runtime.predict(asked(1, payload), 0.0)).outputs == faster


async def test_it_is_ready_once_both_are_and_a_worker_that_is_away_is_done_without():
    original = Named("original", "starting")
    runtime = OptimizedRuntime(TURNS, Named("converted"), original, None)
    waiting = asyncio.create_task(runtime.wait_ready())
    await asyncio.sleep(0)
    assert (runtime.state, waiting.done()) == ("starting", False)
    original.state = "ready"
    runtime._converted.ready.set()
    original.ready.set()
    await waiting
    assert runtime.state == "ready"
    assert (runtime.busy, runtime.waiting) == (True, 3)
    original.state = "starting"  # its worker died
    assert runtime.state == "ready"
    assert (await runtime.predict(asked(64), 0.0)).outputs == b'["converted"]'
    await runtime.close()
    assert (original.state, runtime.state) == ("closed", "closed")
