"""Object stores by URL, through obstore: S3, Google Cloud Storage, Azure, and memory."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore as Store
from obstore.store import from_url

from cloche.errors import InvalidSetting, StoreUnavailable
from cloche.ports import check_key

if TYPE_CHECKING:
    from obstore.store import RetryConfig

logger = logging.getLogger(__name__)

_QUERY = re.compile(r"\?\S+")

_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
"""Its own three minutes would keep a gateway from saying that it sees no new releases."""


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
            return cls(from_url(url, retry_config=_RETRY), where)
        except (BaseError, ValueError) as error:
            reason = f"{where}: {_first_line(error)}"
            raise InvalidSetting(name="registry", source="its URL", reason=reason) from None

    @property
    def where(self) -> str:
        """The URL, without user, password and query."""
        return self._where

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        check_key(key)
        with self._translated():
            try:
                found = await obstore.get_async(self._store, key)
            except FileNotFoundError:
                return None
            return bytes(await found.bytes_async())

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole or not at all; False where the key was taken."""
        check_key(key)
        with self._translated():
            try:
                await obstore.put_async(self._store, key, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

    async def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        check_key(prefix)
        keys: list[str] = []
        with self._translated():
            async for page in obstore.list(self._store, prefix=prefix, offset=after or None):
                keys.extend(found["path"] for found in page)
        for key in sorted(keys):
            yield key

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Give a failure of the store our name. Its own words tell addresses, so they go to the log alone."""
        try:
            yield
        except BaseError as error:
            logger.warning("%s: %s", self._where, _first_line(error))
            raise StoreUnavailable(reason=_reason(error)) from error


def _reason(error: BaseError) -> str:
    if isinstance(error, UnauthenticatedError):
        return "it does not accept the credentials"
    if isinstance(error, PermissionDeniedError):
        return "it does not permit that"
    return "it does not answer as it should"


def _first_line(error: Exception) -> str:
    """Return it without the query of any address, which is where some clouds sign."""
    return _QUERY.sub("?…", str(error).partition("\n")[0])
