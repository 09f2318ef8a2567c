"""How models that take rows are given them: as dicts with what the author's dicts held, or as objects of a class."""

from __future__ import annotations

from pathlib import Path

from cloche.runtimes.worker.fields import row_reader
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.loading import open_entry
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.typed import object_reader
from cloche.runtimes.worker.values import Read


def reading(ask: Ask, folder: Path, manifest: Manifest) -> Ask:
    """Return the function that makes of rows in JSON form what the model takes, where that is rows and more than JSON.

    This may run the author's code: that which defines the class of the rows.
    """
    read = _reader(folder, manifest)
    return ask if read is None else lambda rows, infos: ask([read(row) for row in rows], infos)


def _reader(folder: Path, manifest: Manifest) -> Read | None:
    if manifest.row_type is not None and manifest.takes in ("rows", "row"):
        return object_reader(*open_entry(folder, manifest.row_type))
    return row_reader(manifest.fields) if manifest.fields and manifest.takes in ("rows", "row", "keywords") else None
