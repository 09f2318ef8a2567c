"""Publishers at once, and publishers killed: a version is there whole or not at all."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from cloche.drivers import open_objects
from cloche.registry.catalog import Registry

PROVE = os.environ.get("CLOCHE_PROVE") == "1"

PUBLISHER = textwrap.dedent(
    """
    import asyncio, hashlib, json, sys
    from pathlib import Path
    from cloche.drivers import open_objects
    from cloche.errors import VersionExists
    from cloche.registry.bundle import Environment, File, Manifest, Provenance
    from cloche.registry.catalog import Registry
    from cloche.registry.release import Reason
    from cloche.registry.routing import start_if_first

    folder, content, wait = sys.argv[1:]
    contents = {"files/model.pkl": content.encode() * 50_000, "code/shop.py": b"same for all " * 1000}
    files = [File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in contents.items()]
    manifest = Manifest(
        format=1, name="raced", version="1.0.0", flavor="python", files=files, entry="files/model.pkl",
        input_schema={}, provenance=Provenance(author=content, created_us=int(content, 36)),
        environment=Environment("3.11", "cpython", "linux", {}),
    )

    async def publish():
        registry = Registry(open_objects(Path(folder, "registry").as_uri()), Path(folder, "cache"))
        try:
            added = await registry.add(manifest, contents)
        except VersionExists as error:
            return {"outcome": "exists", "free": error.details["free"]}
        release = await start_if_first(registry, "raced", "1.0.0", Reason(author=content))
        return {"outcome": "new" if added.is_new else "same", "digest": added.digest, "live": release is not None}

    print("ready", flush=True)
    if wait == "wait":
        sys.stdin.readline()
    print(json.dumps(asyncio.run(publish())), flush=True)
    """
)


def start(folder, content, wait="wait"):
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(folder), content, wait],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def race(folder, contents):
    publishers = [start(folder, content) for content in contents]
    for publisher in publishers:
        assert publisher.stdout.readline() == "ready\n"
    for publisher in publishers:
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
    outcomes = [json.loads(publisher.communicate(timeout=120)[0]) for publisher in publishers]
    assert [publisher.returncode for publisher in publishers] == [0] * len(publishers)
    return outcomes


def time_of_one(folder):
    """Return the seconds from the word go to the answer."""
    publisher = start(folder, "unharmed")
    publisher.stdout.readline()
    began = time.perf_counter()
    publisher.stdin.write("go\n")
    publisher.stdin.flush()
    publisher.stdout.readline()
    taken = time.perf_counter() - began
    publisher.communicate()
    return taken


def reopen(folder):
    return Registry(open_objects((folder / "registry").as_uri()), folder / "cache")


async def whole(registry, name="raced", version="1.0.0"):
    manifest, digest = await registry.manifest(name, version)
    copy = await registry.fetch(name, version, digest)
    for file in manifest.files:
        assert hashlib.sha256((copy / file.path).read_bytes()).hexdigest() == file.sha256
    return digest


@pytest.mark.timeout(300)
async def test_of_publishers_with_different_content_one_wins(tmp_path, evidence):
    count = 50 if PROVE else 10
    outcomes = race(tmp_path, [f"a{number}" for number in range(count)])
    assert sorted(found["outcome"] for found in outcomes) == ["exists"] * (count - 1) + ["new"]
    assert {found["free"] for found in outcomes if found["outcome"] == "exists"} == {"1.0.1"}
    (winner,) = (found for found in outcomes if found["outcome"] == "new")
    assert winner["digest"] == await whole(reopen(tmp_path))
    claim = "of publishers of one version at the same moment one wins, and the others get a clear error"
    evidence(claim, f"{count} publishers", "1 won, all others were told the next free version")


@pytest.mark.timeout(300)
async def test_of_publishers_with_the_same_content_all_succeed(tmp_path):
    count = 50 if PROVE else 10
    outcomes = race(tmp_path, ["same"] * count)
    assert sorted(found["outcome"] for found in outcomes) == ["new"] + ["same"] * (count - 1)
    assert {found["digest"] for found in outcomes} == {await whole(reopen(tmp_path))}
    assert [found["live"] for found in outcomes].count(True) == 1
    assert await reopen(tmp_path).releases.latest() == 1


@pytest.mark.timeout(600)
async def test_a_publisher_killed_at_any_moment_leaves_nothing_half_visible(tmp_path, evidence):
    steps = 60 if PROVE else 8
    takes_s = time_of_one(tmp_path / "unharmed")
    seen = set()
    for step in range(steps):
        folder = tmp_path / str(step)
        publisher = start(folder, "killed")
        assert publisher.stdout.readline() == "ready\n"
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
        await asyncio.sleep(takes_s * step / steps)
        publisher.send_signal(signal.SIGKILL)
        publisher.communicate()
        registry = reopen(folder)
        if versions := await registry.versions("raced"):
            assert versions == ["1.0.0"]
            await whole(registry)
        assert set((await registry.releases.live()).models) <= set(versions and ["raced"])
        seen.add(len(versions))
        (after,) = race(folder, ["after"] if not versions else ["killed"])
        assert after["outcome"] == ("same" if versions else "new")
        assert await whole(reopen(folder)) == after["digest"]
        assert set((await reopen(folder).releases.live()).models) == {"raced"}
    if PROVE:
        assert seen == {0, 1}, "the sweep passes the commit point"
    evidence("a publisher killed at any moment leaves nothing half visible", f"{steps} kills", "0 half visible")


@pytest.mark.parametrize("call", ["write", "fsync", "link", "unlink"])
async def test_a_publisher_killed_at_each_system_call(tmp_path, call):
    """The same, to the point: strace kills it at the n-th call of a kind."""
    strace = "/usr/bin/strace"
    if not os.path.exists(strace):
        pytest.skip("needs strace")
    for nth in range(1, 9 if PROVE else 4):
        folder = tmp_path / f"{call}-{nth}"
        command = [strace, "-f", "-qq", "-o", os.devnull, "-e", f"inject={call}:signal=SIGKILL:when={nth}"]
        publisher = subprocess.run(
            [*command, sys.executable, "-c", PUBLISHER, str(folder), "killed", "go"], capture_output=True, text=True
        )
        registry = reopen(folder)
        versions = await registry.versions("raced")
        if versions:
            await whole(registry)
        (after,) = race(folder, ["after"] if not versions else ["killed"])
        assert after["outcome"] == ("same" if versions else "new"), publisher.stderr
        assert await whole(reopen(folder)) == after["digest"]


async def test_a_full_disk_leaves_nothing_half_visible(tmp_path):
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n{PUBLISHER}"
    done = subprocess.run([sys.executable, "-c", limited, str(tmp_path), "full", "go"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert await reopen(tmp_path).models() == []
    assert list((tmp_path / "registry").rglob("*#*")) == []
    (after,) = race(tmp_path, ["full"])
    assert after["outcome"] == "new"


NOTEBOOK = """
import os, sys
from cloche import publish
print("ready", flush=True)
publish(lambda row: row["x"] * 2, name="raced", version="1.0.0", examples=[{"x": 1}], quiet=True, home=sys.argv[1])
print("done", flush=True)
"""


@pytest.mark.timeout(900)
async def test_a_notebook_killed_at_any_moment_can_publish_again(tmp_path):
    steps = 40 if PROVE else 4
    command = [sys.executable, "-c", NOTEBOOK]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = os.environ | {"TMPDIR": str(temporary)}
    for step in range(steps):
        folder = tmp_path / str(step)
        author = subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, text=True, env=environ)
        assert author.stdout.readline() == "ready\n"
        await asyncio.sleep(1.2 * step / steps)
        author.kill()
        author.communicate()
        registry = reopen(folder)
        if versions := await registry.versions("raced"):
            await whole(registry)
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        assert await registry.versions("raced") == ["1.0.0"]
        assert not versions or versions == ["1.0.0"]
        assert (await registry.releases.live()).models["raced"].default == "1.0.0"
        await whole(registry)
    subprocess.run([*command, str(folder)], check=True, capture_output=True, env=environ)
    assert list(temporary.glob("cloche-trial-*")) == []
