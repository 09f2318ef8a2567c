"""Where backups lie: a store that many backups of one home share.

blobs/sha256/ab/abcdef…   pieces of files, by content: what two backups have in common lies there once
erasures/…                orders to forget somebody, of all backups: the newest hold for the oldest, too
backups/{id}.json         what a backup consists of, written last; its first line is the SHA-256 of the rest
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time

import msgspec

from cloche.errors import BackupDamaged, BackupNotFound, NewerFormat, OrdersDiffer
from cloche.ports import ObjectStore
from cloche.registry.audit import RELEASE_KEY

BACKUP_FORMAT = 2
WITHOUT_DATABASE = 1
"""What a backup says that has no `database`: an earlier Cloche reads it, too."""

_ROOM = "backups"
_ORDERS = "erasures"
_KEY = re.compile(rf"{_ROOM}/(?P<id>\d{{8}}T\d{{6}}\.\d{{6}}Z-[0-9a-f]{{4}})\.json")
_PATH = re.compile(r"(?!\.{1,2}(?:/|$))[^/\0]+(?:/(?!\.{1,2}(?:/|$))[^/\0]+)*")


class Kept(msgspec.Struct, frozen=True):
    """A file of a backup."""

    path: str
    """Below the home, with `/` between its parts."""
    size: int
    """Bytes."""
    pieces: tuple[str, ...]
    """SHA-256 of its parts, in their order."""


class Dump(msgspec.Struct, frozen=True):
    """The log of a backup, where a database server had it: as a driver that keeps the promise `Dumping` wrote it."""

    kind: str
    """Of the database."""
    where: str
    """In words."""
    size: int
    """Bytes."""
    pieces: tuple[str, ...]
    """SHA-256 of its parts, in their order."""


class Backup(msgspec.Struct, frozen=True):
    """What a home held at one moment: all that it had acknowledged by then."""

    format: int
    id: str
    created_us: int
    """When it was begun, microseconds UTC."""
    made_by: str
    """The version of Cloche."""
    settings: Kept | None
    """`cloche.toml`, which lies beside the home."""
    files: tuple[Kept, ...]
    elsewhere: tuple[str, ...]
    """What belongs to the installation and is not in it: one sentence each, with what copies that."""
    database: Dump | None = None
    """The log, where a database server has it and it was not left out."""

    @property
    def newest_release(self) -> int | None:
        """The highest number among its releases; None where it has none, as where the registry is elsewhere."""
        found = (RELEASE_KEY.fullmatch(kept.path.removeprefix("registry/")) for kept in self.files)
        return max((int(match["number"]) for match in found if match), default=None)

    @property
    def size(self) -> int:
        """Bytes of everything together."""
        return sum(kept.size for kept in (*self.files, self.settings, self.database) if kept)


def new_id(now_us: int) -> str:
    """Return the name of a backup: names sort as the backups were made."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_us // 1_000_000))
    return f"{moment}.{now_us % 1_000_000:06d}Z-{secrets.token_hex(2)}"


class BackupPlace:
    """The backups in a store."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    @property
    def where(self) -> str:
        """The store, in words."""
        return self.store.where

    async def ids(self) -> list[str]:
        """Return the names of the backups that are complete, oldest first."""
        return [match["id"] async for key in self.store.list(_ROOM) if (match := _KEY.fullmatch(key))]

    async def read(self, wanted: str | None = None) -> Backup:
        """Return a backup, without a name the newest.

        Raises:
            BackupNotFound: it is not there.
            BackupDamaged: what lies there is not what was written.
            NewerFormat: a later Cloche made it.
        """
        known = await self.ids()
        if not known or (wanted is not None and wanted not in known):
            told = f"There are {len(known):,}, the newest is {known[-1]}." if known else "None is complete there."
            raise BackupNotFound(id=wanted or "at all", where=self.where, known=told)
        name = wanted or known[-1]
        digest, _, data = (await self.store.get(_key(name)) or b"").partition(b"\n")
        if digest.decode("ascii", "replace") != hashlib.sha256(data).hexdigest():
            raise self._damaged(f"what it consists of ({_key(name)}) does not have its SHA-256")
        return self._decoded(name, data)

    async def complete(self, backup: Backup) -> None:
        """Write down what a backup consists of: from now on there is one."""
        data = msgspec.json.format(msgspec.json.encode(backup), indent=1)
        sealed = hashlib.sha256(data).hexdigest().encode() + b"\n" + data
        assert await self.store.put_if_absent(_key(backup.id), sealed), "a name is drawn once"

    async def pieces(self) -> set[str]:
        """Return the SHA-256 of every piece that lies here."""
        return {key.rpartition("/")[2] async for key in self.store.list("blobs")}

    async def keep(self, sha256: str, piece: bytes) -> None:
        """Keep a piece of a file."""
        await self.store.put_if_absent(_piece_key(sha256), piece)

    async def piece(self, sha256: str) -> bytes:
        """Return a piece of a file.

        Raises:
            BackupDamaged: it is not there, or is not what it was.
        """
        data = await self.store.get(_piece_key(sha256))
        if data is None:
            raise self._damaged(f"{_piece_key(sha256)} is not there")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(f"{_piece_key(sha256)} does not have its SHA-256")
        return data

    def _decoded(self, name: str, data: bytes) -> Backup:
        try:
            found = msgspec.json.decode(data, type=_Stamp).format
            if found > BACKUP_FORMAT:
                raise NewerFormat(what=f"the backup {name}", found=found, known=BACKUP_FORMAT)
            backup = msgspec.json.decode(data, type=Backup)
        except msgspec.DecodeError as error:
            raise self._damaged(f"{_key(name)} is no backup: {error}") from None
        strange = [kept.path for kept in backup.files if not _PATH.fullmatch(kept.path)]
        if strange or backup.id != name:
            raise self._damaged(f"{_key(name)} is no backup: it names {strange[0] if strange else backup.id!r}")
        return backup

    def _damaged(self, what: str) -> BackupDamaged:
        return BackupDamaged(where=self.where, what=what)


async def keep_orders(source: ObjectStore, target: ObjectStore) -> int:
    """Copy the orders about people that `target` lacks, and what marks them; return how many objects that were.

    Raises:
        OrdersDiffer: those that both have are not the same.
    """
    there = {key async for key in target.list(_ORDERS)}
    lacking: list[str] = []
    alike: list[str] = []
    async for key in source.list(_ORDERS):
        (alike if key in there else lacking).append(key)
    for key in [key for key in alike if key.count("/") == 1][-2:]:  # what makes marks, and the newest order
        if await source.get(key) != await target.get(key):
            raise OrdersDiffer(where=source.where, other=target.where)
    copied = 0
    for key in lacking:
        if (data := await source.get(key)) is not None:
            copied += await target.put_if_absent(key, data)
    return copied


class _Stamp(msgspec.Struct):
    format: int


def _key(name: str) -> str:
    return f"{_ROOM}/{name}.json"


def _piece_key(sha256: str) -> str:
    return f"blobs/sha256/{sha256[:2]}/{sha256}"
