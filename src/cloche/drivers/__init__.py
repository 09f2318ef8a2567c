"""Who keeps the promises of `cloche.ports`: one technology, one file.

The table says, for each URL scheme, which class keeps the promise and what to install for it. A driver is imported
when a URL first asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from cloche.errors import InvalidSetting, MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.ports import ObjectStore, Signing


@dataclass(frozen=True)
class Driver:
    """A class that keeps a promise: where it is, and what it needs."""

    module: str
    name: str
    needs: str | None = None
    """The import that may be missing."""
    requirement: str = ""
    """What to give to `pip install` then."""
    parts: tuple[str, ...] = ()
    """Imports that come with it, where they may be missing, too."""

    def load(self, what: str) -> type:
        """Import the class.

        Raises:
            MissingExtra: what it needs is not installed.
        """
        try:
            found: type = getattr(import_module(self.module), self.name)
        except ModuleNotFoundError as error:
            if self.needs is None or error.name not in (self.needs, *self.parts):
                raise
            raise MissingExtra(what=what, module=error.name, requirement=self.requirement) from None
        return found


_FOLDER = Driver("cloche.drivers.folder", "FolderObjects")
_OBSTORE = Driver("cloche.drivers.objects", "ObstoreObjects", needs="obstore", requirement="obstore")

OBJECT_STORES: Mapping[str, Driver] = {
    "file": _FOLDER,
    "memory": _OBSTORE,
    "s3": _OBSTORE,
    "gs": _OBSTORE,
    "az": _OBSTORE,
}


def open_objects(url: str) -> ObjectStore:
    """Return the object store at `url`: `file:///folder`, `s3://bucket/prefix`, `memory:///`, …

    Raises:
        InvalidSetting: no driver is known for the URL, or it can't be used.
        MissingExtra: what the driver needs is not installed.
    """
    scheme = urlsplit(url).scheme
    driver = OBJECT_STORES.get(scheme)
    if driver is None:
        known = ", ".join(f"{name}://" for name in OBJECT_STORES)
        raise InvalidSetting(name="registry", source="its URL", reason=f"{scheme or url!r} is not one of {known}")
    return cast("ObjectStore", driver.load(f"{scheme}://").from_url(url))  # type: ignore[attr-defined]


_SIGNING = Driver(
    "cloche.drivers.openssf",
    "OpenssfSigning",
    needs="model_signing",
    requirement="cloche[signing]",
    parts=("cryptography", "certifi", "OpenSSL", "sigstore"),
)


def open_signing(folder: Path) -> Signing:
    """Return what makes and checks signatures.

    Args:
        folder: what the files of signers are relative to.

    Raises:
        MissingExtra: the library is not installed.
    """
    return cast("Signing", _SIGNING.load("A signature")(folder))
