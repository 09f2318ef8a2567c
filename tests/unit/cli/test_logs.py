"""`models logs` and `log show` of a failed call: the row, the traceback, what it printed, and how to repeat it."""

from __future__ import annotations

import json
import uuid

import msgspec
from shell import fill_log, put_version

from cloche.log.columns import pack_text
from cloche.testing import make_record
from cloche.values import Personal


def failure(asked, **envelope):
    asked = pack_text(json.dumps(asked).encode())
    said = Personal(input=asked, failure="Traceback …\nValueError: no tanks", printed="looking at a tank\n")
    return make_record(1, said, outcome="model_failed", **envelope)


def test_a_failed_call_is_told_whole(run, home):
    put_version(home, "toy", "1.0.0")
    record = failure([{"vehicle": "tank"}])
    fill_log(home, [record])
    name = uuid.UUID(bytes=record.id)
    told = run("models", "logs", "toy").stdout
    for part in ("ValueError: no tanks", "looking at a tank", 'It was asked: {"vehicle":"tank"}\n'):
        assert part in told
    again = f"cloche models try toy 1.0.0 --id {name}"
    assert f"Run it again: {again}\nTo stop where it failed: {again} --pdb\n" in told
    shown = run("log", "show", name)
    assert f"Run it again: {again}\nTo stop where it failed: {again} --pdb\n" in shown.stderr


def test_a_call_with_many_rows_is_cut_for_people_and_whole_for_programs(run, home):
    put_version(home, "toy", "1.0.0")
    rows = [{"vehicle": f"tank {number}"} for number in range(200)]
    fill_log(home, [failure(rows, many=True, rows=200)])
    asked = next(line for line in run("models", "logs", "toy").stdout.splitlines() if line.startswith("It was asked"))
    assert (len(asked) < 700, asked[-1]) == (True, "…")
    found = json.loads(run("models", "logs", "toy", "--json").stdout)
    assert found["failures"][0]["inputs"] == rows


def test_an_erased_row_is_not_shown(run, home):
    put_version(home, "toy", "1.0.0")
    fill_log(home, [make_record(1, Personal(failure="Traceback", input=msgspec.Raw(b"\xc0")), outcome="model_failed")])
    told = run("models", "logs", "toy").stdout
    assert "Traceback" in told
    assert "It was asked" not in told
