"""What workers may do to the machine around them, as their host says it, and the folder that each has for itself."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from cloche.settings import Workers


class Confinement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker may do besides computing. By default everything: who starts one says what it is held to."""

    network: bool = True
    """Whether it may make sockets of the network."""
    writable: tuple[str, ...] | None = None
    """Folders that it may write to besides its own; None leaves all of them."""


UNCONFINED = Confinement()


def confinement_of(workers: Workers) -> Confinement:
    """Return what settings say of it."""
    return Confinement(network=workers.network == "allow", writable=tuple(workers.writable))


class Scratch:
    """A worker's own temporary folder, which goes when the worker does."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="cloche-worker-"))

    def variables(self) -> dict[str, str]:
        """Return what tells libraries to leave their temporary files there."""
        return {"TMPDIR": str(self.path), "NUMBA_CACHE_DIR": str(self.path / "numba")}

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def arguments(confinement: Confinement, own: Iterable[Path]) -> list[str]:
    """Return what the worker is told on its command line.

    Args:
        confinement: what it is held to.
        own: the folders that are its own.
    """
    if confinement == UNCONFINED:
        return []
    writable = confinement.writable
    told = {
        "network": confinement.network,
        "writable": None if writable is None else [*map(str, own), *map(_absolute, writable)],
    }
    return ["--confinement", json.dumps(told)]


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().absolute())
