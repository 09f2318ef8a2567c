"""A `cloche.Command`: a program of any language that reads rows as JSON Lines and answers JSON Lines."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import AskedOfWorkers, Look, Packed
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits
from cloche.errors import NotPublishable
from cloche.model import Command


class CommandLine(AskedOfWorkers):
    """A program is the author's code, of which this process knows nothing: only a worker runs it."""

    def claims(self, model: object) -> bool:
        """Tell by its class."""
        return isinstance(model, Command)

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write its words down; its files are those that were given with it."""
        del pickles
        words, files = _checked(draft.model.words), draft.files or {}
        own = [name for name in map(posixpath.normpath, words) if name in files]  # ./score.sh is score.sh
        program = posixpath.normpath(words[0])
        return Packed(
            {},
            f"files/{own[0]}" if own else "",
            executables=frozenset([f"files/{program}"] if program in files else []),
            fields={"command": words},
        )

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Say that it takes rows."""
        del packed, look
        return Traits(f"command {draft.model.words[0]}", "command")


def _checked(words: Sequence[str]) -> list[str]:
    if isinstance(words, str) or not words or not all(isinstance(word, str) and word for word in words):
        reason = "give the program and its arguments as a list of texts: Command(['Rscript', 'score.R'])"
        raise NotPublishable(kind="command", reason=reason)
    return list(words)
