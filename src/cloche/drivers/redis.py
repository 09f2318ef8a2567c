"""Records out to a stream of Redis, for whoever reads it: each exactly once, with the position in one script."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cloche.errors import InvalidSetting, SinkUnavailable
from cloche.log.reading import timestamp, to_json
from cloche.ports import Mark, Position
from cloche.secrets import without_secrets
from cloche.values import Record

STREAM = "cloche:log"
"""The stream, where the URL names none."""

_SCRIPT = files(__package__).joinpath("redis.lua").read_text("utf-8")
_CONNECT_S = 5.0
_ANSWER_S = 10.0
_encode = msgspec.json.Encoder().encode


class RedisSink:
    """Keeps the promise `Sink` by `XADD`, and the positions in a hash beside the stream.

    An entry has the fields `id`, `model`, `time`, `outcome` and `record`: the JSON that `cloche log export` writes. A
    script adds a batch and moves the position only from where this sink saw it last. So a batch whose answer got lost,
    or that a server which stood still carries out late, is never added twice.

    Args:
        client: the connection; it must never repeat a command by itself.
        stream: the key of the stream.
        most: about how many entries it may have; 0 for any number.
        where: it in words, without secrets.
    """

    def __init__(self, client: Redis, stream: str, most: int, where: str) -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._keys = [stream, f"{{{stream}}}:positions"]  # in braces: on the same node of a cluster
        self._most = most
        self._where = where
        self._known: dict[str, str] | None = None

    @classmethod
    def from_url(cls, address: str, folder: Path) -> RedisSink:
        """Return the sink at `redis://host:6379/0?stream=KEY&maxlen=NUMBER`; both parameters may be left out.

        Raises:
            InvalidSetting: the URL can't be used.
        """
        del folder
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query))
        stream, most = options.pop("stream", STREAM), options.pop("maxlen", "0")
        where = without_secrets(address)
        try:
            client = Redis.from_url(
                parts._replace(query=urlencode(options)).geturl(),
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
            )
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # refuses options that are none
            return cls(client, stream, int(most), where)
        except (ValueError, TypeError) as error:
            reason = f"{where} can't be used: {error}"
            raise InvalidSetting(name="log.sinks", source="the settings", reason=reason) from None

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Add the records to the stream and keep the mark; return how many there were."""
        known = await self._ask_positions() if self._known is None else self._known
        spool, had, gets = ("", "", "") if mark is None else (mark.spool, known.get(mark.spool, ""), _said(mark))
        arguments: list[str | bytes] = [spool, had, gets, str(self._most)]
        for record in records:
            arguments += _entry(record)
        with self._translated():
            added = int(await self._script(keys=self._keys, args=arguments))
        if added < 0:
            self._known = None
            raise SinkUnavailable(where=self._where, reason="another keeper ships the same spool")
        if mark is not None:
            known[spool] = gets
        return added

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        known = await self._ask_positions()
        return {spool: Position(*map(int, position.split(":"))) for spool, position in known.items()}

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        with self._translated():
            await self._client.hdel(self._keys[1], spool)
        if self._known is not None:
            self._known.pop(spool, None)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def _ask_positions(self) -> dict[str, str]:
        with self._translated():
            found = await self._client.hgetall(self._keys[1])
        self._known = {str(spool): str(position) for spool, position in found.items()}
        return self._known

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise SinkUnavailable(where=self._where, reason=error or type(error).__name__) from error


def _said(mark: Mark) -> str:
    return f"{mark.position.segment}:{mark.position.offset}"


def _entry(record: Record) -> list[str | bytes]:
    """Return a record as the script takes it."""
    name = str(uuid.UUID(bytes=record.id))
    return [name, record.model, timestamp(record.time_us), record.outcome, _encode(to_json(record))]
