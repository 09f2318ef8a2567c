"""The seals of a log: in objects beside the table, which notes of its commits name.

seal/SINCE-UNTIL-UUID    -> bytes of an object that has seals of these times, microseconds UTC; it counts
chain/SPOOL/length       -> records that are sealed of a spool
chain/SPOOL/until_us     -> when the newest of its last seal was made
unsealed/until_us        -> up to when records may have no seal; 1 where the log began with seals
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils

from cloche.drivers.parquet.actions import Action, Snapshot, noted
from cloche.drivers.parquet.commits import key_beside
from cloche.drivers.parquet.encoding import Opened, to_parquet
from cloche.errors import SinkUnavailable
from cloche.log.chain import LINK_BYTES, SEAL_FORMAT
from cloche.ports import Seal

_SEAL: Final = "seal/"
_CHAIN: Final = "chain/"
_LENGTH: Final = "/length"
_UNTIL: Final = "/until_us"
_UNSEALED: Final = "unsealed/until_us"
_FROM_THE_FIRST: Final = 1

_SCHEMA: Final = pa.schema(
    [
        ("spool", pa.string()),
        ("start", pa.int64()),
        ("since_us", pa.int64()),
        ("until_us", pa.int64()),
        ("previous", pa.binary()),
        ("ids", pa.binary()),
        ("links", pa.binary()),
        ("format", pa.int64()),
    ]
)
_ORDER: Final = [("since_us", "ascending"), ("start", "ascending"), ("spool", "ascending")]


class SealFile(NamedTuple):
    """An object that has seals."""

    since_us: int
    """When the oldest of the records was made that they are of."""
    until_us: int
    """When the newest was."""
    note: str
    """What names it."""
    size: int

    @property
    def key(self) -> str:
        """Where it is in the store."""
        return key_beside(self.note, self.size)


class Chain(NamedTuple):
    """How far the records of a spool are sealed."""

    length: int
    until_us: int
    """When the newest of the last seal was made."""


def seal_files(table: Snapshot) -> list[SealFile]:
    """Return what has the seals of a log, by time."""
    return sorted(_file(note, size) for note, size in table.notes.items() if note.startswith(_SEAL))


def chain_of(table: Snapshot, spool: str) -> Chain | None:
    """Return how far a spool is sealed; None where nothing of it is, or its chain has rested for long."""
    length = table.notes.get(f"{_CHAIN}{spool}{_LENGTH}")
    return Chain(length, table.notes.get(f"{_CHAIN}{spool}{_UNTIL}", 0)) if length else None


def chains(table: Snapshot) -> Mapping[str, Chain]:
    """Return how far each spool is sealed."""
    notes = (note for note in table.notes if note.startswith(_CHAIN) and note.endswith(_LENGTH))
    spools = (note[len(_CHAIN) : -len(_LENGTH)] for note in notes)
    return {spool: chain for spool in spools if (chain := chain_of(table, spool))}


def unsealed_until(table: Snapshot) -> int | None:
    """Return up to when records may have no seal; None where all have one, or nothing was ever sealed."""
    until_us = table.notes.get(_UNSEALED, _FROM_THE_FIRST)
    return until_us if until_us != _FROM_THE_FIRST else None


def severed(spool: str, chain: Chain) -> Seal:
    """Return what stands for the last seal of a chain where that is gone: what follows shows that it does not fit."""
    return Seal(spool, chain.length, chain.until_us, chain.until_us, bytes(LINK_BYTES), b"", b"", SEAL_FORMAT)


def check_follows(table: Snapshot, seal: Seal, where: str) -> None:
    """See whether a seal begins where the chain of its spool ends.

    Raises:
        SinkUnavailable: it does not.
    """
    chain = chain_of(table, seal.spool)
    rests = chain is None and _UNSEALED in table.notes
    if not rests and seal.start != (chain.length if chain else 0):
        raise SinkUnavailable(where=where, reason=f"somebody else has shipped of spool {seal.spool} meanwhile")


def sealing(table: Snapshot, seal: Seal, file: SealFile) -> list[Action]:
    """Return what says that an object counts that has one seal, the next of its chain."""
    actions = [
        noted(file.note, file.size),
        noted(f"{_CHAIN}{seal.spool}{_LENGTH}", seal.end),
        noted(f"{_CHAIN}{seal.spool}{_UNTIL}", seal.until_us),
    ]
    if _UNSEALED not in table.notes:
        newest_us = max((each.last_us for each in table.files.values()), default=0)
        actions.append(noted(_UNSEALED, newest_us or _FROM_THE_FIRST))
    return actions


def replacing(files: Sequence[SealFile], made: SealFile) -> list[Action]:
    """Return what says that an object counts in the place of others."""
    return [*(noted(file.note, 0) for file in files), noted(made.note, made.size)]


def resting(spools: Sequence[str]) -> list[Action]:
    """Return what lets go of how far some spools are sealed."""
    return [noted(f"{_CHAIN}{spool}{name}", 0) for spool in spools for name in (_LENGTH, _UNTIL)]


def encoded_seals(table: pa.Table) -> tuple[SealFile, bytes]:
    """Return seals as an object of a new name, and the bytes of it."""
    data = to_parquet(table.take(pc.sort_indices(table, sort_keys=_ORDER)))
    since_us, until_us = _span(table)
    return _file(f"{_SEAL}{since_us}-{until_us}-{uuid_utils.uuid7().hex}", len(data)), data


def table_of(seal: Seal) -> pa.Table:
    """Return a seal as columns."""
    return pa.Table.from_pylist([msgspec.structs.asdict(seal)], _SCHEMA)


def opened_seals(file: SealFile, data: bytes) -> pa.Table | None:
    """Return the columns of the seals in an object; None where they are not those that were put there."""
    try:
        table = Opened(data).read(_SCHEMA.names)
    except pa.ArrowException:
        return None
    is_whole = table.schema.equals(_SCHEMA) and not any(column.null_count for column in table.columns)
    is_here = len(data) == file.size and len(table) > 0
    return table if is_whole and is_here and _span(table) == (file.since_us, file.until_us) else None


def seals_of(table: pa.Table) -> list[Seal]:
    """Return the seals that columns hold."""
    return [Seal(**row) for row in table.to_pylist()]


def of_moment(table: pa.Table, moment_us: int) -> pa.Table:
    """Return those of some seals that have a moment."""
    return table.filter((pc.field("since_us") <= moment_us) & (pc.field("until_us") >= moment_us))


def of_spool(table: pa.Table, spool: str) -> pa.Table:
    """Return those of some seals that are of a spool."""
    return table.filter(pc.field("spool") == spool)


def _file(note: str, size: int) -> SealFile:
    since_us, until_us, _ = note.removeprefix(_SEAL).split("-")
    return SealFile(int(since_us), int(until_us), note, size)


def _span(table: pa.Table) -> tuple[int, int]:
    return pc.min(table["since_us"]).as_py(), pc.max(table["until_us"]).as_py()
