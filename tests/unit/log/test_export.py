from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers import TABLE_FILES, table_file
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.errors import ExportDamaged, ExportDiffers, ExportInUse, ExportNotWritten, ExportUnfinished, NewerFormat
from cloche.log import export as exporting
from cloche.log.columns import pack_call, pack_ranking, pack_text
from cloche.log.contents import read_condition
from cloche.log.export import begin, export, folder_of, new_file, pieces, unfinished, write_lines
from cloche.log.lines import CsvFile, JsonLinesFile
from cloche.log.reading import to_json
from cloche.log.search import Query
from cloche.ports import Filter
from cloche.testing import make_record
from cloche.values import Exposure, Personal

KINDS = pytest.mark.parametrize("suffix", TABLE_FILES)
FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1",
    "-",
    "@SUM(A1)",
    "\t=",
    "\r=",
    "\n=",
    "x\r=1",
    "'=1",
    "''",
    "＝1",
    "'t Hooft",
]
CALL = {"visitor": "v", "items": [{"id": "a", "x": 1.5}, {"id": "b", "x": 2.5}]}


def various():
    many = Personal(
        "bob",
        pack_text(b'[{"a":1},{"a":"x, \\"y\\"\\nz"}]'),
        pack_text(b"[1.5,null]"),
        refusals={1: pack_text(b'{"code":"no","message":"never"}')},
        printed="two\nlines",
    )
    ranked = pack_ranking([{"id": "b", "score": 0.5}, {"id": "a", "score": 0.25}], ["a", "b"], "id")
    exposure = Exposure("prices", "treatment", 2, 0.5, "seed")
    return [
        make_record(0, labels={"market": "de", "brand": 'a "b", c'}, exposure=exposure, variant="treatment"),
        make_record(1, many, many=True, rows=2, hurried=True),
        make_record(2, Personal("eve", pack_call(CALL, "/items", frozenset()), ranked, parameters={"k": None})),
        make_record(3, Personal(failure="Traceback …"), outcome="model_failed", kind="shadow", shadows=bytes(16)),
        make_record(4, personal=b""),
        make_record(5, personal=b"\xff"),
        *(make_record(number, model="other") for number in range(6, 30)),
    ]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.db"
    records = various()

    async def fill():
        sink = SqliteSink(path)
        await sink.write(records)
        await sink.close()

    asyncio.run(fill())
    return SqliteReader(path), records


@pytest.fixture
def small(monkeypatch):
    """Pieces of a few records, so that there are many."""
    monkeypatch.setattr(exporting, "_MOST_RECORDS", 4)
    monkeypatch.setattr(exporting, "_LOOKED_AT", 7)


class Killed(Exception):
    pass


def killed_after(written):
    def progress(count, time_us):
        if count >= written:
            raise Killed

    return progress


async def write(reader, out, query=None, progress=None, **how):
    state = begin(out, query or Query(), **{"resume": False, "restart": False, **how})
    return await export(reader, state, out, table_file(out.suffix), progress)


async def test_json_lines_are_what_a_query_prints(log, tmp_path):
    reader, records = log
    out, told = tmp_path / "all.jsonl", []
    assert await write(reader, out, progress=lambda written, time_us: told.append((written, time_us))) == 30
    assert [json.loads(line) for line in out.read_text().splitlines()] == [to_json(record) for record in records]
    assert told == [(30, records[-1].time_us)]
    assert os.listdir(tmp_path) == ["all.jsonl"]
    stream = io.BytesIO()
    assert await write_lines(reader, Query(), stream) == 30
    assert stream.getvalue() == out.read_bytes()


async def test_a_table_has_typed_columns_in_parquet_and_the_same_as_text_in_csv(log, tmp_path):
    reader, _ = log
    for suffix in (".parquet", ".csv"):
        await write(reader, tmp_path / f"all{suffix}")
    table = pq.read_table(tmp_path / "all.parquet").to_pylist()
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        text = list(csv.DictReader(file))
    assert len(table) == len(text) == 30
    first, many, ranking, failed, erased, damaged = table[:6]
    assert first["time"].isoformat() == "2026-01-01T00:00:00+00:00"
    assert dict(first["labels"]) == {"market": "de", "brand": 'a "b", c'}
    assert first["exposure"] == msgspec.structs.asdict(Exposure("prices", "treatment", 2, 0.5, "seed"))
    assert (first["input"], first["output"], first["predict_us"]) == ('{"number":0}', '{"label":0}', 4)
    assert (many["many"], many["hurried"], many["rows"], many["printed"]) == (True, True, 2, "two\nlines")
    assert json.loads(many["input"]) == [{"a": 1}, {"a": 'x, "y"\nz'}]
    assert json.loads(many["refusals"]) == [{"row": 1, "code": "no", "message": "never"}]
    assert json.loads(ranking["input"]) == CALL
    assert json.loads(ranking["output"])[0] == {"id": "b", "score": 0.5}
    assert (failed["traceback"], failed["output"], failed["kind"]) == ("Traceback …", None, "shadow")
    assert (erased["erased"], erased["subject"], damaged["damaged"]) == (True, None, True)
    assert text[0]["time"] == "2026-01-01T00:00:00.000000Z"
    assert json.loads(text[0]["exposure"])["phase"] == 2
    for typed, plain in zip(table, text, strict=True):
        for name in ("id", "model", "subject", "input", "output", "refusals", "parameters", "printed", "traceback"):
            assert (typed[name] or "") == plain[name]
        assert plain["many"] == ("true" if typed["many"] else "false")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(FORMULAS))
def test_text_is_no_formula_in_csv_and_can_be_had_back_as_it_was(text):
    record = make_record(0, Personal(subject=text, printed=text, failure=text, output=pack_text(b"[-1.5]")))
    lines = CsvFile.head + CsvFile(Path()).lines([record])
    (row,) = csv.DictReader(io.StringIO(lines.decode(), newline=""))
    for name in ("subject", "printed", "traceback"):
        assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert row[name].removeprefix("'") == text
    assert (row["output"], row["predict_us"], row["input"]) == ("-1.5", "4", "")


@pytest.mark.parametrize("subject", ["=1+1", "'", "'=1", "+4915550147", "'t Hooft"])
def test_who_is_in_a_csv_is_found_there_by_the_name_that_callers_use(tmp_path, subject):
    lines = CsvFile.head + CsvFile(tmp_path).lines([make_record(0, Personal(subject=subject))])
    (tmp_path / "new.csv").write_bytes(lines)
    (tmp_path / "of_an_earlier_version.csv").write_bytes(lines.replace(b",''t Hooft,", b",'t Hooft,"))
    for path in (tmp_path / "new.csv", tmp_path / "of_an_earlier_version.csv"):
        assert CsvFile.erase(path, tmp_path / "draft", lambda row: row.subject == subject) == 1
        assert subject not in (tmp_path / "draft").read_text()


@KINDS
@pytest.mark.usefixtures("small")
async def test_an_export_that_was_cut_short_at_any_piece_ends_with_the_same_content(log, tmp_path, suffix):
    reader, _ = log
    query = Query(Filter(until_us=make_record(27).time_us), input=(read_condition("!/nothing"),))
    straight = tmp_path / f"straight{suffix}"
    total = await write(reader, straight, query)
    assert total == 25
    for written in range(4, total, 4):
        out = tmp_path / f"{written}{suffix}"
        with pytest.raises(Killed):
            await write(reader, out, query, killed_after(written))
        assert not out.exists()
        left = next(path for path in folder_of(out).iterdir() if path.name != "state.json")
        if suffix != ".parquet":
            with left.open("ab") as file:
                file.write(b"a piece of which nobody kept the sta")
        assert unfinished(out).written == written
        assert await write(reader, out, resume=True) == total
        assert out.read_bytes() == straight.read_bytes()
        assert not folder_of(out).exists()


@pytest.mark.usefixtures("small")
async def test_what_is_rare_is_found_over_stretches_that_have_none(log, tmp_path):
    reader, records = log
    out, told = tmp_path / "all.jsonl", []
    query = Query(input=(read_condition("/number=17"),))
    assert await write(reader, out, query, lambda written, time_us: told.append(written)) == 1
    assert json.loads(out.read_bytes()) == to_json(records[17])
    assert told == [0, 0, 1, 1, 1]


async def test_a_second_process_can_not_write_to_the_same_file(log, tmp_path):
    reader, _ = log
    out = tmp_path / "all.csv"
    folder_of(out).mkdir()
    held = os.open(folder_of(out), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(ExportInUse):
        await write(reader, out)
    os.close(held)
    assert await write(reader, out) == 30


class OnAFullDisk(JsonLinesFile):
    def _add(self, lines):
        with open("/dev/full", "wb") as file:
            file.write(lines)


async def test_a_full_disk_is_said_with_the_place_and_what_to_do(log, tmp_path):
    reader, _ = log
    out = tmp_path / "all.jsonl"
    state = begin(out, Query(), resume=False, restart=False)
    with pytest.raises(ExportNotWritten, match=f"^{folder_of(out)} can't be written: No space left .*--out"):
        await export(reader, state, out, OnAFullDisk)
    with pytest.raises(ExportNotWritten, match="No space left"):
        async with new_file(out, OnAFullDisk) as file:
            await file.add(log[1])
    assert not folder_of(out).exists()


@pytest.fixture
async def cut_short(log, tmp_path, small):
    out = tmp_path / "all.jsonl"
    out.write_text("an earlier one")
    with pytest.raises(Killed):
        await write(log[0], out, Query(Filter(model="other", since_us=1)), killed_after(8))
    assert out.read_text() == "an earlier one"
    return out


async def test_what_was_cut_short_goes_on_or_begins_anew_as_it_is_told(log, cut_short):
    reader, _ = log
    with pytest.raises(ExportUnfinished, match=r"after 8 inferences.*--resume"):
        await write(reader, cut_short)
    with pytest.raises(ExportDiffers, match="--restart"):
        await write(reader, cut_short, Query(Filter(model="toy")), resume=True)
    same = Query(Filter(model="other", since_us=2))
    assert begin(cut_short, same, resume=True, restart=False) == unfinished(cut_short)
    assert await write(reader, cut_short, Query(Filter(model="toy")), restart=True) == 6
    assert await write(reader, cut_short, resume=True) == 30


async def test_what_is_missing_from_it_is_seen(log, cut_short):
    (folder_of(cut_short) / "lines").write_text("")
    with pytest.raises(ExportDamaged):
        await write(log[0], cut_short, resume=True)
    assert await write(log[0], cut_short, restart=True) == 30


@pytest.mark.parametrize("said", [b"", b'{"for', b"\xff", b"[]", b'{"format": 1}'])
async def test_a_state_that_can_not_be_read_is_named(log, cut_short, said):
    (folder_of(cut_short) / "state.json").write_bytes(said)
    with pytest.raises(ExportDamaged, match="--restart"):
        begin(cut_short, Query(), resume=True, restart=False)
    assert await write(log[0], cut_short, restart=True) == 30


async def test_an_export_of_a_later_version_is_left_alone(cut_short):
    state = msgspec.json.decode((folder_of(cut_short) / "state.json").read_bytes())
    (folder_of(cut_short) / "state.json").write_bytes(msgspec.json.encode({**state, "format": 2, "query": "other"}))
    with pytest.raises(NewerFormat, match="export"):
        begin(cut_short, Query(), resume=True, restart=False)


@KINDS
async def test_killed_between_its_last_steps_it_is_still_whole(log, tmp_path, suffix, monkeypatch):
    reader, _ = log
    straight, out = tmp_path / f"straight{suffix}", tmp_path / f"all{suffix}"
    await write(reader, straight)

    def killed(folder):
        raise Killed

    def put(file, to):
        if to == out:
            raise Killed
        file.replace(to)

    for module, name, step in ((exporting.shutil, "rmtree", killed), (exporting, "put", put)):
        monkeypatch.setattr(module, name, step)
        with pytest.raises(Killed):
            await write(reader, out)
        monkeypatch.undo()
        assert await write(reader, out, resume=True) == 30
        assert out.read_bytes() == straight.read_bytes()
        assert not folder_of(out).exists()
        out.unlink()


@KINDS
async def test_nothing_is_a_file_too(log, tmp_path, suffix):
    out = tmp_path / f"none{suffix}"
    assert await write(log[0], out, Query(Filter(model="nobody"))) == 0
    if suffix == ".parquet":
        assert pq.read_table(out).num_rows == 0
    else:
        assert len(out.read_text().splitlines()) == (suffix == ".csv")


async def test_an_export_ends_with_the_moment_when_it_began(tmp_path):
    path = tmp_path / "log.db"
    sink = SqliteSink(path)
    await sink.write([make_record(1)])
    state = begin(tmp_path / "all.jsonl", Query(), resume=False, restart=False)
    await sink.write([make_record(2), make_record(3, time_us=state.begun_us + 1)])
    await sink.close()
    assert await export(SqliteReader(path), state, tmp_path / "all.jsonl", table_file(".jsonl")) == 2


async def test_large_records_go_in_pieces_of_some_megabytes(tmp_path):
    large = Personal(input=pack_text(b'["%s"]' % (b"x" * 6_000_000)))
    sink = SqliteSink(tmp_path / "log.db")
    await sink.write([make_record(number, large) for number in range(7)])
    await sink.close()
    found = pieces(SqliteReader(tmp_path / "log.db"), Query())
    assert [len(piece.records) async for piece in found] == [3, 3, 1]
