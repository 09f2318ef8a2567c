"""Ships what lies in spools to the sink, and deletes only what the sink has made durable. Runs in the keeper."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from cloche.errors import LogError, NewerFormat
from cloche.log.quarantine import Quarantine
from cloche.log.segments import (
    HEADER_BYTES,
    Damage,
    Frame,
    locked,
    read_segment,
    segment_numbers,
    segment_path,
    spool_folders,
)
from cloche.ports import Position, Sink
from cloche.values import RECORD_FORMAT, Record

_BATCH_RECORDS = 1000
_BATCH_BYTES = 4 * 1024 * 1024
_BATCHES_A_TURN = 16
_POLL_S = 0.15
_SUSPECT_S = 0.1
_BACK_OFF_S = (0.2, 10.0)
_DRAIN_TRIES = 5
_decode = msgspec.msgpack.Decoder(Record).decode
_log = logging.getLogger(__name__)


class ShipState(msgspec.Struct, frozen=True):
    """How shipping is doing, for `/ready` and `/metrics`."""

    shipped: int = 0
    """Records that were new to the sink."""
    backlog_bytes: int = 0
    """Bytes in spools that the sink does not have yet."""
    oldest_us: int | None = None
    """When the oldest record that the sink refused to take was made; None while it takes them."""
    quarantined: int = 0
    """Damaged regions that were set aside."""
    torn: int = 0
    """Writes that a crash cut short. Nobody was answered for them."""
    reason: str | None = None
    """Why it does not get on; None while it does."""


class _Batch(msgspec.Struct):
    """What is next in a spool."""

    position: Position
    records: list[Record] = []
    damaged: list[tuple[Path, Damage, str]] = []
    torn: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.records) >= _BATCH_RECORDS or self.size >= _BATCH_BYTES


class Shipper:
    """Reads every spool below a folder, those of living gateways too, from where the sink says it has got."""

    def __init__(self, spool_root: Path, sink: Sink) -> None:
        self._root = spool_root
        self._sink = sink
        self._quarantine = Quarantine(spool_root)
        self._positions: dict[str, Position] | None = None
        self._suspects: dict[str, tuple[Position, float]] = {}
        self._state = ShipState(quarantined=len(self._quarantine.notes()))

    @property
    def state(self) -> ShipState:
        """How it is doing."""
        return self._state

    async def ship_once(self) -> int:
        """Take one turn through all spools; return how many records were given to the sink.

        Raises:
            LogError: the sink did not take them; they stay where they are.
        """
        shipped = 0
        blocked = None
        folders = await asyncio.to_thread(spool_folders, self._root)
        try:
            if self._positions is None:
                self._positions = await self._load_positions({folder.name for folder in folders})
            for folder in folders:
                try:
                    shipped += await self._ship_spool(folder, self._positions)
                except (NewerFormat, OSError) as error:
                    blocked = str(error)
        except BaseException:
            self._positions = None
            raise
        backlog = await asyncio.to_thread(_backlog, folders, self._positions)
        self._note_reason(blocked)
        self._note(backlog_bytes=backlog, oldest_us=None)
        return shipped

    async def run(self, stop: asyncio.Event) -> None:
        """Ship until `stop` is set, and then what is left. A sink that fails is asked again, ever less often."""
        failures = 0
        while True:
            stopping = stop.is_set()
            try:
                idle = not await self.ship_once()
                failures = 0
            except LogError as error:
                idle, failures = False, failures + 1
                self._note_reason(str(error))
            if stopping and (idle or failures >= _DRAIN_TRIES):
                return
            if failures:
                await _pause(stop, min(_BACK_OFF_S[0] * 2**failures, _BACK_OFF_S[1]))
            elif idle:
                await _pause(stop, _POLL_S)

    async def _load_positions(self, spools: set[str]) -> dict[str, Position]:
        positions = await self._sink.positions()
        for spool in positions.keys() - spools:
            await self._sink.retire(spool)
            del positions[spool]
        return positions

    async def _ship_spool(self, folder: Path, positions: dict[str, Position]) -> int:
        spool = folder.name
        shipped = 0
        with locked(folder) as gone:
            for _ in range(_BATCHES_A_TURN):
                before = positions.get(spool, Position())
                batch = await asyncio.to_thread(self._next_batch, folder, before, gone)
                if batch.position == before:
                    break
                await self._hand_over(batch, spool)
                positions[spool] = batch.position
                shipped += len(batch.records)
            if await asyncio.to_thread(_delete_shipped, folder, positions.get(spool, Position()), gone):
                await self._sink.retire(spool)
                positions.pop(spool, None)
        return shipped

    async def _hand_over(self, batch: _Batch, spool: str) -> None:
        for path, damage, why in batch.damaged:
            await asyncio.to_thread(self._quarantine.add, path, damage, why)
        try:
            new = await self._sink.write(batch.records, spool, batch.position)
        except LogError:
            if batch.records:
                self._note(oldest_us=batch.records[0].time_us)
            raise
        self._note(
            shipped=self._state.shipped + new,
            quarantined=len(self._quarantine.notes()) if batch.damaged else self._state.quarantined,
            torn=self._state.torn + batch.torn,
        )

    def _next_batch(self, folder: Path, position: Position, gone: bool) -> _Batch:
        batch = _Batch(position)
        numbers = segment_numbers(folder)
        for number in numbers:
            if number < position.segment or batch.full:
                continue
            offset = position.offset if number == position.segment else 0
            try:
                self._read_into(batch, segment_path(folder, number), offset, (number != numbers[-1], gone))
            except FileNotFoundError:  # its writer gave it up
                continue
            except NewerFormat:
                if batch.position == position:
                    raise
                return batch
        return batch

    def _read_into(self, batch: _Batch, path: Path, offset: int, ended: tuple[bool, bool]) -> None:
        sealed, gone = ended
        number = int(path.stem)
        for piece in read_segment(path, path.parent.name, offset):
            if isinstance(piece, Damage):
                if piece.tail and not sealed and not gone:
                    return
                if piece.tail and not sealed:
                    batch.torn += 1
                    _log.warning("the last write of spool %s was cut short, as by a crash", path.parent.name)
                elif not (sealed or gone or self._seen_before(path.parent.name, Position(number, piece.start))):
                    return
                else:
                    batch.damaged.append((path, piece, "no valid frame"))
            else:
                _take(batch, path, offset, piece)
            offset = piece.end
            batch.position = Position(number, offset)
            if batch.full:
                return

    def _seen_before(self, spool: str, position: Position) -> bool:
        """Damage in a segment that is being written counts only when it is still there a moment later."""
        seen, since = self._suspects.get(spool, (None, 0.0))
        if seen != position:
            self._suspects[spool] = (position, time.monotonic())
            return False
        return time.monotonic() - since >= _SUSPECT_S

    def _note_reason(self, reason: str | None) -> None:
        if reason and reason != self._state.reason:
            _log.error("records can't be shipped: %s", reason)
        self._note(reason=reason)

    def _note(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)


def _take(batch: _Batch, path: Path, start: int, frame: Frame) -> None:
    batch.size += len(frame.payload)
    try:
        batch.records.append(decode_record(frame.payload))
    except msgspec.DecodeError as error:
        batch.damaged.append((path, Damage(start, frame.end, False), f"no record: {error}"))


def decode_record(payload: bytes) -> Record:
    """Return the record of a frame.

    Raises:
        NewerFormat: a later Cloche wrote it.
        msgspec.DecodeError: it is none.
    """
    try:
        record = _decode(payload)
        version = record.format
    except msgspec.ValidationError:
        version = msgspec.msgpack.decode(payload, type=_Stamp).format
        if version <= RECORD_FORMAT:
            raise
    if version > RECORD_FORMAT:
        raise NewerFormat(what="a record in the spool", found=version, known=RECORD_FORMAT)
    return record


class _Stamp(msgspec.Struct, array_like=True):
    format: int


def _delete_shipped(folder: Path, position: Position, gone: bool) -> bool:
    """Delete what the sink has; return whether the whole spool is gone. The caller holds the lock of a dead one."""
    numbers = segment_numbers(folder)
    left = []
    for number in numbers:
        path = segment_path(folder, number)
        size = path.stat().st_size
        if (gone or number != numbers[-1]) and (position >= Position(number, size) or size <= HEADER_BYTES):
            path.unlink()
        else:
            left.append(number)
    if gone and not left:
        shutil.rmtree(folder)
    return gone and not left


def _backlog(folders: list[Path], positions: dict[str, Position]) -> int:
    total = 0
    for folder in folders:
        position = positions.get(folder.name, Position())
        for number in segment_numbers(folder):
            if number >= position.segment:
                done = max(HEADER_BYTES, position.offset if number == position.segment else 0)
                with suppress(FileNotFoundError):
                    total += max(0, segment_path(folder, number).stat().st_size - done)
    return total


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, until `stop` is set at the latest."""
    if stop.is_set():
        await asyncio.sleep(min(seconds, _POLL_S))
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
