"""For tests, yours and Cloche's own: a platform in memory, checks of a model, and what every driver of a port must do.

    from cloche.testing import Platform, check_model

With pytest, `pytest_plugins = ["cloche.testing.fixtures"]` in `conftest.py` gives tests the fixture `platform`. Names
are loaded when they are first used, so that a test pays for what it asks for and no more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.testing.check import check_model as check_model
    from cloche.testing.idempotency import IdempotencyContract as IdempotencyContract
    from cloche.testing.journal import JournalContract as JournalContract
    from cloche.testing.log import LogContract as LogContract
    from cloche.testing.log import SinkContract as SinkContract
    from cloche.testing.log import make_record as make_record
    from cloche.testing.objects import ObjectStoreContract as ObjectStoreContract
    from cloche.testing.platform import Platform as Platform
    from cloche.testing.report import Finding as Finding
    from cloche.testing.report import Report as Report
    from cloche.testing.rollups import RollupContract as RollupContract
    from cloche.testing.seals import SealedLogContract as SealedLogContract
    from cloche.testing.signing import SigningContract as SigningContract

_HOMES = {
    "Finding": "cloche.testing.report",
    "IdempotencyContract": "cloche.testing.idempotency",
    "JournalContract": "cloche.testing.journal",
    "LogContract": "cloche.testing.log",
    "ObjectStoreContract": "cloche.testing.objects",
    "Platform": "cloche.testing.platform",
    "Report": "cloche.testing.report",
    "RollupContract": "cloche.testing.rollups",
    "SealedLogContract": "cloche.testing.seals",
    "SigningContract": "cloche.testing.signing",
    "SinkContract": "cloche.testing.log",
    "check_model": "cloche.testing.check",
    "make_record": "cloche.testing.log",
}

__all__ = [
    "Finding",
    "IdempotencyContract",
    "JournalContract",
    "LogContract",
    "ObjectStoreContract",
    "Platform",
    "Report",
    "RollupContract",
    "SealedLogContract",
    "SigningContract",
    "SinkContract",
    "check_model",
    "make_record",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cloche.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
