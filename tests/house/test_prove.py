"""EVIDENCE.md keeps what was shown, until the same test shows something else or nothing."""

from __future__ import annotations

from xml.etree import ElementTree

from tests import prove

PASSED = """<testcase classname="tests.faults.test_kills" name="test_nothing_is_lost[a]"><properties>
<property name="evidence" value='["nothing is lost", "200 kills", "0 lost"]'/></properties></testcase>"""
FAILED = """<testcase classname="tests.faults.test_kills" name="test_nothing_is_lost[a]"><failure/></testcase>"""
OTHER = PASSED.replace("test_nothing_is_lost", "test_nothing_comes_twice").replace("nothing is lost", "nothing twice")


def run(*cases: str, cut_short: bool = False) -> str:
    return prove.section([ElementTree.fromstring(case) for case in cases], 60, "", cut_short)


LOST, TWICE = "test_nothing_is_lost", "test_nothing_comes_twice"
KILLS = "tests/faults/test_kills.py::"


def test_a_later_run_of_a_test_takes_the_place_of_an_earlier_one() -> None:
    page = "\n".join([prove.PREFACE, run(PASSED, OTHER)])
    assert f"| nothing is lost | 200 kills | 0 lost | `{KILLS}{LOST}` |" in page
    (kept,) = prove.still_true(page, {KILLS + LOST}, {LOST, TWICE})
    assert ("nothing twice" in kept, "nothing is lost" in kept) == (True, False)
    assert kept.startswith(prove.HEADING)
    assert list(prove.still_true(f"{prove.PREFACE}\n{kept}", {KILLS + TWICE}, {LOST, TWICE})) == []
    assert list(prove.still_true(page, {f"{KILLS}test_nothing"}, {LOST, TWICE}))
    assert list(prove.still_true("", set(), {LOST, TWICE})) == []


def test_what_a_test_had_shown_that_is_gone_goes_with_it() -> None:
    (kept,) = prove.still_true("\n".join([prove.PREFACE, run(PASSED, OTHER)]), set(), {TWICE})
    assert ("nothing twice" in kept, "nothing is lost" in kept) == (True, False)
    assert {LOST, TWICE}.isdisjoint(prove.counted_tests())
    assert "test_every_answer_is_in_the_log_once_whatever_was_killed" in prove.counted_tests()


def test_a_figure_stands_only_where_its_test_passed() -> None:
    said = run(FAILED, OTHER)
    assert "1 tests passed, 1 failed" in said
    assert "Failure: tests/faults/test_kills.py::test_nothing_is_lost" in said
    assert "nothing is lost" not in said


def test_a_run_that_was_killed_says_so() -> None:
    assert "was killed" in run(OTHER, cut_short=True)
    assert "was killed" not in run(OTHER)
