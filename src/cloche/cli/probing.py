"""What a model could do on this machine, found out with a worker that tries it."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cloche.errors import ClocheError
from cloche.registry.bundle import MANIFEST_FORMAT, Manifest, Provenance, encode_manifest
from cloche.registry.cache import write_bundle
from cloche.registry.catalog import NOWHERE
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.probe import DONE
from cloche.settings import Workers
from cloche.values import NO_INFERENCE, CallContext

_VARIABLE = "CLOCHE_PROBE_SECRET"
_WITHIN_S = 20.0
_PROBE = Manifest(
    format=MANIFEST_FORMAT,
    name="probe",
    version="0.0.0",
    flavor="heuristic",
    files=[],
    entry="cloche.runtimes.worker.probe:attempt",
    input_schema={},
    provenance=Provenance(author="", created_us=0),
    environment=NOWHERE,
    takes="row",
)


class Attempt(msgspec.Struct, frozen=True):
    """Something that a model tries."""

    what: str
    stopped: bool
    found: str
    """What came of it."""


def probe(workers: Workers) -> list[Attempt]:
    """Start a worker as servers with these settings do, and have it try.

    Raises:
        ClocheError, OSError: no worker can be started here.
    """
    with tempfile.TemporaryDirectory(prefix="cloche-doctor-") as scratch, _listening() as port, _secret():
        bundle, outside = Path(scratch, "bundle"), Path(scratch, "outside")
        write_bundle(bundle, encode_manifest(_PROBE), {})
        outside.mkdir()
        (outside / "note").write_text("as it was", encoding="utf-8")
        row = {"variable": _VARIABLE, "folder": str(outside), "port": port}
        with (
            _door(outside / "door"),
            WorkerProcess.start(bundle, confinement=confinement_of(workers)) as worker,
        ):
            worker.wait_loaded(_WITHIN_S)
            context = CallContext(id=NO_INFERENCE, now_us=0)
            answer = worker.predict(msgspec.json.encode([row]), 1, False, context, _WITHIN_S)
    found: dict[str, str] = msgspec.json.decode(answer.outputs)[0]
    return [Attempt(what, came != DONE, came) for what, came in found.items()]


def probed(workers: Workers) -> tuple[list[Attempt], str | None]:
    """Return what a worker found, or why none could be asked."""
    try:
        return probe(workers), None
    except (ClocheError, OSError) as error:
        return [], str(error)


@contextmanager
def _listening() -> Iterator[int]:
    """Listen on one port of this host by TCP and UDP."""
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        stream.bind(("127.0.0.1", 0))
        stream.listen(1)
        port: int = stream.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        yield port


@contextmanager
def _door(path: Path) -> Iterator[None]:
    """Listen on a Unix socket, as databases and container engines do."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen(1)
        yield


@contextmanager
def _secret() -> Iterator[None]:
    """Have a secret in the environment of this process."""
    os.environ[_VARIABLE] = secrets.token_hex()
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
