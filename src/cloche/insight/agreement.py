"""Compares shadows with the live calls that they were asked beside, from the log; no record is read twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cloche.insight.comparison import Comparison, Tallied, comparison_of
from cloche.insight.observe import draw_of
from cloche.insight.pairs import compare
from cloche.ports import Filter, LogReader
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.values import Record


class Agreement:
    """What the log says of the shadows of one model since a moment.

    A shadow's record has the time of the live call, and comes into the log after it. So the last stretch, into which
    records may still come, is read anew at every look; what lies before it is settled. It begins before the newest
    record that is in the log, however long ago that was: what waits to be shipped is still to come.

    Args:
        log: where the records are.
        registry: where the manifests of the versions are.
        model: its name.
        since_us: from when on.
        late_ms: how long after a live call arrived its shadow may still come into the log.
    """

    def __init__(self, log: LogReader, registry: Registry, model: str, since_us: int, late_ms: int) -> None:
        self._log = log
        self._registry = registry
        self._model = model
        self._late_us = late_ms * 1000
        self._settled: dict[str, Tallied] = {}
        self._settled_us = self._newest_us = since_us
        self._manifests: dict[str, Manifest] = {}

    async def look(self, now_us: int) -> list[Comparison]:
        """Return what is known now of every version that was a shadow.

        Raises:
            LogError, RegistryError: the log or a manifest can't be read.
        """
        until_us = max(min(now_us, self._newest_us) - self._late_us, self._settled_us)
        settled = _copied(self._settled)
        recent: dict[str, Tallied] | None = None
        async for together in self._moments():
            if recent is None and together[0].time_us >= until_us:
                recent = _copied(settled)
            await self._note(settled if recent is None else recent, together)
            self._newest_us = max(self._newest_us, together[0].time_us)
        self._settled, self._settled_us = settled, until_us
        found = settled if recent is None else recent
        return [comparison_of(version, found[version]) for version in sorted(found)]

    async def _moments(self) -> AsyncIterator[list[Record]]:
        """Yield the records of shadows and of their live calls, together those of one microsecond."""
        together: list[Record] = []
        wanted = Filter(model=self._model, since_us=self._settled_us, shadowed=True)
        async for record in self._log.scan(wanted):
            if together and together[0].time_us != record.time_us:
                yield together
                together = []
            together.append(record)
        if together:
            yield together

    async def _note(self, found: dict[str, Tallied], together: list[Record]) -> None:
        live = {record.id: record for record in together if record.shadows is None}
        for shadow in (record for record in together if record.shadows is not None):
            beside = live.get(shadow.shadows or b"")
            tallied = found.setdefault(shadow.version, Tallied())
            tallied.note(beside, shadow)
            draw = draw_of(shadow)
            if beside is None or not tallied.keeps(draw):
                continue
            versions = await self._manifest(beside.version), await self._manifest(shadow.version)
            if pair := compare(beside, shadow, versions):
                tallied.keep(draw, shadow.id, pair)

    async def _manifest(self, version: str) -> Manifest:
        if version not in self._manifests:
            self._manifests[version], _ = await self._registry.manifest(self._model, version)
        return self._manifests[version]


def _copied(found: dict[str, Tallied]) -> dict[str, Tallied]:
    return {version: tallied.copy() for version, tallied in found.items()}
