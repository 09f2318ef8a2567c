"""Wheels of small packages, made here, so that environments are built without an index."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloche.assembly.stores import open_registry
from cloche.home import Home
from cloche.registry.bundle import (
    MANIFEST_FORMAT,
    Environment,
    File,
    Manifest,
    Provenance,
    digest_of,
    encode_manifest,
)
from cloche.settings import Settings


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    source: str = "",
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """Write the wheel of a package that is one module, and return its path."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": source or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: toys\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},{_hash(text)},{len(text)}\n" for path, text in files.items())
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


CODE = b"""
import toybox

class Toy:
    def predict_one(self, row):
        return toybox.VERSION
"""


def publish_toy(home: Home, distributions: Mapping[str, str], code: bytes = CODE) -> str:
    """Publish `toy` 1.0.0 as if it had been made with these packages elsewhere; return its digest."""
    python = "{}.{}.0".format(*sys.version_info)
    manifest = Manifest(
        format=MANIFEST_FORMAT,
        name="toy",
        version="1.0.0",
        flavor="python",
        files=[File("code/toy.py", hashlib.sha256(code).hexdigest(), len(code))],
        entry="toy:Toy",
        input_schema={"type": "object"},
        provenance=Provenance("me", 0),
        environment=Environment(python, "cpython", "macosx-14.0-arm64", dict(distributions)),
    )
    asyncio.run(open_registry(home, Settings()).add(manifest, {"code/toy.py": code}))
    return digest_of(encode_manifest(manifest))
