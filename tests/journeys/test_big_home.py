"""A home with many models starts as fast as one with few, and takes no more memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cloche.assembly.stores import open_registry
from cloche.home import Home
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, File, Manifest, Provenance
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from serving import PROVE, Server, memory_mb, until

FEW, MANY = 3, 300
START_S = 3.0 if PROVE else 20.0
MORE_MB = 5.0
"""What a gateway may take more for the routings of `MANY` models, in processes that differ by some by themselves."""

WARM = 3
SCHEMA = {
    "type": "object",
    "properties": {f"field_{number}": {"type": "number"} for number in range(12)},
    "required": ["field_0"],
    "additionalProperties": False,
}
ROW = {"field_0": 2.0}


async def publish_all(registry: Registry, models: int, versions: int) -> None:
    """Publish versions that answer with their own name; the last of each model is live."""
    for model in range(models):
        name = f"model-{model:03d}"
        for patch in range(versions):
            added = await registry.add(*bundle(name, f"1.0.{patch}"))
        routing = Routing({f"1.0.{versions - 1}": added.digest}, f"1.0.{versions - 1}", deadline_ms=20_000)
        await registry.releases.write({name: routing}, Reason("me"), after=model)


def bundle(name: str, version: str) -> tuple[Manifest, dict[str, bytes]]:
    code = f"def answer(row):\n    return {name + ' ' + version!r}\n".encode()
    examples = json.dumps([ROW]).encode()
    contents = {"code/answers.py": code, "personal/examples.json": examples}
    files = [File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in contents.items()]
    manifest = Manifest(
        format=MANIFEST_FORMAT,
        name=name,
        version=version,
        flavor="heuristic",
        files=files[:1],
        examples=files[1],
        entry="answers:answer",
        takes="row",
        input_schema=SCHEMA,
        provenance=Provenance("me", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
    )
    return manifest, contents


class Started(NamedTuple):
    """What a server was like when it had settled."""

    seconds: float
    gateway_mb: float
    all_mb: float
    workers: int


def started(server: Server, began: float) -> Started:
    seconds = time.monotonic() - began
    processes = server.processes
    everyone = [pid for pids in processes.values() for pid in pids]
    return Started(seconds, memory_mb(server.gateway), sum(map(memory_mb, everyone)), len(processes["worker"]))


def home_of(folder: Path, models: int, versions: int) -> Path:
    home = folder / f"{models}x{versions}" / ".cloche"
    home.parent.mkdir(parents=True)
    asyncio.run(publish_all(open_registry(Home(home)), models, versions))
    return home


def start(home: Path, **variables: str) -> Started:
    """Start a server twice, since the first writes what the second finds, and return how the second was."""
    for _ in range(2):
        began = time.monotonic()
        with Server(home, **variables) as server:
            found = started(server, began)
    return found


@pytest.mark.alone
def test_a_home_with_many_versions_is_as_one_with_few(
    tmp_path: Path, evidence: Callable[[str, str, str], None]
) -> None:
    few = start(home_of(tmp_path, FEW, 1))
    many = start(home_of(tmp_path, FEW, MANY // FEW))
    assert many.workers == few.workers == FEW
    assert many.seconds < START_S
    assert many.all_mb < few.all_mb + MORE_MB
    said = (
        f"{many.seconds:.1f} s and {many.all_mb:.0f} MB; with {FEW} versions {few.seconds:.1f} s, {few.all_mb:.0f} MB"
    )
    evidence(f"A home with {MANY} published versions of {FEW} models starts", f"{MANY}", said)


@pytest.mark.alone
def test_a_home_with_many_live_models_is_as_one_with_few(
    tmp_path: Path, evidence: Callable[[str, str, str], None]
) -> None:
    variables = {"CLOCHE_WORKERS_WARM": str(WARM)}
    few, home = start(home_of(tmp_path, FEW, 1), **variables), home_of(tmp_path, MANY, 1)
    many = start(home, **variables)
    assert many.workers == few.workers == WARM
    assert many.seconds < START_S
    assert many.all_mb < few.all_mb + MORE_MB
    said = f"{many.seconds:.1f} s and {many.all_mb:.0f} MB; with {FEW} of them {few.seconds:.1f} s, {few.all_mb:.0f} MB"
    evidence(f"A home with {MANY} live models, {WARM} kept warm, starts", f"{MANY}", said)


def output(server: Server, address: str) -> str:
    """Return what a model answers, once it is loaded: on a busy machine that takes longer than a deadline."""

    def asked() -> str | None:
        answer = server.ask("POST", address, {"input": ROW})
        assert answer.status in (200, 503), answer.body
        return answer.json.get("output")

    return until(asked)


def test_any_of_many_models_answers_its_first_call_and_sleeps_again(tmp_path: Path) -> None:
    home = home_of(tmp_path, 30, 2)
    with Server(
        home, CLOCHE_WORKERS_WARM="2", CLOCHE_WORKERS_IDLE_MS="500", CLOCHE_LIMITS_HISTORY_VERSIONS="1"
    ) as server:
        assert "models that are asleep until they are called: 28" in server.health()["notices"]
        listed = {model["name"]: model for model in server.ask("GET", "/models").json["models"]}
        assert len(listed) == 30
        assert listed["model-000"]["versions"][0]["state"] == "asleep"
        assert listed["model-029"]["versions"][0]["state"] == "ready"
        assert "/models/model-000/predict" in server.ask("GET", "/openapi.json").json["paths"]
        for number in (0, 7, 14):
            assert output(server, f"/models/model-{number:03d}/predict") == f"model-{number:03d} 1.0.1"
        assert output(server, "/models/model-003/versions/1.0.0/predict") == "model-003 1.0.0"
        hasty = server.predict("model-020", ROW, Cloche_Deadline_Ms="1")
        assert (hasty.status, hasty.json["code"]) == (503, "version_loading")
        assert int(hasty.headers["retry-after"]) >= 1
        until(lambda: server.predict("model-020", ROW).status == 200)
        until(lambda: len(server.processes["worker"]) <= 4)
        assert server.predict("model-000", ROW).json["output"] == "model-000 1.0.1"
        assert server.ask("GET", "/ready").status == 200
