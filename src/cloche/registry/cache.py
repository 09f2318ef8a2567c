"""Private, read-only copies of bundles, checked while they are made and again before each use.

A bundle is loaded from here and from nowhere else: `{hexadecimal digest}/manifest.json`, `files/…`, `code/…` and
`personal/…`. What is in a folder is exactly what the manifest names, byte for byte, and the folder's name is the
manifest's digest. A personal file may be empty instead, where a mark beside the folders says that it was erased.
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
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from cloche.errors import BundleCorrupt, NewerFormat
from cloche.registry.bundle import File, Manifest, decode_manifest, digest_of

logger = logging.getLogger(__name__)

ROOMS = ("files", "code", "personal")
"""The folders of a bundle. `personal` holds golden cases and examples."""

WHEELS = "wheels"
"""The folder of the packages that were published with a version. They are no part of its bundle."""

_DRAFT = ".new-"
_DOCUMENT = "document-"
_SIGNATURE = "signature-"
_ERASED = "erased-"
_ABANDONED_S = 3600
_HASH = re.compile(r"[0-9a-f]{64}")

Read = Callable[[File], Awaitable[bytes]]


def bundle_files(manifest: Manifest) -> list[File]:
    """Return every file that belongs to the bundle, golden cases and examples included."""
    personal = [manifest.golden.file] if manifest.golden else []
    return [*manifest.files, *personal, *([manifest.examples] if manifest.examples else [])]


def stored_files(manifest: Manifest) -> list[File]:
    """Return every file that the registry keeps for a version: those of its bundle, and the wheels beside it."""
    return [*bundle_files(manifest), *manifest.vendored]


def check_paths(manifest: Manifest, what: str) -> None:
    """Check that every file has a hash, stays inside its bundle, and is in no other's way.

    Raises:
        BundleCorrupt: a path is absolute, has `..`, an empty part, a backslash or a control character, is not below
            one of the rooms, is named twice, or is the folder of another; or a hash is none.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    rooms = [ROOMS] * len(bundle_files(manifest)) + [(WHEELS,)] * len(manifest.vendored)
    for file, allowed in zip(stored_files(manifest), rooms, strict=True):
        path = file.path
        parts = path.split("/")
        if not _HASH.fullmatch(file.sha256):
            raise BundleCorrupt(what=f"{what}: {path!r}", expected="a SHA-256", found=repr(file.sha256))
        if len(parts) < 2 or parts[0] not in allowed or not all(map(_is_plain, parts)) or path in taken:
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
            return path, await asyncio.to_thread(self._verify, path, digest)
        except FileNotFoundError:
            return None
        except BundleCorrupt as error:
            logger.warning("throwing away a damaged copy: %s", error)
            await asyncio.to_thread(self._discard, path)
            return None

    async def keep(self, manifest: Manifest, encoded: bytes, read: Read) -> Path:
        """Copy the bundle, hashing every file, and return its folder. It appears there whole or not at all.

        Args:
            manifest: what to copy.
            encoded: the same, as it is stored.
            read: gives the content of a file; none of a personal one that was erased.

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
                if not data and is_personal(file):
                    await asyncio.to_thread(self._mark_erased, file.sha256)
                else:
                    check_file(file, data, what)
                await asyncio.to_thread(_write, draft / file.path, data, file.executable)
            await asyncio.to_thread(_write, draft / "manifest.json", encoded)
            return await asyncio.to_thread(self._seal, draft, digest)
        finally:
            await asyncio.to_thread(_remove, draft)

    async def empty(self, sha256: str) -> int:
        """Empty the copies of a personal file, whichever bundles have it; return how many there were."""
        return await asyncio.to_thread(self._empty, sha256)

    async def find_manifest(self, digest: str) -> bytes | None:
        """Return the manifest of a copy, where it is what the digest says. It is to look at; `find` is to load from."""
        return await asyncio.to_thread(_sound, self._path(digest) / "manifest.json", digest)

    async def find_document(self, digest: str) -> bytes | None:
        """Return the copy of a document, where there is a sound one."""
        return await asyncio.to_thread(_sound, self._path(digest, _DOCUMENT), digest)

    async def keep_document(self, digest: str, data: bytes) -> None:
        """Keep a copy of a document."""
        await asyncio.to_thread(self._keep_document, self._path(digest, _DOCUMENT), data)

    async def find_signature(self, digest: str) -> bytes | None:
        """Return the signature of a manifest that this host has kept. It proves itself, or does not."""
        return await asyncio.to_thread(_plain, self._path(digest, _SIGNATURE))

    async def keep_signature(self, digest: str, signature: bytes) -> None:
        """Keep the signature of a manifest."""
        await asyncio.to_thread(self._keep_document, self._path(digest, _SIGNATURE), signature)

    def _mark_erased(self, sha256: str) -> None:
        """Say that a personal file may be empty, before it is."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / f"{_ERASED}{sha256}").touch(0o400)

    def _is_erased(self, file: File) -> bool:
        return is_personal(file) and (self._folder / f"{_ERASED}{file.sha256}").exists()

    def _empty(self, sha256: str) -> int:
        emptied = 0
        for path in self._folder.glob("*/manifest.json") if self._folder.is_dir() else ():
            with suppress(BundleCorrupt, NewerFormat):
                for file in bundle_files(decode_manifest(_read(path), str(path.parent))):
                    copy = path.parent / file.path
                    if file.sha256 == sha256 and is_personal(file) and _read(copy):
                        self._mark_erased(sha256)
                        copy.chmod(0o600)
                        copy.write_bytes(b"")
                        copy.chmod(0o400)
                        emptied += 1
        return emptied

    def _keep_document(self, path: Path, data: bytes) -> None:
        draft = self._draft()
        try:
            _write(draft / "document", data)
            (draft / "document").replace(path)
        finally:
            _remove(draft)

    def _path(self, digest: str, prefix: str = "") -> Path:
        name = digest.removeprefix("sha256:")
        if not _HASH.fullmatch(name):
            raise BundleCorrupt(what="a bundle", expected="the digest of a manifest", found=repr(digest))
        return self._folder / f"{prefix}{name}"

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
            self._verify(path, digest)  # another process was faster
        return path

    def _verify(self, path: Path, digest: str) -> Manifest:
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
            file, data = wanted.pop(name), _read(path / name)
            if data or not self._is_erased(file):
                check_file(file, data, str(path))
        if wanted:
            raise BundleCorrupt(what=str(path), expected=repr(min(wanted)), found="no such file")
        return manifest

    def _discard(self, path: Path) -> None:
        """Move it out of the way first, so that nobody finds half of it."""
        aside = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._folder))
        with suppress(FileNotFoundError):
            if not path.is_symlink():
                path.chmod(0o700)
            path.rename(aside / "damaged")
        _remove(aside)


def is_personal(file: File) -> bool:
    """Return whether it holds what people sent: golden cases or examples. It is empty where somebody was forgotten."""
    return file.path.startswith("personal/")


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


def write_bundle(
    folder: Path, encoded: bytes, contents: Mapping[str, bytes], executables: Collection[str] = ()
) -> None:
    """Write the files of a bundle and its manifest below `folder`, read-only, as they lie in a copy.

    Args:
        folder: where.
        encoded: the manifest.
        contents: path -> content.
        executables: the paths of those that may be run as programs.
    """
    for path, data in {**contents, "manifest.json": encoded}.items():
        _write(folder / path, data, path in executables)


def _write(path: Path, data: bytes, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(0o500 if executable else 0o400)


def _read(path: Path) -> bytes:
    """Read a plain file. What a link points to can change after it was checked."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise BundleCorrupt(what=str(path), expected="a plain file", found="none") from None
    if not stat.S_ISREG(mode):
        raise BundleCorrupt(what=str(path), expected="a plain file", found=stat.filemode(mode))
    return path.read_bytes()


def _sound(path: Path, digest: str) -> bytes | None:
    """Return what is in a file where that has the digest."""
    data = _plain(path)
    return data if data is not None and digest_of(data) == digest else None


def _plain(path: Path) -> bytes | None:
    """Return what is in a plain file, where there is one."""
    try:
        return _read(path)
    except (OSError, BundleCorrupt):
        return None


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
