"""What can't be pickled is named by its path, with what to do about it."""

import ctypes
import queue
import socket
import sqlite3
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from cloche.authoring.pickling import Pickles, pickled
from cloche.errors import NotPublishable


def reason(value, what="model"):
    with pytest.raises(NotPublishable) as caught:
        pickled(value, what, Pickles())
    return str(caught.value)


class Holder:
    def __init__(self, **parts):
        self.__dict__.update(parts)


class Step(BaseEstimator):
    def __init__(self, cache=None):
        self.cache = cache


@pytest.fixture
def connection():
    with socket.socket() as connection:
        yield connection


def numbers():
    yield 1


def gpu_stream():
    """A handle as the libraries of GPUs have them, without a GPU."""

    def refuse(self, _):
        raise TypeError("no default __reduce__ due to non-trivial __cinit__")

    return type("Stream", (), {"__module__": "cupy.cuda.stream", "__reduce_ex__": refuse})()


@pytest.mark.parametrize(
    ("make", "what", "advice"),
    [
        (lambda: open(__file__), "an open file", "files={'name': Path(…)}"),  # noqa: SIM115
        (lambda: open(__file__, "rb"), "an open file", "open bundle.path('name') in the load()"),  # noqa: SIM115
        (tempfile.NamedTemporaryFile, "an open file", "files="),
        (socket.socket, "an open connection", "connect in the load()"),
        (lambda: sqlite3.connect(":memory:"), "a connection to a database", "keep that"),
        (threading.Lock, "a lock", "leave it out of the state in __getstate__"),
        (threading.Condition, "a lock", "make it in the load()"),
        (queue.Queue, "a lock", "make it in the load()"),
        (numbers, "a generator", "keep a list of what it yields"),
        (lambda: threading.Thread(target=print), "work under way", "start it in the load()"),
        (lambda: ThreadPoolExecutor(1), "work under way", "start it in the load()"),
        (lambda: ctypes.pointer(ctypes.c_int(3)), "a pointer into the memory of this process", "make it in the load()"),
        (lambda: ctypes.CDLL(None), "a pointer into the memory of this process", "make it in the load()"),
        (gpu_stream, "a handle of the GPU", "move the data to the CPU"),
        (sys._getframe, "a frame", "keep its text"),
    ],
)
def test_what_lives_in_one_process_is_named_with_what_to_do(make, what, advice):
    thing = make()
    try:
        said = reason(Holder(parts={"a": [1, thing]}))
    finally:
        getattr(thing, "close", lambda: None)()
    assert f"model.parts['a'][1] is {what}" in said
    assert advice in said


def test_a_step_of_a_pipeline():
    pipeline = Pipeline([("scale", Step()), ("cached", Step(threading.Lock()))])
    assert "model of type Pipeline: model.steps[1][1].cache is a lock (_thread.lock)" in reason(pipeline)


def test_the_variables_of_a_function(connection):
    def over(row, _way=[connection]):  # noqa: B006
        return row

    assert "model: the variable connection is an open connection" in reason(lambda row: connection.recv(2 * row))
    assert "model: its defaults[0][0] is an open connection" in reason(over)
    assert "model.func: the variable connection is" in reason(partial(lambda row: connection, row=1))
    assert "model.rule: the variable connection is" in reason(Holder(rule=lambda row: lambda: connection))


def test_what_a_class_holds(connection):
    class Shared:
        lines = connection

        def predict(self, rows):
            return rows

    class Using:
        def predict(self, rows):
            return connection.recv(rows)

    for model in (Shared, Shared()):
        assert "model of type Shared: model.lines is an open connection" in reason(model)
    assert "model.predict: the variable connection is" in reason(Using())
    assert "model of type method: model: the variable connection is" in reason(Using().predict)


def test_what_getstate_leaves_out_is_not_blamed():
    lock = threading.Lock()

    class Careful:
        def __init__(self):
            self.lock, self.inner = lock, [lock]

        def __getstate__(self):
            return {"kept": self.inner}

    assert "model.kept[0] is a lock" in reason(Careful())


def test_a_file_of_a_version_is_called_as_its_author_does(connection):
    said = reason({"x": connection}, "file 'a.bin'")
    assert "a file 'a.bin' of type dict: files['a.bin']['x'] is an open connection" in said


def test_what_nobody_knows_is_named_with_what_it_says():
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("not me")

    said = reason({"a": (Stubborn(),)})
    assert "model['a'][0] of type " in said
    assert "Stubborn can't be pickled (RuntimeError: not me); make it in the load()" in said


def test_what_can_not_be_looked_into_does_not_hide_the_rest():
    class Shy(dict):
        def items(self):
            raise RuntimeError("no")

        def __reduce__(self):
            return dict, ()

    assert "model[1]['x'] is a lock" in reason([Shy(), {"x": threading.Lock()}])
    assert "model[0][1] is a lock" in reason([np.array([1, threading.Lock()], dtype=object)])


def test_what_was_made_while_it_was_pickled_has_no_path():
    class Fleeting:
        def __reduce__(self):
            return (print, (threading.Lock(),))

    assert "something in model is a lock" in reason([Fleeting()])


def test_nesting_without_end():
    deep = []
    for _ in range(20_000):
        deep = [deep]
    assert "it is nested too deeply" in reason(deep)


def test_what_a_process_has_anyway_can_be_pickled():
    pickled([sys.stdout, sys.stderr, print, Holder], "model", Pickles())
