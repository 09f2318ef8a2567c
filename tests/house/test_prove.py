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


def test_a_later_run_of_a_test_takes_the_place_of_an_earlier_one() -> None:
    page = "\n".join([prove.PREFACE, run(PASSED, OTHER)])
    assert "| nothing is lost | 200 kills | 0 lost | `tests/faults/test_kills.py::test_nothing_is_lost` |" in page
    (kept,) = prove.still_true(page, {"tests/faults/test_kills.py::test_nothing_is_lost"})
    assert ("nothing twice" in kept, "nothing is lost" in kept) == (True, False)
    assert kept.startswith(prove.HEADING)
    assert (
        list(
            prove.still_true("\n".join([prove.PREFACE, kept]), {"tests/faults/test_kills.py::test_nothing_comes_twice"})
        )
        == []
    )
    assert list(prove.still_true(page, {"tests/faults/test_kills.py::test_nothing"}))
    assert list(prove.still_true("", set())) == []


def test_a_figure_stands_only_where_its_test_passed() -> None:
    said = run(FAILED, OTHER)
    assert "1 tests passed, 1 failed" in said
    assert "Failure: tests/faults/test_kills.py::test_nothing_is_lost" in said
    assert "nothing is lost" not in said


def test_a_run_that_was_killed_says_so() -> None:
    assert "was killed" in run(OTHER, cut_short=True)
    assert "was killed" not in run(OTHER)
