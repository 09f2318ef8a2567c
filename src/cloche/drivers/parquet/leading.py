"""Which of the keepers leads that share a log in an object store."""

from __future__ import annotations

from cloche.drivers import open_objects
from cloche.upkeep.leading import LeadingByTerms


class ParquetLeadership(LeadingByTerms):
    """Keeps the promise `Leadership` beside the log, by terms."""

    @classmethod
    def from_url(cls, address: str, name: str) -> ParquetLeadership:
        """Return what says whether the keeper of this name leads, for the log at `parquet+URL`.

        Raises:
            InvalidSetting: it is no URL of an object store.
        """
        return cls(open_objects(address.removeprefix("parquet+")), name)
