"""When releases were written, model by model: what was live at a moment is found without reading them all again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloche.registry.release import Release


class Timeline:
    """The numbers and moments of releases. Their contents stay in the registry."""

    def __init__(self) -> None:
        self._written: dict[str, list[tuple[int, int]]] = {}

    def note(self, release: Release) -> None:
        """Add a release; they come in the order of their numbers."""
        for name in release.models:
            self._written.setdefault(name, []).append((release.created_us, release.number))

    def begin_with(self, written: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        """Forget all, and know this instead (see `written`)."""
        self._written = {model: list(releases) for model, releases in written.items()}

    @property
    def written(self) -> dict[str, list[tuple[int, int]]]:
        """Model -> moment (microseconds UTC) and number of each of its releases, the oldest first."""
        return {model: list(releases) for model, releases in self._written.items()}

    def at(self, model: str, moment_us: int) -> int | None:
        """Return the release of a model that was in force at a moment, or None where there was none yet.

        It is the newest that was written by then, so that one writer whose clock is wrong hides no other's release.
        """
        written = reversed(self._written.get(model, []))
        return next((number for created_us, number in written if created_us <= moment_us), None)

    def before(self, model: str, number: int) -> int | None:
        """Return the release of a model that came before `number`, or None."""
        written = reversed(self._written.get(model, []))
        return next((earlier for _, earlier in written if earlier < number), None)
