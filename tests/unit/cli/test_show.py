from __future__ import annotations

import pytest

from cloche.cli import show


def printed(capsys):
    return capsys.readouterr().out


def test_a_table_is_aligned_and_never_cut(capsys):
    long = "x" * 500
    show.table(("name", "value"), [("a", long), ("much longer", None)])
    assert printed(capsys) == f"name         value\na            {long}\nmuch longer\n"


def test_a_terminal_gets_all_of_it_too(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    show.table(("name", "value"), [("[bold]", "y" * 100)])
    out = printed(capsys)
    assert out.count("y") == 100
    assert "[bold]" in out


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "back\x08space", "\x9b1m", "hidden\u202eright"])
def test_what_callers_send_can_not_drive_the_terminal(text):
    assert show.printable(text).isprintable()
    assert show.printable(f"{text}\n\tnext").count("\n\t") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_what_callers_send_can_not_look_like_another_row(capsys, monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    show.table(("id", "subject"), [("1", "ann\n2   bob\u20283\t\u2029")])
    _, *rows = printed(capsys).splitlines()
    assert [row.rstrip() for row in rows] == ["1   ann\\n2   bob\\u20283\\t\\u2029"]


def test_plain_text_stays_as_it_is():
    assert show.printable("Grüße, 東京 ✓\n") == "Grüße, 東京 ✓\n"


def test_json_is_whole(capsys):
    show.document({"a": [1, {"b": "ü"}]})
    assert printed(capsys) == '{\n  "a": [\n    1,\n    {\n      "b": "ü"\n    }\n  ]\n}\n'


def test_progress_speaks_once_a_second(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: now[0])
    progress = show.Progress("{} done")
    for count in range(5):
        now[0] += 0.4
        progress(count * 1000)
    progress.end()
    assert capsys.readouterr().err == "2,000 done\n"
