"""What came of an order to forget somebody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from cloche.erasure.wanted import Found, Wanted
from cloche.errors import ClocheError


class Reached(msgspec.Struct, frozen=True):
    """What came of it in one place."""

    place: str
    erased: int = 0
    """Records, answers, rows or files, as the place has them."""
    left: list[str] = []
    """What may still be there, and why, in sentences."""
    done: bool = True
    """Whether nothing is left to do here for Cloche itself."""


class Hold(msgspec.Struct, frozen=True):
    """A hold, or the end of one: why something is not forgotten."""

    number: int
    """Of the order."""
    model: str | None
    by: str
    reason: str
    time: str


class Report(msgspec.Struct, frozen=True):
    """What came of an order to forget somebody."""

    order: int | None
    """Its number; None where none was given, since all of it is held."""
    erased: int
    """Records of inferences whose personal part is gone from the log."""
    places: list[Reached]
    held: list[Hold] = []

    @property
    def done(self) -> bool:
        """Whether everything that Cloche can do is done; otherwise the keeper tries again."""
        return all(place.done for place in self.places)


class Place(Protocol):
    """Somewhere that Cloche keeps what may be about people, besides the log."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Take out what is about them, and say what came of it.

        Args:
            wanted: who is to be forgotten.
            found: what the log had of them.

        Raises:
            ClocheError, OSError: it can't be done now.
        """
        ...


async def tried(name: str, work: Callable[[], Awaitable[Reached]]) -> Reached:
    """Return what came of it in one place; a failure is something that is left."""
    try:
        return await work()
    except ClocheError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.strerror or error}."
    return Reached(name, left=[f"It could not be done: {reason} The keeper tries again."], done=False)
