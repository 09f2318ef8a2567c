"""The promises a driver may keep. A driver passes the contract suite of its port, or does not exist."""

from __future__ import annotations

from cloche.ports.dumping import Dumping
from cloche.ports.exporting import ErasingFile, TableFile
from cloche.ports.idempotency import KEPT_S, Claim, IdempotencyStore
from cloche.ports.keeping import Erasing, Journal, Mark, Position, Seal, Sealing, SealReader, Sink
from cloche.ports.objects import ObjectStore, check_key
from cloche.ports.reading import PAGE_BYTES, Cursor, Filter, LogReader
from cloche.ports.signing import Signing

__all__ = [
    "KEPT_S",
    "PAGE_BYTES",
    "Claim",
    "Cursor",
    "Dumping",
    "Erasing",
    "ErasingFile",
    "Filter",
    "IdempotencyStore",
    "Journal",
    "LogReader",
    "Mark",
    "ObjectStore",
    "Position",
    "Seal",
    "SealReader",
    "Sealing",
    "Signing",
    "Sink",
    "TableFile",
    "check_key",
]
