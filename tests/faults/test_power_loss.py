"""Power that goes away at any moment: what mode `disk` acknowledged is in the log, whatever became of the rest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from power import Disk, JournalingFiles

from cloche.log import writing
from cloche.log.ship import Shipper
from cloche.log.spool import DiskSpool
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import Personal
from sinks import MemorySink

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
POINTS = 10_000 if PROVE else 150
LAID_OUT_BYTES = 4096
SEGMENT_BYTES = 6000
encode = msgspec.msgpack.Encoder().encode


class AnswersFirst(DiskSpool):
    """Wrong on purpose: answers when a record is written, and syncs it then."""

    sync = False

    def _synced(self, batch, reason, took_s):
        super()._synced(batch, reason, took_s)
        self._loop.call_soon(self._sync_late)  # those who wait for an answer are told before

    def _sync_late(self):
        if self._writer._file is not None:
            with contextlib.suppress(OSError):
                self._files.fdatasync(self._writer._file)


class LostError(AssertionError):
    """An acknowledged record is gone."""


class Power(RuleBasedStateMachine):
    """A gateway, a keeper, and cuts of the power at every boundary between two deeds of the gateway."""

    spool = DiskSpool
    counts: Counter[str]
    cuts: set[tuple[object, ...]]
    """What was done until then, and after how many deeds of it: the same cut made again counts once."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cloche-power-"))
        self.root = self.folder / "spool"
        self.root.mkdir()
        self.loop = asyncio.new_event_loop()
        self.files = JournalingFiles()
        self.sink = MemorySink()
        self.shipper = Shipper(self.root, {"log": self.sink})
        self.disk, self.followed = Disk(), 0
        self.done = []
        self.made, self.acknowledged = [], []
        """Of each acknowledged record: how long the journal was then, and its id."""
        self.open()

    def open(self):
        async def opened():
            return self.spool(self.root, Log(segment_bytes=SEGMENT_BYTES), self.files)

        self.writer = self.loop.run_until_complete(opened())

    @rule(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6), seed=st.integers(0, 2**32))
    def append(self, sizes, seed):
        """Several calls at once; then the power, at any moment of that."""
        self.done.append(("append", *sizes))
        self.loop.run_until_complete(self._append(sizes))
        self.cut(seed)

    async def _append(self, sizes):
        waiting = []
        for size in sizes:
            record = make_record(len(self.made), Personal(printed="x" * size))
            self.made.append(record.id)
            answer = self.writer.append(encode(record))
            answer.add_done_callback(lambda done, name=record.id: self._answered(done, name))
            waiting.append(answer)
        await asyncio.gather(*waiting, return_exceptions=True)

    def _answered(self, done, name):
        if not done.exception():
            self.acknowledged.append((len(self.files.journal), name))

    @rule(seed=st.integers(0, 2**32))
    def ship(self, seed):
        """The keeper takes a turn, and deletes what the sink has."""
        self.done.append("ship")
        self.loop.run_until_complete(self.shipper.ship_once())
        self.files.note_deleted()
        self.cut(seed)

    @rule(count=st.integers(1, 3))
    def fail(self, count):
        """The next syncs fail, and nobody knows what the disk has of it."""
        self.done.append(("fail", count))
        self.files.syncs_fail = count

    @rule(seed=st.integers(0, 2**32))
    def restart(self, seed):
        """A gateway ends, and another one begins."""
        self.done.append("restart")
        self.loop.run_until_complete(self.writer.close())
        self.files.syncs_fail = 0
        self.open()
        self.cut(seed)

    def cut(self, seed):
        """Cut the power after each deed since the last time, and look what can be read of what is left."""
        self.done.append(seed)
        chance = random.Random(seed)
        for number, deed in enumerate(itertools.islice(self.files.journal, self.followed, None), self.followed + 1):
            self.disk.do(deed)
            with tempfile.TemporaryDirectory(dir=self.folder) as left:
                self.disk.cut(chance, self.root, Path(left))
                self._check(Path(left), number)
        self.followed = len(self.files.journal)

    def _check(self, left, number):
        self.cuts.add((*self.done, number))
        sink = MemorySink()
        sink.kept, sink.marks = list(self.sink.kept), dict(self.sink.marks)
        shipper = Shipper(left, {"log": sink})
        while self.loop.run_until_complete(shipper.ship_once()):
            pass
        kept = Counter(record.id for record in sink.kept)
        lost = [name for when, name in self.acknowledged if when <= number and name not in kept]
        self.counts["lost"] += len(lost)
        self.counts["torn"] += shipper.state.torn
        if lost:
            raise LostError(f"{len(lost)} acknowledged records are lost")
        assert not set(kept) - set(self.made), "what was never written is read"
        assert set(kept.values()) <= {1}, "a record is there twice"
        assert not any(left.iterdir()) or shipper.state.quarantined, "what was shipped is deleted"

    def teardown(self):
        self.loop.run_until_complete(self.writer.close())
        self.loop.close()
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(writing, "_LAID_OUT_BYTES", LAID_OUT_BYTES)


def run(kind, points, phases=tuple(Phase)):
    """Run examples until so many different cuts have been made; return what was counted."""
    kind.counts, kind.cuts = Counter(), set()
    how = settings(
        max_examples=10,
        stateful_step_count=12,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    for number in itertools.count():  # a seed for each: with one for all, the same examples would be made again
        if len(kind.cuts) >= points:
            break
        run_state_machine_as_test(seed(number)(kind), settings=how)
    return kind.counts


@pytest.mark.timeout(3600)
def test_no_cut_of_the_power_loses_what_was_acknowledged(evidence):
    kind = type("Disk", (Power,), {})
    counts = run(kind, POINTS)
    assert counts["lost"] == 0
    evidence(
        "power lost at every boundary between two operations of the spool, what was not synced gone or torn in any way",
        f"{len(kind.cuts):,} different cuts, after failing syncs, shipping and restarts too",
        f"0 acknowledged records lost, 0 repeated; {counts['torn']:,} writes cut short, for which nobody was answered",
    )


@pytest.mark.timeout(600)
def test_a_spool_that_answers_before_it_syncs_is_found_out(evidence):
    kind = type("Hasty", (Power,), {"spool": AnswersFirst})
    with pytest.raises(LostError):
        run(kind, 10_000, [Phase.generate])
    evidence("the same cuts find out a spool that answers before fdatasync", f"{len(kind.cuts):,} cuts", "found")
