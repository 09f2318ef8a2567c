"""Calls of the two arms of a rollout, kept in a real log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.columns import pack_text
from cloche.ports import Mark, Position
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, Manifest, Provenance
from cloche.testing import make_record
from cloche.values import Personal, Record, Timings


def manifest(version: str = "1.0.0", **fields: object) -> Manifest:
    """The manifest of a version whose answer is its score."""
    return Manifest(
        format=MANIFEST_FORMAT,
        name="delays",
        version=version,
        flavor="python",
        files=[],
        entry="files/model.pkl",
        input_schema={},
        provenance=Provenance("ada", 0),
        environment=Environment("", "", "", {}),
        **{"score": "", **fields},
    )


def call(
    number: int,
    time_us: int,
    version: str = "2.0.0",
    *,
    outcome: str = "ok",
    fallback: str | None = None,
    answer: bytes = b"[1.5]",
    latency_us: int = 9_000,
    **fields: object,
) -> Record:
    """A call of an arm: of the canary where the version is 2.0.0."""
    canary = version == "2.0.0"
    return msgspec.structs.replace(
        make_record(number),
        time_us=time_us,
        version=version,
        outcome=outcome,
        fallback=fallback,
        timings=Timings(predict_us=latency_us - 100, validate_us=100),
        personal=msgspec.msgpack.encode(Personal(input=pack_text(b"[{}]"), output=pack_text(answer))),
        **({"model": "delays", "variant": "canary" if canary else "stable", "reason": "canary"} | fields),
    )


class Log:
    """A log in a folder, that grows."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.db"
        self._written = 0

    @property
    def reader(self) -> SqliteReader:
        return SqliteReader(self._path)

    async def write(self, records: Sequence[Record]) -> None:
        self._written += 1
        sink = SqliteSink(self._path)
        await sink.write(records, Mark("spool", Position(1, self._written)))
        await sink.close()
