"""Who changes what is live from here, and why: what was typed, and what git knows."""

from __future__ import annotations

from pathlib import Path

from cloche.authoring.provenance import author, git, provenance
from cloche.registry.release import Reason


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
    said = message or git(folder, "log", "-1", "--format=%s") or ""
    return Reason(made.author, said, command, git_commit=made.git_commit)
