"""What a home needs once its files are back: numbers for releases that nobody has used, and a look at everything."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cloche.errors import ClocheError
from cloche.log.verify import Report, verify
from cloche.ports import LogReader, ObjectStore
from cloche.registry.audit import Audit, audit
from cloche.registry.release import Reason, Releases

_UNKNOWN = (
    "The log could not be read to its end, so the next release may get a number that it names already. See to that "
    "before you release anything: restore again, into another home, once the log can be read."
)


class Finished(msgspec.Struct):
    """What was done and found."""

    log: Report | None = None
    registry: Audit | None = None
    placeholders: list[int] = []
    """Releases that change nothing, in the place of lost ones."""
    forgotten: int = 0
    """Records that orders to forget were about, and that are erased again."""
    undone: list[str] = []
    """What could not be done, and why, one sentence each."""

    @property
    def ok(self) -> bool:
        """Whether all was done, and everything is as it was written."""
        return not self.undone and bool(self.log and self.log.ok and self.registry and not self.registry.faults)


async def finish(store: ObjectStore, reader: LogReader, spool_root: Path, reason: Reason, finished: Finished) -> None:
    """Look at everything, and see that the next release gets a number above all that registry and log have used.

    Args:
        store: of the registry.
        reader: of the log.
        spool_root: where what is not shipped yet lies.
        reason: why there are placeholders.
        finished: what is found is noted here.
    """
    finished.log = await verify(reader, spool_root)
    if finished.log.faults:
        finished.undone.append(_UNKNOWN)
    try:
        finished.placeholders = await Releases(store).skip_to(finished.log.newest_release, reason)
        finished.registry = await audit(store)
    except (ClocheError, OSError) as error:
        finished.undone.append(f"The registry can't be looked at: {error}")
