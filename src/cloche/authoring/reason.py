"""Who changes what is live from here, and why: what was typed, and what git knows."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from cloche.authoring.provenance import author, provenance
from cloche.registry.release import Reason

_GIT_S = 5


def reason_of(command: str, message: str = "") -> Reason:
    """Return who does something here, in the words that were typed, and why."""
    return Reason(author(Path.cwd()), message, command)


def reason_of_file(command: str, message: str, folder: Path) -> Reason:
    """Return who applies a file from `folder`: its commit, and what the commit says where no message is given.

    A working tree with changes is not what was committed: it is marked, and the commit's words are not its own.
    """
    made = provenance(folder)
    if made.git_commit is None or made.git_dirty:
        commit = f"{made.git_commit}-dirty" if made.git_commit else None
        return Reason(made.author, message, command, git_commit=commit)
    return Reason(made.author, message or _subject(folder), command, git_commit=made.git_commit)


def _subject(folder: Path) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        asked = ["git", "log", "-1", "--format=%s"]
        done = subprocess.run(
            asked,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.strip()
    return ""
