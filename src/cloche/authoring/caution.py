"""What an author should know of the modules that went along: which they are, and what looks like a secret in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cloche.authoring.modules import is_installed
from cloche.authoring.sources import Code

_SECRETS = {
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an access key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{60,})",
    "a token of Slack": rb"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "a password in an address": rb"\b[a-z][a-z0-9+]*://[^/\s:@'\"{]*:[^/\s:@'\"{]+@[\w.-]+",
}

_TEXT = re.compile(rb"""["'](/[^"'\n]{1,4000})["']""")
_SYSTEM = ("bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr")
"""The first parts of the paths of what comes with an operating system."""


def about_code(code: Code) -> list[str]:
    """Return what an author is told of the modules that went in, and of the lines of functions."""
    listed = [f"Your own modules went in as source: {', '.join(code.files)}"] if code.files else []
    return [*listed, *secrets_in({**code.files, **code.listings}), *about_changes(code)]


def about_changes(code: Code) -> list[str]:
    """Return what an author is told where files are other now than what was imported."""
    if not code.changed:
        return []
    files = ", ".join(code.changed)
    return [
        f"{files} changed after this process had imported it, and went in as it is now. Import it again, or restart."
    ]


def about_paths(paths: Iterable[str], code: Code) -> list[str]:
    """Return what an author is told where a model names files of this machine: no other may have them.

    Args:
        paths: texts of the model that look like absolute paths.
        code: whose texts are looked at as well.
    """
    texts = {found.decode("utf-8", "replace") for content in code.files.values() for found in _TEXT.findall(content)}
    return [
        f"The model names {path}, which no other machine may have. Publish a file with "
        f"files={{{path.name!r}: Path(…)}}, and ask for bundle.path({path.name!r}) in load()."
        for path in sorted(map(Path, texts.union(paths)))
        if _is_of_this_machine(path)
    ]


def _is_of_this_machine(path: Path) -> bool:
    """Tell whether a path leads to a file that neither the system nor Python has brought, nor is source."""
    if len(path.parts) < 2 or path.parts[1] in _SYSTEM or path.suffix == ".py":
        return False
    if any(path.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix)):
        return False
    try:
        return path.is_file() and not is_installed(path)
    except (OSError, ValueError):  # too long for a path, or a byte that none has
        return False


def secrets_in(contents: Mapping[str, bytes]) -> Iterator[str]:
    """Yield a warning for each kind of secret in each file. It is no proof that there is none where none is found."""
    for path, content in contents.items():
        for what, pattern in _SECRETS.items():
            if found := re.search(pattern, content):
                line = content.count(b"\n", 0, found.start()) + 1
                yield f"{path}, line {line} has what looks like {what}. All who read the registry can read it."
