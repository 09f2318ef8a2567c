"""What every kind of thing that can be published says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeAlias

from cloche.authoring.draft import Draft
from cloche.authoring.pickling import Pickles
from cloche.authoring.sources import Code
from cloche.authoring.traits import Traits
from cloche.model import Bundle
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest

Look: TypeAlias = Callable[[], Traits]
"""Lets a fresh worker open what was packed as a pickle, and say what it is."""


class OnlyWorkersOpenIt(Exception):
    """The model, or something that it reads, is a file that this process never opens."""


@dataclass(frozen=True)
class Packed:
    """A model as files of a bundle."""

    files: Mapping[str, bytes]
    """Path below the bundle, such as `files/model.pkl` -> content."""
    entry: str
    """The manifest's `entry`: one of these files, or `module:name`."""
    pickles: tuple[str, ...] = ()
    """Those of the files that refer to the author's own modules, which go into the bundle with them."""
    executables: frozenset[str] = frozenset()
    """Those of the files that may be run as programs."""
    requires: tuple[str, ...] = ()
    """Distributions that it says it needs, imported or not."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the manifest that only this kind knows."""
    notices: tuple[str, ...] = ()
    """What the author should know."""
    code: Code = field(default_factory=Code)
    """The author's own modules, which are among the files as well."""


class Kind(Protocol):
    """A kind of thing that can be published. It is a value without state; `KINDS` lists them."""

    @property
    def is_asked_here(self) -> bool:
        """Whether the author's process asks the object itself; else a worker of its own is asked in its place."""
        ...

    def claims(self, model: object) -> bool:
        """Tell whether the model is of this kind; nothing is opened or imported for it."""
        ...

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Return the model as files.

        Raises:
            NotPublishable: it can't be written, or is no model; with what to do.
            MissingExtra: a package that this needs is not installed.
        """
        ...

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Return what there is to know of the model without asking it.

        Raises:
            NotPublishable, DoesNotLoad, MissingExtra: it can't be read.
        """
        ...

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Return the function that asks the author's own object.

        Args:
            draft: with the object.
            manifest: how it is asked.
            bundle: the files that were given with it.

        Raises:
            OnlyWorkersOpenIt: it can't be asked here.
        """
        ...


class AskedOfWorkers:
    """A part of those kinds that the author's process never asks itself."""

    is_asked_here = False

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> NoReturn:
        """Refuse."""
        del manifest, bundle
        raise OnlyWorkersOpenIt(draft.name)
