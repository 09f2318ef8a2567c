"""Commands in processes of their own, and homes with something in them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from cloche.assembly.stores import open_registry
from cloche.drivers.sqlite import SqliteSink
from cloche.home import Home
from cloche.log.spool import open_spool
from cloche.ports import Mark, Position
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, File, Manifest, Provenance
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first

CLOCHE = [sys.executable, "-m", "cloche"]

DELAYS = '''
import pathlib
import time

def expected(row):
    """A model that can fail, dawdle, and say that it is being asked."""
    if row["carrier"].startswith("/"):
        pathlib.Path(row["carrier"]).touch()
        time.sleep(2)
    if row["carrier"] == "ZZ":
        print("looking at", row["carrier"])
        raise ValueError("nobody knows the carrier ZZ")
    if row["carrier"] == "SLOW":
        time.sleep(0.5)
    return 12.5 if row["carrier"] == "UA" else 7.0

def later(row):
    return expected(row) + 1
'''

ROWS = [{"carrier": "UA", "distance": 1400}, {"carrier": "AA", "distance": None}]


def put_version(home, name, version, **fields):
    """Put a version into the registry that nobody will load; the first one is live."""
    data = b"not really a pickle"
    manifest = Manifest(
        format=MANIFEST_FORMAT,
        name=name,
        version=version,
        flavor="python",
        files=[File("files/model.pkl", hashlib.sha256(data).hexdigest(), len(data))],
        entry="files/model.pkl",
        input_schema=fields.pop("input_schema", {"type": "object"}),
        provenance=Provenance(author="ada", created_us=1_700_000_000_000_000),
        environment=Environment("3.11.7", "cpython", "linux", {"scikit-learn": "1.9.1"}),
        **fields,
    )

    async def put():
        registry = open_registry(home)
        await registry.add(manifest, {"files/model.pkl": data})
        await start_if_first(registry, name, version, Reason("ada"))

    asyncio.run(put())


def fill_log(home, records):
    """Put records into the log as a keeper would."""

    async def fill():
        sink = SqliteSink(home.log)
        await sink.write(records, Mark("spool", Position()))
        await sink.close()

    asyncio.run(fill())


def leave_in_spool(home, records):
    """Leave records as a gateway does that dies before a keeper has shipped them."""

    async def leave():
        spool = open_spool(home.spool)
        for record in records:
            await spool.append(msgspec.msgpack.encode(record))
        await spool.close()

    asyncio.run(leave())


class Served:
    """A home with a server that runs, and commands in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / ".cloche")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("CLOCHE_")}
        self.environ["CLOCHE_WORKERS_WRITABLE"] = str(folder)  # a model that is asked leaves a file there
        self.environ["CLOCHE_WORKERS_ENVIRONMENTS"] = "host"  # manifests here name packages that no model uses

    def run(self, *arguments, stdin=None, status=0):
        done = subprocess.run(
            [*CLOCHE, *map(str, arguments)],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    @contextlib.contextmanager
    def start(self, *options):
        """Start a server, and see to it that it has ended afterwards."""
        command = [*CLOCHE, "serve", "--port", "0", "--control-port", "0", *options]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=self.folder, env=self.environ, text=True, **streams) as server:
            try:
                yield server
            finally:
                if server.poll() is None:  # a test has failed: killed, it would leave its gateway and keeper behind
                    server.terminate()
                    server.communicate(timeout=60)

    def wait_ready(self, models):
        """Wait until the server answers for so many models."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                url = json.loads((self.home.run / "server.json").read_bytes())["url"]
                with urllib.request.urlopen(f"{url}/models", timeout=5) as answer:
                    if len(json.load(answer)["models"]) == models:
                        return
            except (OSError, ValueError, urllib.error.URLError):
                pass
            time.sleep(0.05)
        raise AssertionError("the server did not get ready")

    def publish(self, version="1.0.0", target="delays:expected", *options, examples="rows.json", status=0):
        """Publish a version of the model `delays`."""
        names = ("--name", "delays", "--version", version, "--examples", examples)
        return self.run("models", "publish", target, *names, *options, status=status)


def make_served(folder):
    (folder / ".cloche").mkdir()
    (folder / "delays.py").write_text(DELAYS)
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return Served(folder)
