"""What a host saw of the releases last: enough for a gateway to start on while the registry's store is away.

It is a copy beside the copies of bundles, and never the truth: whoever starts on it asks the store again until that
answers. Its first line is the SHA-256 of the rest, so what a crash or a disk has damaged counts as nothing seen.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from cloche.registry.bundle import digest_of
from cloche.registry.release import Live

SEEN_FORMAT = 1

_FILE: Final = "last-seen.json"


class Seen(msgspec.Struct, frozen=True):
    """What was live, and since when, as far as one host knew."""

    format: int
    registry: str
    """Where that was, in words."""
    live: Live
    written: dict[str, list[tuple[int, int]]]
    """As in `Timeline.written`."""


class LastSeen:
    """The one file in which a host keeps it.

    Args:
        folder: private to this host; it is made when something is kept.
        registry: where the releases are, in words: what was seen of another registry is of no use for this one.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self._file = folder / _FILE
        self._registry = registry

    def keep(self, live: Live, written: dict[str, list[tuple[int, int]]]) -> None:
        """Put it in the place of what was seen before, whole.

        Raises:
            OSError: the disk does not take it.
        """
        data = msgspec.json.encode(Seen(SEEN_FORMAT, self._registry, live, written))
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._file.parent) as folder:
            draft = Path(folder, _FILE)
            with draft.open("wb") as file:
                file.write(digest_of(data).encode() + b"\n" + data)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o600)
            draft.replace(self._file)

    def read(self) -> Seen | None:
        """Return it, or None where there is nothing, or nothing sound of this registry that this Cloche can read."""
        try:
            digest, _, data = self._file.read_bytes().partition(b"\n")
            if digest != digest_of(data).encode():
                return None
            seen = msgspec.json.decode(data, type=Seen)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return seen if seen.format <= SEEN_FORMAT and seen.registry == self._registry else None
