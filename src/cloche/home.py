"""The home: the one folder that holds everything of an installation on one host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloche.errors import HomeIsFile

MARKS = (".cloche", "cloche.toml")


@dataclass(frozen=True)
class Home:
    """The rooms of a home folder. Nothing is created until it is used."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """`cloche.toml`, beside the home folder."""
        return self.path.parent / "cloche.toml"

    @property
    def registry(self) -> Path:
        """Bundles and releases, where no other store is set."""
        return self.path / "registry"

    @property
    def cache(self) -> Path:
        """Private, read-only copies of bundles, checked while they were copied."""
        return self.path / "cache"

    @property
    def environments(self) -> Path:
        """Python environments of versions that were made with other packages than are installed here."""
        return self.path / "environments"

    @property
    def spool(self) -> Path:
        """One folder per gateway process: records on their way to the sink."""
        return self.path / "spool"

    @property
    def log(self) -> Path:
        """The inference log, where no other sink is set."""
        return self.path / "log" / "inferences.db"

    @property
    def idempotency(self) -> Path:
        """Answers to calls with an idempotency key, for a day, where no other place is set."""
        return self.path / "log" / "idempotency.db"

    @property
    def exports(self) -> Path:
        """The list of files that inferences were exported to."""
        return self.path / "log" / "exports.jsonl"

    @property
    def backups(self) -> Path:
        """The list of places that this home was backed up to."""
        return self.path / "backups.jsonl"

    @property
    def run(self) -> Path:
        """What is true only while a server runs: locks, addresses, the output of workers."""
        return self.path / "run"


def find_home(environ: Mapping[str, str] | None = None, start: Path | None = None) -> Home:
    """Return the home: `CLOCHE_HOME`, else the nearest parent folder that has one, else `./.cloche`.

    Raises:
        HomeIsFile: there is a file in its place.
    """
    named = (os.environ if environ is None else environ).get("CLOCHE_HOME")
    if named:
        return home_at(named)
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if any((folder / mark).exists() for mark in MARKS):
            return _home_in(folder / ".cloche")
    return Home(here / ".cloche")


def home_at(folder: Path | str) -> Home:
    """Return the home in a folder that somebody names, which need not be there yet.

    Raises:
        HomeIsFile: there is a file in its place.
    """
    return _home_in(Path(folder).expanduser().resolve())


def _home_in(path: Path) -> Home:
    if path.exists() and not path.is_dir():
        raise HomeIsFile(home=path)
    return Home(path)
