from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloche.drivers.folder import FolderObjects
from cloche.environments.interpreters import Interpreters, Policy
from cloche.environments.shelf import Shelf
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, File, Manifest, Provenance
from cloche.registry.catalog import Registry


class Host:
    """A host with a registry, a shelf, and an index that is a folder of wheels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.index.mkdir()
        self.store = FolderObjects(folder / "registry")
        self.registry = Registry(self.store, folder / "cache")
        self.shelves: list[Shelf] = []
        self.told: list[str] = []
        self._versions = 0

    @property
    def environments(self) -> Path:
        return self.folder / "environments"

    @property
    def built(self) -> set[str]:
        """The names of the environments, and of what is half of one."""
        found = self.environments.iterdir() if self.environments.exists() else ()
        return {path.name for path in found if path.is_dir()}

    def interpreters(self, policy: Policy = "build") -> Interpreters:
        """Make what a process of this host has."""
        self.shelves.append(Shelf(self.environments))
        return Interpreters(self.shelves[-1], self.registry, policy)

    async def python(self, manifest: Manifest) -> Path:
        """Return the interpreter of a version, as a process finds it that has not looked for it before."""
        return Path(await self.interpreters().of(manifest, self.told.append))

    async def publish(self, wheels: tuple[Path, ...] = (), **environment: Any) -> Manifest:
        """Publish a version that was made with this, and that keeps these wheels."""
        contents = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels}
        contents["code/toy.py"] = b"import toybox"
        files = {path: File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in contents.items()}
        made = {"python": platform.python_version(), "implementation": sys.implementation.name}
        made |= {"platform": sysconfig.get_platform(), "distributions": {"toybox": "1.0"}} | environment
        self._versions += 1
        manifest = Manifest(
            format=MANIFEST_FORMAT,
            name="toy",
            version=f"{self._versions}.0.0",
            flavor="python",
            files=[files.pop("code/toy.py")],
            entry="toy:Toy",
            input_schema={},
            provenance=Provenance("me", 0),
            environment=Environment(**made),
            vendored=list(files.values()),
        )
        await self.registry.add(manifest, contents)
        return manifest


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "nothing").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(made.index))
    yield made
    for shelf in made.shelves:
        shelf.close()


@pytest.fixture
def no_index(host: Host) -> Callable[[], None]:
    """Return what takes the index away."""
    return lambda: shutil.rmtree(host.index)
