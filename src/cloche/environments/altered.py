"""Whether what was installed is what its wheels hold: each lists its files with their digests."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_COMPILED = ".pyc"
"""What some wheels bring along, and every environment makes again for itself."""


def altered(environment: Path) -> list[str]:
    """Return the packages of an environment of which a file is missing or another than in the wheel, sorted."""
    sites = [str(site) for site in environment.glob("lib*/python*/site-packages")]
    found = {each.name for each in metadata.distributions(path=sites) if any(_altered_files(each))}
    return sorted(found)


def _altered_files(distribution: metadata.Distribution) -> Iterator[str]:
    """Yield the files of a package that are gone, or others. `files` of newer Pythons leaves out what is gone."""
    for name, digest, _ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        algorithm, _, expected = digest.partition("=")
        if algorithm not in hashlib.algorithms_guaranteed or name.endswith(_COMPILED):
            continue
        try:
            data = Path(str(distribution.locate_file(name))).read_bytes()
        except OSError:
            yield name
            continue
        found = hashlib.new(algorithm, data, usedforsecurity=False).digest()
        if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != expected.rstrip("="):
            yield name
