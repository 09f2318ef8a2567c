"""What a process is told from outside: `cloche.toml`, `CLOCHE_*` and flags, as one frozen tree."""

from __future__ import annotations

from cloche.settings.reading import SECRETS, Setting, declared, load_settings, sources
from cloche.settings.tree import (
    LONGEST_MS,
    MOST_GATEWAYS,
    MOST_WORKERS,
    Limits,
    Log,
    Permission,
    Server,
    Settings,
    Token,
    Workers,
)
from cloche.values import SignaturePolicy

__all__ = [
    "LONGEST_MS",
    "MOST_GATEWAYS",
    "MOST_WORKERS",
    "SECRETS",
    "Limits",
    "Log",
    "Permission",
    "Server",
    "Setting",
    "Settings",
    "SignaturePolicy",
    "Token",
    "Workers",
    "declared",
    "load_settings",
    "sources",
]
