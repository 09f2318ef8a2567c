"""Writing inferences to a file that is whole or not there, in pieces, so that an export that was cut short goes on."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import msgspec

from cloche.errors import (
    ExportDamaged,
    ExportDiffers,
    ExportInUse,
    ExportNotWritten,
    ExportUnfinished,
    NewerFormat,
)
from cloche.log.reading import to_json
from cloche.log.search import Query, cursor_of
from cloche.ports import Cursor, LogReader, TableFile
from cloche.values import Record

STATE_FORMAT = 1

_MOST_RECORDS = 10_000
_MOST_BYTES = 16 * 1024 * 1024
"""Of the personal parts of one piece, as they are packed: what bounds the memory."""

_LOOKED_AT = 50_000
"""Records that are looked at for one piece; then a new scan begins, since one holds back the cleaning of the store."""

_TOLD = 500
_encode = msgspec.json.Encoder().encode

Progress = Callable[[int, int], None]
"""Is told how many have been written, and the time of the last one, in microseconds UTC."""

LastLook = Callable[[Path], Awaitable[object]]
"""Is given a complete file before that has its name, and may change it."""


async def leave_it(file: Path) -> None:
    """Leave a file as it is."""
    del file


class _Formatted(msgspec.Struct, frozen=True):
    format: int


class State(msgspec.Struct, frozen=True):
    """How far an export has come: what lies in its folder is that, and perhaps a piece more."""

    query: Query
    """With an end: the moment when it began, or an earlier one."""
    begun_us: int
    written: int = 0
    mark: int = 0
    """Of the file."""
    after: Cursor | None = None
    """The last record that was looked at."""
    finished: bool = False
    format: int = STATE_FORMAT


def folder_of(out: Path) -> Path:
    """Return the folder in which a file is made until it is whole."""
    return out.with_name(f"{out.name}.part")


def unfinished(out: Path) -> State | None:
    """Return how far an export to a file had come when it was cut short, or None where there is none.

    Raises:
        NewerFormat: a later Cloche wrote it.
        ExportDamaged: nobody can tell.
    """
    try:
        text = _state_file(out).read_bytes()
    except FileNotFoundError:
        return None
    try:
        number = msgspec.json.decode(text, type=_Formatted).format
        if number > STATE_FORMAT:
            raise NewerFormat(what=f"the export in {folder_of(out)}", found=number, known=STATE_FORMAT)
        return msgspec.json.decode(text, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ExportDamaged(folder=folder_of(out)) from None


def begin(out: Path, query: Query, *, resume: bool, restart: bool) -> State:
    """Return where an export to a file begins, or goes on.

    Args:
        out: the file.
        query: which records; one that goes on has its own, from which this may differ in its times alone.
        resume: go on with what was cut short, where there is something.
        restart: begin anew, even so.

    Raises:
        ExportUnfinished: something was cut short, and it is not said what is to become of it.
        ExportDiffers: what was cut short is an export of other records.
        ExportDamaged: nobody can tell how far it had come.
        NewerFormat: a later Cloche wrote it.
    """
    now_us = time.time_ns() // 1000
    state = None if restart else unfinished(out)
    if state is None:
        until_us = min(now_us, now_us if query.where.until_us is None else query.where.until_us)
        return State(_with_times(query, query.where.since_us, until_us), now_us)
    if not resume:
        raise ExportUnfinished(out=out, written=state.written)
    if query != Query() and _with_times(query, None, None) != _with_times(state.query, None, None):
        raise ExportDiffers(out=out)
    return state


def _with_times(query: Query, since_us: int | None, until_us: int | None) -> Query:
    where = msgspec.structs.replace(query.where, since_us=since_us, until_us=until_us)
    return msgspec.structs.replace(query, where=where)


async def export(
    reader: LogReader,
    state: State,
    out: Path,
    open_file: Callable[[Path], TableFile],
    progress: Progress | None = None,
    last_look: LastLook = leave_it,
) -> int:
    """Write records to a file, oldest first; return how many. It appears under its name once it is complete.

    Args:
        reader: the log.
        state: where it begins or goes on, from `begin`.
        out: the file; its folder exists.
        open_file: opens what is made in a folder.
        progress: is told after each piece.
        last_look: is given it when it is complete.

    Raises:
        ExportInUse: another process writes to the same file.
        ExportNotWritten: the disk is full, or does not take it for another reason.
        ExportDamaged: what is to go on is not as it was left.
        NewerFormat: a later Cloche packed an input or output.
    """
    folder = folder_of(out)
    with alone(folder, out):
        file = _Placed(open_file(folder), folder)
        if not state.finished:
            await file.rewind(state.mark)
            async for looked in pieces(reader, state.query, state.after):
                state = await _advanced(state, looked, file)
                _keep(state, out)
                if progress and state.after:
                    progress(state.written, state.after.time_us)
            await file.finish()
            state = msgspec.structs.replace(state, finished=True)
            _keep(state, out)
        if file.whole.exists():
            await last_look(file.whole)
            put(file.whole, out)
        shutil.rmtree(folder)
    return state.written


@asynccontextmanager
async def new_file(
    out: Path, open_file: Callable[[Path], TableFile], last_look: LastLook = leave_it
) -> AsyncIterator[TableFile]:
    """Give a file in the making, which has its name once all that is done with it has ended well.

    Args:
        out: the file; its folder exists.
        open_file: opens what is made in a folder.
        last_look: is given it when it is complete.

    Raises:
        ExportInUse: another process writes to the same file.
        ExportNotWritten: the disk is full, or does not take it for another reason.
        ExportUnfinished: an export to it was cut short.
    """
    if (left := unfinished(out)) is not None:
        raise ExportUnfinished(out=out, written=left.written)
    folder = folder_of(out)
    with alone(folder, out):
        try:
            file = _Placed(open_file(folder), folder)
            await file.rewind(0)
            yield file
            await file.finish()
            await last_look(file.whole)
            put(file.whole, out)
        finally:
            shutil.rmtree(folder)


async def write_lines(reader: LogReader, query: Query, stream: IO[bytes], progress: Progress | None = None) -> int:
    """Write records to a stream as JSON Lines, oldest first, as they stood when this began; return how many."""
    written = 0
    async for record in reader.scan(query.where):
        if not query.takes(record):
            continue
        stream.write(_encode(to_json(record)) + b"\n")
        written += 1
        if progress and written % _TOLD == 0:
            progress(written, record.time_us)
    return written


class _Placed:
    """A file in the making that says where it is where it can't be written."""

    def __init__(self, file: TableFile, folder: Path) -> None:
        self._file = file
        self._folder = folder

    @property
    def whole(self) -> Path:
        return self._file.whole

    async def rewind(self, mark: int) -> None:
        with _writing(self._folder):
            await self._file.rewind(mark)

    async def add(self, records: Sequence[Record]) -> int:
        with _writing(self._folder):
            return await self._file.add(records)

    async def finish(self) -> None:
        with _writing(self._folder):
            await self._file.finish()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportNotWritten(place=error.filename or folder, reason=error.strerror or error) from error


class Looked(msgspec.Struct):
    """What a stretch of the log has for a file."""

    records: list[Record]
    last: Record
    """The last one that was looked at."""


async def _advanced(state: State, looked: Looked, file: TableFile) -> State:
    mark = await file.add(looked.records) if looked.records else state.mark
    return msgspec.structs.replace(
        state, written=state.written + len(looked.records), mark=mark, after=cursor_of(looked.last)
    )


async def pieces(reader: LogReader, query: Query, after: Cursor | None = None) -> AsyncIterator[Looked]:
    """Yield the records of a query, oldest first, so many at a time as memory should hold; a scan ends with its piece.

    Args:
        reader: the log.
        query: which ones; with an end, or those that come meanwhile are among them.
        after: where to begin.
    """
    ended = False
    while not ended:
        found: list[Record] = []
        last, size, count, ended = None, 0, 0, True
        async with _scan(reader, query, after) as scan:
            async for record in scan:
                last, count = record, count + 1
                if query.takes(record):
                    found.append(record)
                    size += len(record.personal)
                if len(found) == _MOST_RECORDS or size >= _MOST_BYTES or count == _LOOKED_AT:
                    ended = False
                    break
        if last is not None:
            after = cursor_of(last)
            yield Looked(found, last)


@asynccontextmanager
async def _scan(reader: LogReader, query: Query, after: Cursor | None) -> AsyncIterator[AsyncIterator[Record]]:
    scan = reader.scan(query.where, after)
    try:
        yield scan
    finally:
        if isinstance(scan, AsyncGenerator):
            await scan.aclose()


@contextmanager
def alone(folder: Path, out: Path) -> Iterator[None]:
    """Hold the folder, so that no two processes make one file.

    Raises:
        ExportInUse: another one does.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportInUse(out=out) from None
        yield
    finally:
        os.close(held)


def _keep(state: State, out: Path) -> None:
    file = _state_file(out)
    new = file.with_suffix(".new")
    with _writing(file.parent), new.open("wb") as stream:
        stream.write(msgspec.json.encode(state))
        stream.flush()
        os.fsync(stream.fileno())
    put(new, file)


def put(file: Path, out: Path) -> None:
    """Give a file its name, durably; one that had it is gone."""
    file.replace(out)
    _sync_folder(out.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _state_file(out: Path) -> Path:
    return folder_of(out) / "state.json"
