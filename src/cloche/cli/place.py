"""Where a command works: the home, how it was found, and what is opened there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cloche.errors import ClocheError, InferenceNotFound, ModelNotFound, ServerNotFound, VersionNotFound
from cloche.home import MARKS, Home, find_home, home_at

if TYPE_CHECKING:
    from cloche.environments.interpreters import Interpreters
    from cloche.ports import LogReader
    from cloche.registry.catalog import Registry
    from cloche.settings import Settings

_USUAL = frozenset({"CLOCHE_HOME", "CLOCHE_TOKEN"})
"""Known without asking the settings, which take a while to import."""

_LOOKED_IN_THE_HOME = (InferenceNotFound, ModelNotFound, ServerNotFound, VersionNotFound)


@dataclass(frozen=True)
class Place:
    """The home that a command works on."""

    home: Home
    why: str
    """How it was found, in words: `found …`."""
    chosen: bool = False
    """Whether it was named, and not looked for."""

    def warn_of_variables(self) -> None:
        """Say which variables look like settings and are none."""
        if any(name.startswith("CLOCHE_") and name not in _USUAL for name in os.environ):
            from cloche.cli.variables import unknown_variables

            for sentence in unknown_variables(self.home.settings_file, os.environ):
                click.echo(sentence, err=True)

    def settings(self, flags: Mapping[str, object] | None = None, *, secrets: bool = True) -> Settings:
        """Return the settings in force, with `flags` (`server.port`) over all else; perhaps without `secrets`.

        Raises:
            InvalidSetting: one of them is not valid.
        """
        from cloche.settings import load_settings

        return load_settings(self.home.settings_file, os.environ, flags, secrets=secrets)

    def registry(self) -> Registry:
        """Return the registry."""
        from cloche.assembly.stores import open_registry

        return open_registry(self.home)

    def interpreters(self, registry: Registry) -> Interpreters:
        """Return what says which Python runs a version of the registry."""
        from cloche.assembly.interpreters import open_interpreters

        return open_interpreters(self.home, self.settings(), registry)

    def log(self) -> LogReader:
        """Return what reads the inference log."""
        from cloche.assembly.log import open_log

        return open_log(self.home)

    def explain(self, error: ClocheError) -> list[str]:
        """Return how the home was found, where an error is about something that was looked for in it."""
        if not isinstance(error, _LOOKED_IN_THE_HOME):
            return []
        return [f"The home is {self.home.path} ({self.why}).{self._hint()}"]

    def _hint(self) -> str:
        inside = self.home.path / MARKS[0]
        if inside.is_dir():
            return f" There is a home inside it; did you mean --home {inside}?"
        return " Choose another with --home."


def find_place(given: str | None) -> Place:
    """Return the home that `--home` names, else the one that is found.

    Raises:
        click.BadParameter: it names none.
        HomeIsFile: there is a file in its place.
    """
    if given == "":
        raise click.BadParameter("it is empty; name a folder, or leave it out", param_hint="--home")
    if given is not None:
        return Place(home_at(given), "given with --home", chosen=True)
    home = find_home(os.environ)
    if os.environ.get("CLOCHE_HOME"):
        return Place(home, "from CLOCHE_HOME", chosen=True)
    marks = [mark for mark in MARKS if (home.path.parent / mark).exists()]
    if marks:
        return Place(home, f"found by {home.path.parent / marks[0]}")
    return Place(home, f"no folder from {home.path.parent} upwards has {' or '.join(MARKS)}")
