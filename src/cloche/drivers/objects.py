"""Object stores by URL, through obstore: S3, Google Cloud Storage, Azure, and memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore as Store
from obstore.store import from_url

from cloche.errors import InvalidSetting
from cloche.ports import check_key


class ObstoreObjects:
    """Keeps the promise `ObjectStore`."""

    def __init__(self, store: Store, where: str) -> None:
        self._store = store
        self._where = where

    @classmethod
    def from_url(cls, url: str) -> ObstoreObjects:
        """Return the store at `url`. Credentials come from the environment, as the cloud's own tools find them.

        Raises:
            InvalidSetting: the URL can't be used.
        """
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        try:
            return cls(from_url(url), where)
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidSetting(name="registry", source="its URL", reason=f"{where}: {reason}") from None

    @property
    def where(self) -> str:
        """The URL, without user, password and query."""
        return self._where

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        try:
            found = await obstore.get_async(self._store, check_key(key))
        except FileNotFoundError:
            return None
        return bytes(await found.bytes_async())

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole or not at all; False where the key was taken."""
        try:
            await obstore.put_async(self._store, check_key(key), data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    async def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        keys: list[str] = []
        async for page in obstore.list(self._store, prefix=check_key(prefix), offset=after or None):
            keys.extend(found["path"] for found in page)
        for key in sorted(keys):
            yield key
