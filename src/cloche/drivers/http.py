"""Records out to an HTTP endpoint, as JSON Lines: each at least once, and its id tells a repetition."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import urllib3

from cloche.errors import InvalidSetting, NewerFormat, SinkUnavailable
from cloche.log.reading import to_json
from cloche.ports import Mark, Position
from cloche.secrets import without_secrets
from cloche.values import Record

_MOST_BYTES = 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=5.0, read=10.0)
_FORMAT = 1
_logger = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class _Kept(msgspec.Struct, frozen=True):
    """The file of positions."""

    address: str
    """Without secrets."""
    positions: dict[str, Position]
    format: int = _FORMAT


class HttpSink:
    """Keeps the promise `Sink` as far as an endpoint can: it is POSTed batches of at most a megabyte, in order.

    A line is what `cloche log export` writes. A batch counts as taken once it was answered with a status of 200 to 299;
    then the position is written to a file of this host. What was taken and not answered, or answered while this host
    died, is sent again. `Idempotency-Key` is the same where the whole batch is.

    Args:
        url: the endpoint, without user and password.
        headers: what goes with each request.
        kept: the file of the positions.
    """

    def __init__(self, url: str, headers: Mapping[str, str], kept: Path) -> None:
        self._url = url
        self._where = without_secrets(url)
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": "cloche", **headers}
        self._kept = kept
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, timeout=_TIMEOUT, retries=False)
        self._positions: dict[str, Position] | None = None
        self._changing = threading.Lock()  # not of asyncio: a thread goes on when who waits for it is cancelled

    @classmethod
    def from_url(cls, address: str, folder: Path) -> HttpSink:
        """Return the sink at `https://user:password@host/path`, or `https://token@host/path` for a bearer token.

        Raises:
            InvalidSetting: the URL can't be used.
        """
        parts = urlsplit(address)
        if not parts.hostname:
            reason = f"{without_secrets(address)} names no host"
            raise InvalidSetting(name="log.sinks", source="the settings", reason=reason)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        name = hashlib.sha256(without_secrets(address).encode()).hexdigest()[:16]
        return cls(url, _authorization(parts.username, parts.password), folder / f"sent-{name}.json")

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Send the records, then keep the mark; return how many there were."""
        if self._positions is None:
            await self.positions()
        for key, body in _parts(records):
            await asyncio.to_thread(self._send, key, body)
        if mark is not None:
            await asyncio.to_thread(self._note, mark)
        return len(records)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool of this host."""
        return await asyncio.to_thread(self._look)

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        await asyncio.to_thread(self._drop, spool)

    async def close(self) -> None:
        """Let go of the connection."""
        self._pool.clear()

    def _send(self, key: str, body: bytes) -> None:
        headers = {**self._headers, "Idempotency-Key": key}
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SinkUnavailable(where=self._where, reason=_why(error)) from error
        if not 200 <= answer.status < 300:
            raise SinkUnavailable(where=self._where, reason=f"it answered {answer.status} to {len(body):,} bytes")

    def _look(self) -> dict[str, Position]:
        with self._changing:
            self._positions = self._read()
            return dict(self._positions)

    def _note(self, mark: Mark) -> None:
        with self._changing:
            positions = self._read() if self._positions is None else self._positions
            self._keep(positions | {mark.spool: mark.position})

    def _drop(self, spool: str) -> None:
        with self._changing:
            positions = self._read()
            if positions.pop(spool, None) is not None:
                self._keep(positions)

    def _read(self) -> dict[str, Position]:
        try:
            data = self._kept.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            kept = msgspec.json.decode(data, type=_Kept)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _logger.error("%s can't be read (%s): what is in the spools is sent again", self._kept, error)
            return {}
        if kept.format > _FORMAT:
            raise NewerFormat(what=f"the positions in {self._kept}", found=kept.format, known=_FORMAT)
        return kept.positions

    def _keep(self, positions: dict[str, Position]) -> None:
        """Write the file, on the disk when it returns."""
        self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self._kept.with_suffix(".new")
        try:
            with unfinished.open("wb") as file:
                file.write(_encode(_Kept(self._where, positions)))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._kept)
        except OSError as error:
            reason = f"what it has taken can't be noted here: {error.strerror}"
            raise SinkUnavailable(where=self._where, reason=reason) from error
        self._positions = positions


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    if password is None:
        return {"Authorization": f"Bearer {unquote(user)}"}
    return urllib3.make_headers(basic_auth=f"{unquote(user)}:{unquote(password)}")


def _parts(records: Sequence[Record]) -> Iterator[tuple[str, bytes]]:
    """Yield the records as bodies of bounded size, each with a key that stands for exactly these bytes."""
    lines: list[bytes] = []
    first, size = b"", 0
    for record in records:
        line = _encode(to_json(record)) + b"\n"
        if lines and size + len(line) > _MOST_BYTES:
            yield _key(first, lines), b"".join(lines)
            lines, size = [], 0
        first = first if lines else record.id
        lines.append(line)
        size += len(line)
    if lines:
        yield _key(first, lines), b"".join(lines)


def _key(first: bytes, lines: list[bytes]) -> str:
    """Return a key of a batch: a longer batch that begins with the same record is another one."""
    return f"{uuid.UUID(bytes=first)}-{hashlib.sha256(b''.join(lines)).hexdigest()[:16]}"


def _why(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError):
        return "it can't be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it does not answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"its certificate or its TLS: {error}"
    return f"the connection failed: {type(error).__name__}"
