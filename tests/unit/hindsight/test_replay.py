"""Recorded inferences through another version: what is counted, compared, left out and written down."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche import Refusal
from cloche.drivers import table_file
from cloche.drivers.sqlite import SqliteReader
from cloche.errors import ExportNotWritten, ExportUnfinished, SinkUnavailable
from cloche.hindsight.replay import Replay, Watching, read_sample
from cloche.log import export
from cloche.log.export import State, folder_of, new_file
from cloche.log.search import Query, read_cursor
from cloche.pages import plain
from cloche.pages.replay import replay_page
from cloche.ports import Cursor, Filter
from cloche.values import Record
from past import Past

AGES = [float(age) for age in range(20, 60)]


def judged(row):
    return {"label": "young" if row["age"] < 30 else "old", "probabilities": {"old": row["age"] / 100}}


def stricter(row):
    if row["age"] >= 58:
        raise ValueError(f"no table for {row['age']}\nin all the world")
    if row["age"] < 21:
        return Refusal("too_young", "Come again")
    return {"label": "young" if row["age"] < 25 else "old", "probabilities": {"old": row["age"] / 100 + 0.125}}


def of_horses(row):
    return row["hooves"]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Forty ages were asked of 1.0.0; one was erased since."""
    past = Past(tmp_path_factory.mktemp("yesterday"))
    example, score = [{"age": 30.0}], {"score": "/probabilities/old"}
    past.publish(judged, "risk", example, **score)
    for age in AGES:
        past.ask("risk", {"age": age})
    past.keep(msgspec.structs.replace(past.ask("risk", {"age": 30.0}), personal=b""))
    past.publish(stricter, "risk", example, version="2.0.0", **score)
    past.publish(of_horses, "risk", [{"hooves": 4}], version="3.0.0")
    yield past
    past.close()


class Written:
    """Keeps what a file would get."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def add(self, records: Any) -> None:
        self.records += records


def reasons(found: Any) -> dict[str, int]:
    return {each.reason: each.calls for each in found}


@pytest.fixture(scope="module")
def stricter_one(past: Past) -> Replay:
    return past.replay("risk", "2.*")


def test_what_would_change_is_counted(stricter_one: Replay):
    found = stricter_one
    assert (found.version, found.calls, found.asked, found.after) == ("2.0.0", 40, 40, None)
    assert reasons(found.skipped) == {"what was asked was erased": 1}
    assert reasons(found.failures) == {"ValueError: no table for 58.0": 1, "ValueError: no table for 59.0": 1}
    ended = {(each.live, each.shadow): each.calls for each in found.changed.outcomes}
    assert ended == {("ok", "ok"): 37, ("ok", "refused"): 1, ("ok", "model_failed"): 2}


def test_answers_scores_and_labels_are_compared(stricter_one: Replay):
    changed = stricter_one.changed
    assert (changed.compared, changed.same, changed.against) == (38, 0.0, {"1.0.0": 40})
    labels = {(each.live, each.shadow): each.rows for each in changed.labels}
    assert labels == {("young", "young"): 4, ("young", "old"): 5, ("old", "old"): 28}
    assert changed.score is not None
    assert changed.score.mean == pytest.approx(0.125)
    assert changed.scores is not None
    assert changed.scores.mean[1] - changed.scores.mean[0] == pytest.approx(0.125)
    assert changed.scores.distance == pytest.approx(13 / 37)
    assert changed.live_latency.p50_ms
    assert changed.shadow_latency.p50_ms


def test_what_does_not_fit_is_counted_by_reason_and_not_asked(past: Past):
    found = past.replay("risk", "3.0.0")
    assert (found.calls, found.asked, found.changed.compared) == (40, 0, 0)
    assert reasons(found.invalid) == {"/input/age: unknown_field": 40, "/input/hooves: required": 40}
    assert [(each.shadow, each.calls) for each in found.changed.outcomes] == [("schema_mismatch", 40)]


def test_a_sample_is_at_random_and_the_same_every_time(past: Past):
    chosen = []
    for sample in (7, 7, 0.25):
        written = Written()
        found = past.replay("risk", "2.0.0", Watching(answers=written), sample=sample)
        chosen.append([record.id for record in written.records[::2]])
        assert found.calls == len(chosen[-1])
    assert len(chosen[0]) in (6, 7)  # the one that was erased may have been drawn
    assert chosen[0] == chosen[1] != sorted(record.id for record in past.records)[:7]
    assert 1 <= len(chosen[2]) <= 25


def test_it_can_be_stopped_and_gone_on_with(past: Past):
    first, second = Written(), Written()
    begun = past.replay("risk", "2.0.0", Watching(answers=first, is_stopped=lambda: True))
    assert begun.after is not None
    ended = past.replay("risk", "2.0.0", Watching(answers=second), after=read_cursor(begun.after))
    assert (begun.calls + ended.calls, ended.after) == (40, None)
    times = Counter(record.id for record in first.records + second.records)
    assert (len(times), set(times.values())) == (40, {2})


class Leaving(SqliteReader):
    """A log that can be read for so many scans."""

    def __init__(self, past: Past, scans: int) -> None:
        super().__init__(past.home.log)
        self.scans = scans

    async def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        if self.scans == 0:
            raise SinkUnavailable(where="there", reason="it is gone")
        self.scans -= 1
        async for record in super().scan(wanted, after):
            yield record


def test_a_log_that_goes_away_in_the_middle_leaves_what_came_of_it_until_then(
    past: Past, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "_MOST_RECORDS", 20)
    written = Written()
    found = past.replay("risk", "2.0.0", Watching(answers=written), reader=Leaving(past, 1))
    assert (found.calls, len(written.records)) == (20, 40)
    assert found.failure is not None
    assert "gone" in found.failure
    page = plain(replay_page(found))
    assert f"it was stopped after the inference of {found.stopped_at}: {found.failure}" in page
    assert found.after is not None
    rest = past.replay("risk", "2.0.0", after=read_cursor(found.after))
    assert (found.calls + rest.calls, rest.failure, rest.stopped_at) == (40, None, None)
    with pytest.raises(SinkUnavailable):
        past.replay("risk", "2.0.0", reader=Leaving(past, 0))


class Filling(Written):
    """A disk that takes some answers."""

    async def add(self, records: Any) -> None:
        if self.records:
            raise ExportNotWritten(place="both.jsonl.part", reason="No space left on device")
        await super().add(records)


def test_a_full_disk_is_no_log_that_can_not_be_read(past: Past):
    with pytest.raises(ExportNotWritten):
        past.replay("risk", "2.0.0", Watching(answers=Filling()))


def test_what_goes_on_has_the_sample_of_what_was_stopped(past: Past):
    whole = past.replay("risk", "2.0.0", sample=38)
    begun = past.replay("risk", "2.0.0", Watching(is_stopped=lambda: True), sample=38)
    assert begun.after is not None
    ended = past.replay("risk", "2.0.0", sample=38, after=read_cursor(begun.after))
    assert 0 < ended.calls < 8
    assert begun.calls + ended.calls == whole.calls


def test_the_file_has_both_answers_under_one_id(past: Past, tmp_path: Path):
    written, out = Written(), tmp_path / "both.jsonl"
    past.replay("risk", "2.0.0", Watching(answers=written))
    asyncio.run(write(out, written.records))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["kind"] for line in lines[:4]] == ["live", "history"] * 2
    was, found = lines[2], lines[3]
    assert was["id"] == found["id"]
    assert (was["version"], was["output"]["label"]) == ("1.0.0", "young")
    assert (found["version"], found["input"], found["output"]["label"]) == ("2.0.0", {"age": 21.0}, "young")
    assert not folder_of(out).exists()
    timed = [line["timings_us"]["predict"] > 0 for line in lines[1::2]]
    assert [place for place, is_timed in enumerate(timed) if is_timed] == [0, 33], "the first of each that go together"


async def write(out: Path, records: list[Record]) -> None:
    async with new_file(out, table_file(out.suffix)) as file:
        await file.add(records)


def test_an_export_that_was_cut_short_is_not_written_over(tmp_path: Path):
    out = tmp_path / "both.jsonl"
    folder_of(out).mkdir()
    (folder_of(out) / "state.json").write_bytes(msgspec.json.encode(State(Query(), begun_us=0)))
    with pytest.raises(ExportUnfinished):
        asyncio.run(write(out, []))


def test_nothing_of_it_is_recorded(past: Past):
    before = len(past.records)
    past.replay("risk", "2.0.0", sample=3)
    assert len(past.records) == before


def test_the_page_says_what_would_change(stricter_one: Replay):
    page = plain(replay_page(stricter_one))
    for said in ("40 inferences of risk through 2.0.0", "1.0.0 (40)", "0.0% the same", "Kolmogorov-Smirnov", "p95",
                 "label of recorded", "ValueError: no table for 58.0", "what was asked was erased"):  # fmt: skip
        assert said in page


@pytest.mark.parametrize(("text", "sample"), [("500", 500), ("5%", 0.05), ("0.1%", 0.001), ("100%", 1.0)])
def test_a_sample_is_a_number_or_a_share(text: str, sample: float):
    assert read_sample(text) == pytest.approx(sample)
    assert type(read_sample(text)) is type(sample)


@pytest.mark.parametrize("text", ["", "0", "-3", "0%", "101%", "half", "1.5", "nan%", "5 %%", "10000000"])
def test_anything_else_is_none(text: str):
    with pytest.raises(ValueError, match="is no sample"):
        read_sample(text)
