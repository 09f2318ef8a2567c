"""Where a version comes from: who published it, from which commit."""

from __future__ import annotations

import getpass
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import cloche
from cloche.registry.bundle import Provenance

_GIT_S = 5


def provenance(folder: Path, message: str | None = None) -> Provenance:
    """Return who publishes from `folder` now. A missing git, or a folder without one, is fine."""
    commit = git(folder, "rev-parse", "HEAD")
    changes = git(folder, "status", "--porcelain") if commit else None
    return Provenance(
        author=author(folder),
        created_us=time.time_ns() // 1000,
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        message=message,
        cloche=cloche.__version__,
    )


def author(folder: Path) -> str:
    """Return the name that git signs with in `folder`, else that of the account."""
    if name := git(folder, "config", "user.name"):
        return name
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints in `folder`; None where it fails, is missing or does not end."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.strip() if done.returncode == 0 else None
    return None
