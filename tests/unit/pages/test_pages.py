"""Pages as text."""

from __future__ import annotations

from cloche.pages import Facts, Table, plain


def test_lines_facts_and_tables_follow_each_other():
    page = ["heading", "", Facts([("a", 1), ("longer", None), ("many", "x\ny")]), Table(("n", "value"), [(1, None)])]
    assert plain(page) == "heading\n\na       1\nlonger\nmany\n    x\n    y\nn  value\n1"


def test_what_callers_send_can_not_drive_the_terminal():
    red = "\x1b[31mred"
    page = [red, Facts([("a", red)]), Table(("a",), [(red,)])]
    assert "\x1b" not in plain(page)
    assert plain(page).count("\\x1b[31mred") == 3
