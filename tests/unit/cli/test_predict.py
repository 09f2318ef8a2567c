"""Calls from a shell to a running server, and what their author sees of failures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from shell import CLOCHE


@pytest.mark.parametrize("row", [["carrier=UA", "distance=1400"], ['{"carrier": "UA", "distance": 1400}']])
def test_one_row(served, row):
    assert json.loads(served.run("predict", "delays", *row).stdout) == 12.5


def test_the_whole_answer(served):
    answer = json.loads(served.run("predict", "delays", "carrier=UA", "distance=null", "--json").stdout)
    assert (answer["model"], answer["version"], answer["output"]) == ("delays", "1.0.0", 12.5)


def test_many_rows_are_one_call(served):
    rows = '[{"carrier": "UA", "distance": 1}, {"carrier": "AA", "distance": 2}]'
    assert served.run("predict", "delays", rows).stdout.split() == ["12.5", "7.0"]


def test_faults_are_named(served):
    failed = served.run("predict", "delays", "carier=UA", "distance=far", status=1)
    assert failed.stderr.startswith("Error: schema_mismatch: ")
    assert "/input/carier: " in failed.stderr
    assert "/input/distance: " in failed.stderr


def test_text_that_looks_like_a_number_can_be_text(served):
    assert "schema_mismatch" in served.run("predict", "delays", "carrier=12", "distance=1", status=1).stderr
    assert served.run("predict", "delays", 'carrier="12"', "distance=1").stdout == "7.0\n"


@pytest.mark.parametrize("row", [[], ["carrier"], ['{"carrier": '], ["{}", "{}"], ["=1"]])
def test_what_is_no_row_is_a_usage_error(served, row):
    served.run("predict", "delays", *row, status=2)


def test_an_unknown_model_names_the_nearest(served):
    assert "There is delays." in served.run("predict", "delay", "a=1", status=1).stderr


def test_a_version_that_is_not_live_is_started_for_the_call(served):
    rows = '{"carrier": "UA", "distance": 1}\n' * 200  # until it has loaded, calls are told to come again
    asked = [*CLOCHE, "predict", "delays", "--version", "1.1.0", "-"]
    done = subprocess.run(asked, cwd=served.folder, env=served.environ, input=rows, capture_output=True, text=True)
    first, *_, last = done.stdout.splitlines()
    assert first == "13.5" or json.loads(first)["error"]["code"] == "version_loading"
    assert last == "13.5"
    assert "no version 1.2.0" in served.run("predict", "delays", "a=1", "--version", "1.2.0", status=1).stderr


def test_a_deadline_that_passes(served):
    failed = served.run("predict", "delays", "carrier=SLOW", "distance=1", "--deadline-ms", "50", status=1)
    assert "deadline_exceeded" in failed.stderr


LINES = [
    '{"carrier": "UA", "distance": 1}',
    "",
    "not JSON",
    '{"carrier": "ZZ", "distance": 1}',
    "[1]",
    '{"carrier": "AA", "distance": 1}, "subject": "smuggled"',
    '{"carier": "AA", "distance": 1}',
    '{"carrier": "AA", "distance": null}',
]


def test_lines_in_lines_out(served):
    done = served.run("predict", "delays", "-", stdin="\ufeff" + "\n".join(LINES) + "\n\n", status=1)
    answers = [json.loads(line) if line else None for line in done.stdout.splitlines()]
    codes = [answer["error"]["code"] if isinstance(answer, dict) else answer for answer in answers]
    assert codes == [12.5, None, "invalid_json", "model_failed", "invalid_json", "invalid_json", "schema_mismatch", 7.0]
    assert "5 of the lines" in done.stderr


def test_lines_are_answered_as_they_come(served):
    command = [*CLOCHE, "predict", "delays", "-", "--json"]
    with subprocess.Popen(
        command, cwd=served.folder, env=served.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for carrier, expected in [("UA", 12.5), ("AA", 7.0), ("UA", 12.5)]:
            process.stdin.write(json.dumps({"carrier": carrier, "distance": 1}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["output"] == expected
        process.stdin.close()
    assert process.returncode == 0


def test_a_reader_that_leaves_is_no_error(served):
    lines = "\n".join(LINES[:1] * 20_000)
    script = f"{' '.join(CLOCHE)} predict delays - | head -2"
    done = subprocess.run(
        script, shell=True, input=lines, cwd=served.folder, env=served.environ, capture_output=True, text=True
    )
    assert done.stdout == "12.5\n12.5\n"
    assert "Traceback" not in done.stderr


def test_without_a_server_it_says_how_to_start_one(run, home):
    result = run("predict", "delays", "a=1")
    assert result.exit_code == 1
    assert f"No server of {home.path} is running. Start one with: cloche serve" in result.stderr


def test_a_server_that_was_killed_is_no_server(run, home):
    home.run.mkdir()
    (home.run / "server.json").write_text('{"url": "http://127.0.0.1:9", "control_url": "", "pid": 1}')
    assert "Start one with: cloche serve" in run("predict", "delays", "a=1").stderr


def test_the_author_of_a_failure_sees_why_and_tries_it_again(served):
    answer = served.run("predict", "delays", "carrier=ZZ", "distance=5", "--json", status=1)
    failure = json.loads(answer.stdout)
    assert failure["code"] == "model_failed"
    assert "ZZ" not in answer.stdout
    logs = served.run("models", "logs", "delays").stdout
    assert f"cloche models try delays 1.0.0 --id {failure['id']}" in logs
    assert "ValueError: nobody knows the carrier ZZ" in logs
    assert "looking at ZZ" in logs
    logged = json.loads(served.run("models", "logs", "delays", "1.0.0", "--json").stdout)
    assert failure["id"] in [each["id"] for each in logged["failures"]]
    assert list(logged["workers"]) == ["1.0.0"]
    again = served.run("models", "try", "delays", "1.0.0", "--id", failure["id"], status=1)
    assert "in expected" in again.stderr
    assert "looking at ZZ" in again.stderr


def test_a_version_is_tried_on_a_given_row(served):
    row = '{"carrier": "UA", "distance": 1}'
    assert served.run("models", "try", "delays", "1.1.0", "--input", row).stdout == "13.5\n"
    tried = json.loads(served.run("models", "try", "delays", "1.*", "--input", f"[{row}, {row}]", "--json").stdout)
    assert tried["outputs"] == [13.5, 13.5]
    assert (
        "/input/carier" in served.run("models", "try", "delays", "1.1.0", "--input", '{"carier": 1}', status=1).stderr
    )
    served.run("models", "try", "delays", "1.1.0", status=2)
    served.run("models", "try", "delays", "1.1.0", "--input", "{", status=2)


def test_python_m_is_the_same_command(served):
    done = subprocess.run([sys.executable, "-m", "cloche", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cloche, version ")
