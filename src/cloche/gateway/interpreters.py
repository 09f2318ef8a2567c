"""The interpreters of a gateway's versions: asked for where one is loaded, or ahead of that; and what is being made.

Environments may have to be built for them, which takes a while. Who waits for a version is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from cloche.environments.python import PythonOf, this_python
from cloche.errors import ClocheError
from cloche.gateway.loading import Pinned
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry

logger = logging.getLogger(__name__)

AHEAD_PAUSE_S = 0.1
"""Between two versions whose environments are made ahead: calls go first."""


class VersionInterpreters:
    """Asks for the interpreters of versions.

    Args:
        registry: has the manifests of those that are not loaded yet.
        python_of: finds the interpreter of a version, or makes it.
    """

    def __init__(self, registry: Registry, python_of: PythonOf) -> None:
        self._registry = registry
        self._python_of = python_of
        self._doing: dict[str, str] = {}
        """Digest of a version -> what is being made for it, in words."""
        self._ahead: asyncio.Task[None] | None = None

    async def of(self, manifest: Manifest, digest: str) -> str:
        """Return the interpreter of a version's worker. An environment that has to be built for it takes a while.

        Raises:
            ClocheError, OSError: there is none, and none can be made.
        """
        try:
            return await self._python_of(manifest, partial(self._doing.__setitem__, digest))
        finally:
            self._doing.pop(digest, None)

    def doing(self, digests: Collection[str]) -> str | None:
        """Return what is being made for one of these versions, where something is."""
        return next((doing for digest, doing in self._doing.items() if digest in digests), None)

    def make_ahead(self, sleeping: Sequence[Pinned]) -> None:
        """Make those of versions that are not to be loaded yet, one after another, without a hurry.

        So the call that wakes a model does not wait for that.
        """
        if self._python_of is not this_python:
            self._ahead = asyncio.get_running_loop().create_task(self._make_ahead(sleeping))

    async def close(self) -> None:
        """Make nothing ahead any longer."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])

    async def _make_ahead(self, sleeping: Sequence[Pinned]) -> None:
        made: set[bytes] = set()
        left = list(sleeping)
        for pinned in left:  # grows by the steps of ensembles
            try:
                await self._registry.verdict(pinned.model, pinned.version, pinned.digest)
                manifest = await self._registry.described(pinned.model, pinned.version, pinned.digest)
                left += [Pinned(step.model, step.version, step.digest) for step in (manifest.steps or {}).values()]
                environment = msgspec.json.encode((manifest.environment, manifest.vendored))
                if environment not in made:
                    made.add(environment)
                    await self.of(manifest, pinned.digest)
            except (ClocheError, OSError) as error:
                logger.warning("%s %s will not load: %s", pinned.model, pinned.version, error)
            await asyncio.sleep(AHEAD_PAUSE_S)
