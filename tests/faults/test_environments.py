"""Builders of environments that are killed, that race, and whose disk is full: never half an environment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import PROVE, Server, children, command_of, until
from toy_wheels import make_wheel

KILLS = 40 if PROVE else 3
RACERS = 6
TO_BUILD_S = 1.0
"""About how long a build takes here."""

BUILDER = """
import asyncio, platform, sys
from pathlib import Path
from cloche.drivers import open_objects
from cloche.environments.interpreters import Interpreters
from cloche.environments.shelf import Shelf
from cloche.errors import EnvironmentNotBuilt
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.registry.catalog import Registry

folder, stop_at = Path(sys.argv[1]), sys.argv[2]
made_with = Environment(platform.python_version(), "cpython", "linux", {"toybox": "1.0"})
manifest = Manifest(
    format=1, name="toy", version="1.0.0", flavor="python", files=[], entry="toy:Toy", input_schema={},
    provenance=Provenance("me", 0), environment=made_with,
)

def tell(step):
    print(step, flush=True)
    if stop_at and stop_at in step:
        sys.stdin.readline()

shelf = Shelf(folder / "environments")
registry = Registry(open_objects((folder / "registry").as_uri()), folder / "cache")
try:
    print("built", asyncio.run(Interpreters(shelf, registry).of(manifest, tell)))
except EnvironmentNotBuilt as error:
    print("not built", error.details["said"])
"""

PUBLISHED = """
import asyncio, hashlib, platform, sys
from pathlib import Path
from cloche.assembly.stores import open_registry
from cloche.home import Home
from cloche.registry.bundle import Environment, File, Manifest, Provenance
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first

async def publish(name, distributions):
    code = b"class Toy:\\n    def predict_one(self, row): return 1"
    manifest = Manifest(
        format=1, name=name, version="1.0.0", flavor="python", entry="toy:Toy", input_schema={"type": "object"},
        files=[File("code/toy.py", hashlib.sha256(code).hexdigest(), len(code))], provenance=Provenance("me", 0),
        environment=Environment(platform.python_version(), "cpython", "linux", distributions),
    )
    registry = open_registry(Home(Path(sys.argv[1])))
    await registry.add(manifest, {"code/toy.py": code})
    await start_if_first(registry, name, "1.0.0", Reason("me"))

asyncio.run(publish("plain", {}))
asyncio.run(publish("toy", {"toybox": "1.0"}))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a builder; it waits at the step that is named, with all that it has begun."""
    index = tmp_path / "index"
    make_wheel(index, "toybox", "1.0", f"VERSION = '1.0'\nPAYLOAD = '{'x' * 1_000_000}'\n")
    (tmp_path / "nothing").mkdir()
    environ = {**os.environ, "UV_FIND_LINKS": str(index), "UV_DEFAULT_INDEX": (tmp_path / "nothing").as_uri()}
    environ["UV_CACHE_DIR"] = str(tmp_path / "uv")
    begun: list[subprocess.Popen[str]] = []

    def starts(stop_at: str = "", folder: Path = tmp_path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-c", BUILDER, str(folder), stop_at]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(subprocess.Popen(command, text=True, env=environ, **pipes))
        return begun[-1]

    yield starts
    for process in begun:
        process.kill()
        process.communicate()


def built(process: subprocess.Popen[str]) -> Path:
    """Wait for a builder that must succeed; return the interpreter, which must have the package."""
    out, err = process.communicate(timeout=120)
    said, _, python = out.splitlines()[-1].partition(" ")
    assert said == "built", out + err
    check = "import toybox; assert toybox.VERSION == '1.0' and len(toybox.PAYLOAD) == 1_000_000"
    assert subprocess.run([python, "-c", check], capture_output=True, cwd="/").returncode == 0
    return Path(python)


def environments(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "environments").glob("*/") if not path.name.startswith("."))


@pytest.mark.parametrize("step", ["(1 package)", "Resolved", "Installed", "compiling"])
def test_a_builder_that_is_killed_leaves_no_environment(tmp_path: Path, start: Start, step: str) -> None:
    killed = start(step)
    assert killed.stdout
    next(line for line in killed.stdout if step in line)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert environments(tmp_path) == []
    python = built(start())
    assert environments(tmp_path) == [python.parts[-3]]
    assert not list((tmp_path / "environments").glob(".new-*")), "what it left is still there"


@pytest.mark.timeout(600)
def test_a_builder_that_is_killed_at_any_moment_leaves_all_or_nothing(tmp_path: Path, start: Start, evidence) -> None:
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    whole = 0
    for _ in range(KILLS):
        shutil.rmtree(tmp_path / "environments", ignore_errors=True)
        builder = start()
        try:
            builder.wait(moments.uniform(0.2, TO_BUILD_S * 1.5))
        except subprocess.TimeoutExpired:
            builder.send_signal(signal.SIGKILL)
            builder.wait(30)
        whole += len(environments(tmp_path))
        built(start())
    evidence("kill -9 while an environment is built: it is whole or not there", f"{KILLS} kills", f"{whole} were whole")


def test_builders_that_race_build_it_once(tmp_path: Path, start: Start) -> None:
    first = start("compiling")
    assert first.stdout
    next(line for line in first.stdout if "compiling" in line)
    others = [start() for _ in range(RACERS)]
    for other in others:
        assert other.stdout
        assert "another process is at it" in other.stdout.readline()
    assert environments(tmp_path) == []
    pythons = {built(racer) for racer in (first, *others)}
    assert len(pythons) == 1


@pytest.mark.parametrize("kilobytes", [4, 40, 400, 900])
def test_on_a_full_disk_there_is_none(tmp_path: Path, start: Start, kilobytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    lists = f"ls -A {disk}/environments | grep -v making | grep -v using"
    mounts = f'mount -t tmpfs -o size={kilobytes}k none {disk} && "$@"; {lists}; true'
    if subprocess.run(["unshare", "-m", "sh", "-c", f"mount -t tmpfs none {disk}"], capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here: it takes root")
    out, err = start("", disk, ("unshare", "-m", "sh", "-c", mounts, "sh")).communicate(timeout=120)
    said = out.splitlines()
    assert any(line.startswith("not built") for line in said), out + err
    assert "No space left" in out
    assert not [line for line in said if line.startswith(".new-")], "a draft is left on a full disk"
    assert not [line for line in said if len(line) == 32]


def test_a_server_with_an_index_that_hangs_answers_and_stops(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    subprocess.run([sys.executable, "-c", PUBLISHED, str(home)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        with Stuck(home, UV_DEFAULT_INDEX=index, UV_CACHE_DIR=str(tmp_path / "uv")) as server:
            asking, _ = silent.accept()
            assert server.predict("plain", {}).json["output"] == 1
            assert server.predict("toy", {}).json["code"] == "model_loading"
            doing = "building the environment of toy 1.0.0 (1 package)"
            assert until(lambda: [line for line in server.health()["waiting_for"] if doing in line])
            builders = [pid for pid in children(server.gateway) if any("uv" in word for word in command_of(pid))]
            assert builders
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 10, "it waited for the build"
        asking.close()
    assert not [pid for pid in builders if command_of(pid)], "uv goes on"
    assert not list((home / "environments").glob("*/"))


class Stuck(Server):
    """A server of which one model never gets ready."""

    def _settled(self) -> bool:
        return bool(self.health()["waiting_for"])
