"""Cloche in its forms, and the servers it is measured against that need no environment of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contender import Contender, Launch, Place, free_port
from benchmarks.task import Task
from benchmarks.wires import CLOCHE, ECHO, TUTORIAL
from cloche import apply, optimize, publish

ROOT = Path(__file__).parents[1]
BARE_ECHO, FASTAPI, FASTAPI_ONNX = "bare ASGI echo", "FastAPI tutorial", "FastAPI + ONNX"
OPTIMIZED, OPTIMIZED_ASGI = "Cloche, optimized", "Cloche, optimized, ASGI"
PICKLED, PICKLED_ASGI = "Cloche, pickled", "Cloche, pickled, ASGI"

RANKINGS_DRAWN = 200
"""How many rankings the two forms of a model are compared on; each has 200 items."""
UVICORN = ["--http", "httptools", "--loop", "uvloop", "--lifespan", "off", "--no-access-log", "--log-level", "error"]
_SERVING = ("fastapi", "uvicorn", "httptools", "uvloop")
_MODELS = ("scikit-learn", "xgboost-cpu")


def uvicorn(app: str, place: Place) -> Launch:
    """Start an app of this folder on uvicorn, as Cloche uses it."""
    told = {"BENCH_MODEL": str(place.task.pickle), "BENCH_GRAPH": str(place.task.graph)}
    where = ["--app-dir", str(ROOT), "--port", str(place.port)]
    return Launch([str(place.python), "-m", "uvicorn", app, *where, *UVICORN], told)


def cloche(place: Place, lane: bool = True, mode: str = "disk") -> Launch:
    """Start Cloche on the home in the place's folder."""
    control = free_port()
    ports = ["--port", str(place.port), "--control-port", str(control)]
    home = str(place.folder / "home")
    command = [str(place.python), "-m", "cloche", "--home", home, "serve", *ports, "--log-mode", mode]
    return Launch(command, {"CLOCHE_SERVER_FAST_LANE": str(lane).lower()}, control)


def publish_graph(place: Place) -> None:
    """Publish the model as it is converted for ONNX Runtime by hand."""
    _publish(place.task, place.task.graph.read_bytes(), place.folder / "home")


def publish_pickle(place: Place) -> None:
    """Publish the file that all servers share."""
    _copied(place, "pickled", lambda home: _publish(place.task, place.task.pickle, home))


def publish_optimized(place: Place) -> None:
    """Publish it, and let Cloche make of it what is faster, if anything is."""
    _copied(place, "optimized", lambda home: _optimize(place.task, home))


def _copied(place: Place, form: str, make: Callable[[Path], None]) -> None:
    """Make a home once for all servers of a form, and copy it to the place's."""
    made = place.task.folder / form
    if not made.is_dir():
        make(made)
    shutil.copytree(made, place.folder / "home", symlinks=True)


def _optimize(task: Task, home: Path) -> None:
    _publish(task, task.pickle, home)
    drawn = {"rows": RANKINGS_DRAWN} if task.ranks else {}
    found = optimize("bench", "1.0.0", published_as="1.1.0", home=home, quiet=True, **drawn)
    if found.published is not None:
        apply({"models": {"bench": {"active": ["1.1.0"], "default": "1.1.0"}}}, home=home)


def _publish(task: Task, model: Any, home: Path) -> None:
    named: dict[str, Any] = {"name": "bench", "version": "1.0.0", "home": home, "quiet": True}
    if task.ranks:
        examples = [CLOCHE.body(rows, True)["input"] for rows in task.examples]
        publish(model, **named, examples=examples, each="/items", item_id="item")
    else:
        publish(model, **named, examples=task.examples)


_INLINE = ("cloche[onnx]",)
_WORKER = ("cloche", *_MODELS)

OWN = [
    Contender(BARE_ECHO, ECHO, partial(uvicorn, "benchmarks.echo:app"), needs=("uvicorn", "httptools", "uvloop")),
    Contender(FASTAPI, TUTORIAL, partial(uvicorn, "benchmarks.tutorial:app"), needs=(*_SERVING, *_MODELS)),
    Contender(
        FASTAPI_ONNX,
        TUTORIAL,
        partial(uvicorn, "benchmarks.tutorial_onnx:app"),
        needs=(*_SERVING, "onnxruntime", "numpy"),
    ),
    Contender(OPTIMIZED, CLOCHE, cloche, publish_optimized, needs=_INLINE),
    Contender(OPTIMIZED_ASGI, CLOCHE, partial(cloche, lane=False), publish_optimized, needs=_INLINE),
    Contender(PICKLED, CLOCHE, cloche, publish_pickle, needs=_WORKER),
    Contender(PICKLED_ASGI, CLOCHE, partial(cloche, lane=False), publish_pickle, needs=_WORKER),
]
