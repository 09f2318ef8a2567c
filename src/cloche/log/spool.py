"""The spool: where a gateway leaves its records before it answers. Three ways to keep the promise `Journal`."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from cloche import settings
from cloche.errors import LogUnavailable
from cloche.log.segments import END, LOCK
from cloche.log.writing import Files, SegmentWriter, probe

Mode = Literal["disk", "os", "sink", "async"]

_FULL = "the disk is full"
_CLOSED = "it is closed"
_COLLECT_S = 0.002
_COLLECT_RECORDS = 64
_FLUSH_S = 0.05
_FLUSH_BYTES = 1024 * 1024
_PROBE_S = 1.0
_ASKED_S = 0.5
_log = logging.getLogger(__name__)


class _Batch:
    """Records that are written together, and who waits for each."""

    __slots__ = ("callers", "records")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.callers: list[asyncio.Future[None]] = []


class SpoolState(msgspec.Struct, frozen=True):
    """How a spool is doing, for `/ready` and `/metrics`."""

    mode: Mode
    reason: str | None
    """Why the last write failed; None while all is well."""
    appended: int
    """Records kept as the mode promises."""
    dropped: int
    """Records answered without being kept, because the disk was full and `when_full` is `drop`."""
    lost: int
    """Records that the mode `async` had promised to write and could not."""
    bytes_waiting: int

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return self.reason is None


class Spool:
    """A folder of segments that this process alone writes. Make one with `open_spool`, inside a running event loop.

    After a failure every later append tries again, and so does a probe every second: a gateway that is sent no calls
    because it is not ready must find out by itself that the disk is well again.
    """

    mode: Mode
    sync = False

    def __init__(self, root: Path, log: settings.Log, files: Files) -> None:
        self._files = files
        self.folder, self._lock = _new_folder(root)
        files.sync_folder(root)
        self._writer = SegmentWriter(self.folder, log.segment_bytes, self.sync, files)
        self._may_drop = log.when_full == "drop"
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._asked = self._loop.call_later(_ASKED_S, self._look_whether_asked)
        self._ends = False
        self._reason: str | None = None
        self._appended = self._dropped = self._lost = 0
        self._closed = False

    @property
    def state(self) -> SpoolState:
        """How it is doing."""
        return SpoolState(self.mode, self._reason, self._appended, self._dropped, self._lost, self._bytes_waiting())

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Return a future that is done once the record is kept as the mode promises.

        Raises:
            LogUnavailable: at once or from the future: it could not be.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Keep what is waiting, and let go of the folder."""
        if not self._closed:
            self._closed = True
            self._flush()
            self._let_go()

    def _flush(self) -> None:
        """Write what is waiting."""
        raise NotImplementedError

    def _bytes_waiting(self) -> int:
        """Return the size of what is promised to nobody yet, or, in the mode `async`, to everybody."""
        raise NotImplementedError

    def _keep(self, records: Sequence[bytes]) -> str | None:
        """Write the records; return None, or why it failed."""
        reason: str | None = None
        try:
            self._writer.write(records)
        except OSError as error:
            reason = _FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else "the disk reports an error"
        except Exception:  # noqa: BLE001  whatever it is, callers that wait must hear of it
            _log.exception("writing records to %s failed", self.folder)
            reason = "writing it failed"
        if reason and reason != self._reason:
            _log.error("records can't be written to %s: %s", self.folder, reason)
        self._reason = reason
        return reason

    def _answer(self, batch: _Batch, reason: str | None) -> None:
        """Wake the callers of a batch. A full disk is no failure where records may be dropped."""
        if reason is None:
            self._appended += len(batch.records)
        else:
            self._probe_later()
            if reason == _FULL and self._may_drop:
                self._dropped += len(batch.records)
                reason = None
        for caller in batch.callers:
            if caller.done():
                continue
            if reason is None:
                caller.set_result(None)
            else:
                caller.set_exception(LogUnavailable(reason=reason))

    def _probe_later(self) -> None:
        if self._retry is None and not self._closed:
            self._retry = self._loop.call_later(_PROBE_S, self._begin_probe)

    def _begin_probe(self) -> None:
        self._retry = None
        if self._reason and not self._closed:
            self._loop.run_in_executor(None, probe, self.folder, self._files).add_done_callback(self._end_probe)

    def _end_probe(self, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception():
            self._probe_later()
        else:
            self._reason = None

    def _look_whether_asked(self) -> None:
        """End the segment where somebody asks for it who has to take something out of it."""
        self._asked = self._loop.call_later(_ASKED_S, self._look_whether_asked)
        if (self.folder / END).exists() and not self._closed:
            self._writer.end_segment()
            self._ends = True
            self._flush()
            with suppress(OSError):
                (self.folder / END).unlink()

    def _let_go(self) -> None:
        self._asked.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._writer.close()
        os.close(self._lock)


class WaitingSpool(Spool):
    """Answers once a record is written, and writes together what comes together.

    A batch is closed when a turn of the loop brings no more, at 64 records, or after 2 ms: where nothing else is to be
    done nobody waits, and under load callers share the cost of a write.
    """

    _expected = 0
    """A batch of fewer records than this is worth waiting for, for `_patience_s`."""
    _patience_s = 0.0

    def __init__(self, root: Path, log: settings.Log, files: Files) -> None:
        super().__init__(root, log, files)
        self._next = _Batch()
        self._began_s = 0.0

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Return a future that is done once the record is kept."""
        if self._closed:
            raise LogUnavailable(reason=_CLOSED)
        if not self._next.records:
            self._collect()
        caller = self._loop.create_future()
        self._next.records.append(record)
        self._next.callers.append(caller)
        return caller

    def _collect(self) -> None:
        self._began_s = self._loop.time()
        self._loop.call_soon(self._look, 0)

    def _look(self, seen: int) -> None:
        """Write what is waiting, unless more came lately: a call is read in one turn, and comes here in the next."""
        came = len(self._next.records)
        patience_s = _COLLECT_S if came > seen else self._patience_s if came < self._expected else 0.0
        if came < _COLLECT_RECORDS and self._loop.time() - self._began_s < patience_s:
            self._loop.call_soon(self._look, came)
        else:
            self._flush()

    def _bytes_waiting(self) -> int:
        return _size(self._next)


class OsSpool(WaitingSpool):
    """Answers when the operating system has a record: it survives kill -9, not a power cut."""

    mode = "os"

    def _flush(self) -> None:
        batch, self._next = self._next, _Batch()
        if batch.records or self._ends:
            self._ends = False
            self._answer(batch, self._keep(batch.records))


class DiskSpool(WaitingSpool):
    """Answers when a record is on the disk. While one sync runs the next batch collects, and shares the next sync.

    As many callers as the last sync answered may be on their way again: a batch waits for that many, for no longer
    than that sync took (the `commit_delay` of databases, without a setting).
    """

    mode = "disk"
    sync = True

    def __init__(self, root: Path, log: settings.Log, files: Files) -> None:
        super().__init__(root, log, files)
        self._syncing: _Batch | None = None
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cloche-spool", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Sync what is waiting, and let go of the folder."""
        if not self._closed:
            self._closed = True
            last, self._next = self._next, _Batch()
            if last.records:
                self._queue.put(last)
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._let_go()

    def _flush(self) -> None:
        """Hand what is waiting to the thread, unless that has a batch: then it is handed over when that is done."""
        if self._syncing is None and (self._next.records or self._ends):
            self._ends = False
            self._syncing, self._next = self._next, _Batch()
            self._queue.put(self._syncing)

    def _work(self) -> None:
        while batch := self._queue.get():
            began_s = time.monotonic()
            reason = self._keep(batch.records)
            took_s = time.monotonic() - began_s
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._synced, batch, reason, took_s)

    def _synced(self, batch: _Batch, reason: str | None, took_s: float) -> None:
        self._syncing = None
        self._expected, self._patience_s = len(batch.records), min(took_s, _COLLECT_S)
        self._answer(batch, reason)
        if self._next.records or self._ends:
            self._collect()

    def _bytes_waiting(self) -> int:
        return super()._bytes_waiting() + (_size(self._syncing) if self._syncing else 0)


class AsyncSpool(Spool):
    """Answers at once and writes every 50 ms or megabyte: may lose records, and counts those it knows of."""

    mode = "async"

    def __init__(self, root: Path, log: settings.Log, files: Files) -> None:
        super().__init__(root, log, files)
        self._waiting: list[bytes] = []
        self._size = 0
        self._done = self._loop.create_future()
        self._done.set_result(None)
        self._timer: asyncio.TimerHandle | None = None

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Return what is done already."""
        if self._closed:
            raise LogUnavailable(reason=_CLOSED)
        self._waiting.append(record)
        self._size += len(record)
        if self._size >= _FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_S, self._flush)
        return self._done

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        self._size = 0
        if self._keep(batch) is None:
            self._appended += len(batch)
        else:
            self._lost += len(batch)
            self._probe_later()

    def _bytes_waiting(self) -> int:
        return self._size


def open_spool(root: Path, log: settings.Log = settings.Log(), files: Files | None = None) -> Spool:  # noqa: B008  frozen
    """Open a new spool below `root`; call it inside the event loop that will append. The mode `sink` has none.

    Raises:
        OSError: the folder can't be made or written.
    """
    kinds: dict[Mode, type[Spool]] = {"disk": DiskSpool, "os": OsSpool, "async": AsyncSpool}
    return kinds[log.mode](root, log, files or Files())


def _size(batch: _Batch) -> int:
    return sum(map(len, batch.records))


def _new_folder(root: Path) -> tuple[Path, int]:
    """Make a folder with a lock that is held; it appears under its name only once the lock is held."""
    spool = f"{time.time_ns() // 1000:016d}-{secrets.token_hex(8)}"
    hidden = root / f".{spool}"
    hidden.mkdir(parents=True, mode=0o700)
    lock = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return hidden.rename(root / spool), lock
