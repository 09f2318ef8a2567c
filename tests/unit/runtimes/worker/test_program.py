"""A program of any language answers a line with a line, or is found out."""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloche.runtimes.worker.program import Program, ProgramFailed, find_program

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what makes a program of a Python script that has `read()` and `say(text)`."""
    made: list[Program] = []

    def make(body: str, patience_s: float = 20.0) -> Program:
        script = tmp_path / f"program-{len(made)}.py"
        script.write_text(
            "import sys, time, json, os\n"
            "def read(): return sys.stdin.readline()\n"
            "def say(text): print(text, flush=True)\n"
            f"{body}"
        )
        made.append(Program([sys.executable, "-I", str(script)], tmp_path, patience_s))
        return made[-1]

    yield make
    for program in made:
        program.stop()


ECHO = "for line in sys.stdin: say(line.strip())\n"


def test_a_line_is_answered_with_a_line_by_one_process(start: Start) -> None:
    program = start("for number, line in enumerate(sys.stdin): say(json.dumps([number, line.strip()]))")
    assert program.ask([b"a"]) == [b'[0, "a"]']
    assert program.ask([b"b", b"c"]) == [b'[1, "b"]', b'[2, "c"]']


def test_more_than_pipes_hold_goes_through(start: Start) -> None:
    lines = [b"x" * 100_000 + str(number).encode() for number in range(50)]
    assert start(ECHO).ask(lines) == lines


def test_it_runs_in_its_folder(start: Start, tmp_path: Path) -> None:
    assert start("read(); say(os.getcwd())").ask([b"1"]) == [str(tmp_path).encode()]


def test_who_dies_fails_with_its_status_and_last_words_and_is_started_again(start: Start) -> None:
    program = start("print('on my way out', file=sys.stderr); read() == 'die\\n' and sys.exit(3); say(1)")
    with pytest.raises(ProgramFailed, match=r"ended with status 3\. It wrote last:\non my way out"):
        program.ask([b"die"])
    assert program.ask([b"live"]) == [b"1"]


def test_who_is_killed_fails_with_the_signal(start: Start) -> None:
    with pytest.raises(ProgramFailed, match="killed by SIGKILL"):
        start("read(); os.kill(os.getpid(), 9)").ask([b"1"])


def test_who_ended_between_two_calls_is_started_again(start: Start) -> None:
    program = start("read(); say(os.getpid()); read(); say(os.getpid())")
    first = int(program.ask([b"1"])[0])
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert int(program.ask([b"2"])[0]) != first


def test_who_answers_nothing_in_time_fails(start: Start) -> None:
    with pytest.raises(ProgramFailed, match=r"nothing for 0.3 s \(does it flush its output after each line\?\)"):
        start("read(); print(1); time.sleep(60)", patience_s=0.3).ask([b"1"])


def test_time_counts_from_line_to_line(start: Start) -> None:
    slow = start("for line in sys.stdin: time.sleep(0.2); say(1)", patience_s=1.5)
    assert slow.ask([b"1"] * 10) == [b"1"] * 10


def test_who_answers_too_few_fails(start: Start) -> None:
    with pytest.raises(ProgramFailed, match="answered 1 of 2 lines, and then nothing"):
        start("read(); say(1); read(); time.sleep(60)", patience_s=0.5).ask([b"1", b"2"])


@pytest.mark.parametrize("more", ["say(2)", "time.sleep(0.05); say(2)", "sys.stdout.write('2'); sys.stdout.flush()"])
def test_who_answers_too_many_fails_though_later_than_its_answer(start: Start, more: str) -> None:
    with pytest.raises(ProgramFailed, match="more to its standard output than a line for a line: '2'"):
        start(f"read(); say(1); {more}; time.sleep(60)").ask([b"1"])


def test_what_was_not_asked_for_never_answers_the_next_row(start: Start) -> None:
    program = start(
        "for line in sys.stdin:\n"
        "    line.startswith('8') and time.sleep(0.3)\n"
        "    say(line.strip())\n"
        "    line.startswith('7') and (time.sleep(0.3), say('stray'))"
    )
    for number in range(8):
        assert program.ask([str(number).encode()]) == [str(number).encode()]
    assert program._running is not None
    assert select.select([program._running._output], [], [], 20)[0]
    with pytest.raises(ProgramFailed, match="more to its standard output"):
        program.ask([b"8"])
    assert program.ask([b"9"]) == [b"9"]


def test_a_program_that_reads_nothing_can_still_answer(start: Start) -> None:
    program = start("sys.stdin.close(); os.close(0); say(1); time.sleep(60)")
    with pytest.raises(ProgramFailed):
        program.ask([b"x" * 1_000_000] * 3)


def test_stopping_ends_it_even_where_it_ignores_the_end_of_its_input(start: Start) -> None:
    program = start("read(); say(os.getpid()); time.sleep(600)")
    running = int(program.ask([b"1"])[0])
    program.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(running, 0)


def test_one_of_the_files_comes_before_the_path(tmp_path: Path) -> None:
    own = tmp_path / "sh"
    own.write_text("#!/bin/sh\n")
    assert find_program("sh", tmp_path) == str(own)
    own.unlink()
    assert find_program("sh", tmp_path).endswith("/sh")


def test_a_program_that_is_nowhere_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="Rscript-of-nobody is not installed here"):
        Program(["Rscript-of-nobody", "score.R"], tmp_path, 1.0)


def test_a_file_that_is_no_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "score").write_text("no program")
    (tmp_path / "score").chmod(stat.S_IRUSR)
    with pytest.raises(ProgramFailed, match="score can't be run here: Permission denied"):
        Program(["score"], tmp_path, 1.0).start()
