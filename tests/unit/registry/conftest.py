import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


class Meddling:
    """An object store in which somebody else writes a release just before ours."""

    def __init__(self, store):
        self._store = store
        self.meddle = None

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def put_if_absent(self, key, data):
        if key.startswith("releases/") and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            await meddle()
        return await self._store.put_if_absent(key, data)


@pytest.fixture
async def meddled(registry):
    registry._store = registry.releases._store = Meddling(registry._store)
    return registry
