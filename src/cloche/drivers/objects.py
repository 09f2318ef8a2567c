"""Object stores by URL, through obstore: S3, Google Cloud Storage, Azure, and memory.

Its blocking functions are called in threads. Its asynchronous ones hand their results to Python from threads of their
own, and where the interpreter is about to end by then, as after a command that failed, they abort the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore as Store
from obstore.store import from_url

from cloche.errors import InvalidSetting, StoreUnavailable
from cloche.ports import check_key

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")

_METADATA = "169.254.169.254"
"""Where a machine in a cloud gets its credentials: who has set none is sent there."""

_QUERY = re.compile(r"\?\S+")

_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
"""Its own three minutes would keep a gateway from saying that it sees no new releases."""

_PROMPT: ClientConfig = {"read_timeout": "20s", "timeout": "1h"}
"""Its own thirty seconds for a whole request are too few for the blobs of large models. What stalls is given up
early."""

_LARGE = 1024 * 1024
"""Bytes that a slow line takes a while to send. Who uploads so much hears nothing until all is sent, so that an upload
which stalls is only known by the time that it takes."""

_UPLOAD_S = 60.0
_SLOWEST = 64 * 1024
"""Bytes a second of a line that is waited for."""


class ObstoreObjects:
    """Keeps the promise `ObjectStore`.

    Args:
        prompt: the store, given up where it says nothing for a while.
        patient: returns the same, for an upload that may take some seconds.
        where: it in words, without secrets.
    """

    def __init__(self, prompt: Store, patient: Callable[[float], Store], where: str) -> None:
        self._prompt = prompt
        self._patient = patient
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
            if parts.scheme == "memory":
                memory = from_url(url)
                return cls(memory, lambda _: memory, where)
            common = _plain_http(parts.scheme)
            prompt = from_url(url, retry_config=_RETRY, client_options=_PROMPT | common)

            def patient(seconds: float) -> Store:
                options: ClientConfig = {"timeout": f"{seconds:.3f}s"}
                return from_url(url, retry_config=_RETRY, client_options=options | common)

            return cls(prompt, patient, where)
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
            return await _in_thread(partial(_get, self._prompt, key))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole or not at all; False where the key was taken."""
        check_key(key)
        with self._translated():
            store = self._prompt if len(data) <= _LARGE else self._patient(_UPLOAD_S + len(data) / _SLOWEST)
            return await _in_thread(partial(_create, store, key, data))

    async def delete(self, key: str) -> None:
        """Delete the object; where there is none, that is as well."""
        check_key(key)
        with self._translated():
            await _in_thread(partial(_delete, self._prompt, key))

    async def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        check_key(prefix)
        with self._translated():
            keys = await _in_thread(partial(_keys, self._prompt, prefix, after))
        for key in keys:
            yield key

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Give a failure of the store our name. Its own words tell addresses, so they go to the log alone."""
        try:
            yield
        except BaseError as error:
            logger.warning("%s: %s", self._where, _first_line(error))
            raise StoreUnavailable(reason=_reason(error)) from error


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what comes of some work, done in a thread of its own.

    One that hangs takes no place in a pool, and does not keep the process from its end.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(_settle, ended, work(), None)
        except Exception as error:  # noqa: BLE001  it is raised where the work is waited for
            settle = partial(_settle, ended, None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(settle)

    Thread(target=run, name="object store", daemon=True).start()
    return await ended


def _settle(ended: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(result)
    else:
        ended.set_exception(error)


def _get(store: Store, key: str) -> bytes | None:
    try:
        return bytes(obstore.get(store, key).bytes())
    except FileNotFoundError:
        return None


def _create(store: Store, key: str, data: bytes) -> bool:
    try:
        obstore.put(store, key, data, mode="create", use_multipart=False)  # parts would not be put if absent
    except AlreadyExistsError:
        return False
    return True


def _delete(store: Store, key: str) -> None:
    with suppress(FileNotFoundError):
        obstore.delete(store, key)


def _keys(store: Store, prefix: str, after: str) -> list[str]:
    pages = obstore.list(store, prefix=prefix, offset=after or None)
    return sorted(found["path"] for page in pages for found in page)


def _plain_http(scheme: str) -> ClientConfig:
    """Return whether HTTP will do, as for a MinIO on the same host: options given here hide what obstore reads."""
    return {"allow_http": scheme == "s3" and os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")}


def _reason(error: BaseError) -> str:
    if isinstance(error, UnauthenticatedError):
        return "it does not accept the credentials"
    if isinstance(error, PermissionDeniedError):
        return "it does not permit that"
    if _METADATA in str(error):
        return "there are no credentials for it, neither in the environment nor from the cloud that this machine is in"
    return "it does not answer as it should"


def _first_line(error: Exception) -> str:
    """Return it without the query of any address, which is where some clouds sign."""
    return _QUERY.sub("?…", str(error).partition("\n")[0])
