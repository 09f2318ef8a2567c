"""What `cloche doctor` finds out about the store of bundles and releases."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cloche.assembly.stores import open_store
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.drivers.folder import FolderObjects
from cloche.errors import ClocheError
from cloche.registry.probe import keeps_what_is_there
from cloche.settings import Settings

PATIENCE_S = 20.0


class Storing(NamedTuple):
    """What was found."""

    where: str
    whole: bool
    """Whether a version is published whole or not at all."""
    why: str


def tried_store(place: Place, settings: Settings) -> Storing:
    """Try whether the store takes an object once, and only once."""
    try:
        store = open_store(place.home, settings)
    except ClocheError as error:
        return Storing(str(error), False, "there is no such store")
    if isinstance(store, FolderObjects):
        links = _has_links(_nearest_folder(Path(store.where)))
        why = "the file system of the registry has hard links" if links else "no hard link can be made for the registry"
        return Storing(store.where, links, why)
    try:
        holds = wait_for(asyncio.wait_for(keeps_what_is_there(store), PATIENCE_S))
    except TimeoutError:
        return Storing(store.where, False, f"it could not be tried: {store.where} does not answer")
    except ClocheError as error:
        return Storing(store.where, False, f"it could not be tried: {error}")
    why = "tried: the store takes no second object" if holds else "tried: the store replaces objects that are there"
    return Storing(store.where, holds, f"{why} under the same key")


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _has_links(folder: Path) -> bool:
    with suppress(OSError), tempfile.TemporaryDirectory(dir=folder, prefix=".cloche-doctor-") as scratch:
        original = Path(scratch, "original")
        original.touch()
        Path(scratch, "link").hardlink_to(original)
        return True
    return False
