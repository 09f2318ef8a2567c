"""Private, read-only copies of bundles, checked while they are made and again before each use.

A bundle is loaded from here and from nowhere else: `{hexadecimal digest}/manifest.json`, `files/…`, `code/…` and
`personal/…`. What is in a folder is exactly what the manifest names, byte for byte, and the folder's name is the
manifest's digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from cloche.errors import BundleCorrupt
from cloche.registry.bundle import File, Manifest, decode_manifest, digest_of

logger = logging.getLogger(__name__)

ROOMS = ("files", "code", "personal")
"""The folders of a bundle. `personal` holds golden cases and examples."""

_DRAFT = ".new-"
_ABANDONED_S = 3600
_HASH = re.compile(r"[0-9a-f]{64}")

Read = Callable[[File], Awaitable[bytes]]


def bundle_files(manifest: Manifest) -> list[File]:
    """Return every file that belongs to the bundle, golden cases and examples included."""
    personal = [manifest.golden.file] if manifest.golden else []
    return [*manifest.files, *personal, *([manifest.examples] if manifest.examples else [])]


def check_paths(manifest: Manifest, what: str) -> None:
    """Check that every file has a hash, stays inside its bundle, and is in no other's way.

    Raises:
        BundleCorrupt: a path is absolute, has `..`, an empty part, a backslash or a control character, is not below
            one of the rooms, is named twice, or is the folder of another; or a hash is none.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    for file in bundle_files(manifest):
        path = file.path
        parts = path.split("/")
        if not _HASH.fullmatch(file.sha256):
            raise BundleCorrupt(what=f"{what}: {path!r}", expected="a SHA-256", found=repr(file.sha256))
        if len(parts) < 2 or parts[0] not in ROOMS or not all(map(_is_plain, parts)) or path in taken:
            raise BundleCorrupt(what=what, expected="plain paths, each once", found=repr(path))
        taken.add(path)
        folders.update(str(parent) for parent in PurePosixPath(path).parents)
    if taken & folders:
        raise BundleCorrupt(what=what, expected="plain paths, each once", found=repr(min(taken & folders)))


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and "\\" not in part and part.isprintable() and len(part.encode()) <= 255


class Cache:
    """The copies of one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def find(self, digest: str) -> tuple[Path, Manifest] | None:
        """Return the copy of the bundle where there is a sound one. A damaged one is thrown away."""
        path = self._path(digest)
        try:
            return path, await asyncio.to_thread(_verify, path, digest)
        except FileNotFoundError:
            return None
        except BundleCorrupt as error:
            logger.warning("throwing away a damaged copy: %s", error)
            await asyncio.to_thread(self._discard, path)
            return None

    async def keep(self, manifest: Manifest, encoded: bytes, read: Read) -> Path:
        """Copy the bundle, hashing every file, and return its folder. It appears there whole or not at all.

        Raises:
            BundleCorrupt: a file is not what the manifest says, or is in no place for a file.
        """
        digest = digest_of(encoded)
        what = f"{manifest.name} {manifest.version}"
        check_paths(manifest, what)
        draft = await asyncio.to_thread(self._draft)
        try:
            for file in bundle_files(manifest):
                data = await read(file)
                check_file(file, data, what)
                await asyncio.to_thread(_write, draft / file.path, data)
            await asyncio.to_thread(_write, draft / "manifest.json", encoded)
            return await asyncio.to_thread(self._seal, draft, digest)
        finally:
            await asyncio.to_thread(_remove, draft)

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        if not _HASH.fullmatch(name):
            raise BundleCorrupt(what="a bundle", expected="the digest of a manifest", found=repr(digest))
        return self._folder / name

    def _draft(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        for left in self._folder.glob(f"{_DRAFT}*"):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - _ABANDONED_S:
                    _remove(left)
        return Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._folder))

    def _seal(self, draft: Path, digest: str) -> Path:
        path = self._path(digest)
        for parent, _, _ in os.walk(draft, topdown=False):
            Path(parent).chmod(0o500)
        try:
            draft.rename(path)
        except OSError:
            if not path.exists():
                raise
            _verify(path, digest)  # another process was faster
        return path

    def _discard(self, path: Path) -> None:
        """Move it out of the way first, so that nobody finds half of it."""
        aside = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._folder))
        with suppress(FileNotFoundError):
            if not path.is_symlink():
                path.chmod(0o700)
            path.rename(aside / "damaged")
        _remove(aside)


def check_file(file: File, data: bytes, what: str) -> None:
    """Check that `data` is the file.

    Raises:
        BundleCorrupt: it has another size or hash.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256 or len(data) != file.size:
        raise BundleCorrupt(
            what=f"{what}: {file.path}",
            expected=f"{file.sha256}, {file.size} bytes",
            found=f"{found}, {len(data)} bytes",
        )


def write_bundle(folder: Path, encoded: bytes, contents: Mapping[str, bytes]) -> None:
    """Write the files of a bundle and its manifest below `folder`, read-only, as they lie in a copy."""
    for path, data in {**contents, "manifest.json": encoded}.items():
        _write(folder / path, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(0o400)


def _verify(path: Path, digest: str) -> Manifest:
    """Read every file again. Raises FileNotFoundError where there is no such folder."""
    if path.is_symlink():
        raise BundleCorrupt(what=str(path), expected="a folder", found="a link")
    if not path.is_dir():
        raise FileNotFoundError(path)
    manifest = decode_manifest(_read(path / "manifest.json"), str(path), digest)
    check_paths(manifest, str(path))
    wanted = {file.path: file for file in bundle_files(manifest)}
    for name in _files_below(path):
        if name == "manifest.json":
            continue
        if name not in wanted:
            raise BundleCorrupt(what=str(path), expected="no other file", found=repr(name))
        check_file(wanted.pop(name), _read(path / name), str(path))
    if wanted:
        raise BundleCorrupt(what=str(path), expected=repr(min(wanted)), found="no such file")
    return manifest


def _read(path: Path) -> bytes:
    """Read a plain file. What a link points to can change after it was checked."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise BundleCorrupt(what=str(path), expected="a plain file", found="none") from None
    if not stat.S_ISREG(mode):
        raise BundleCorrupt(what=str(path), expected="a plain file", found=stat.filemode(mode))
    return path.read_bytes()


def _files_below(path: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(path):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(path).as_posix() for name in (*names, *links)]
    return found


def _remove(path: Path) -> None:
    for parent, _, _ in os.walk(path):
        Path(parent).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
