import inspect
import re

import pytest

import cloche
from cloche import publish
from cloche.errors import InvalidExamples, InvalidVersion


def test_what_an_author_sees(tmp_path, capsys):
    rows = [{"x": 1, "name": "a", "when": None}]
    publish(lambda row: row["x"], name="first", version="1.0.0", examples=rows, home=tmp_path)
    first = capsys.readouterr()
    assert first.out == ""
    assert [line for line in first.err.splitlines() if line.startswith("  ") and "own modules" not in line] == [
        "  x: integer",
        "  name: string",
        "  when: any, optional",
        "  It is live: calls to first get it.",
    ]
    publish(lambda row: row["x"], name="first", version="1.1.0", examples=rows, home=tmp_path)
    assert "It is not live yet. To make it so: cloche models default first 1.1.0" in capsys.readouterr().err


def test_many_fields_are_shown_in_short(tmp_path, capsys):
    rows = [{f"f{number}": 1.0 for number in range(40)}]
    publish(lambda row: 1, name="wide", version="1.0.0", examples=rows, home=tmp_path)
    assert "… and 28 more fields" in capsys.readouterr().err


def test_a_ranking_needs_the_name_of_an_item(tmp_path):
    with pytest.raises(TypeError, match="item_id"):
        publish(lambda row: 1, name="r", version="1.0.0", examples=[], each="/items", home=tmp_path)


def test_the_home_is_found_as_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOCHE_HOME", str(tmp_path / "mine"))
    published = publish(lambda row: 1, name="m", version="1.0.0", examples=[{"x": 1}], quiet=True)
    assert published.where == str(tmp_path / "mine" / "registry")


def test_nothing_is_written_where_it_can_not_be_published(tmp_path):
    with pytest.raises(InvalidVersion):
        publish(lambda row: 1, name="m", version="1.0", examples=[{"x": 1}], home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_it_is_what_cloche_exports():
    assert cloche.publish is publish


def test_every_argument_is_shown_and_explained():
    arguments = list(inspect.signature(publish).parameters)
    explained = re.search("Args:\n(.*)\n\nReturns:", inspect.getdoc(publish), re.DOTALL)
    assert re.findall(r"^ {4}(\w+):", explained[1], re.MULTILINE) == arguments


def test_an_argument_that_there_is_not_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"^got an unexpected keyword argument 'exmples'"):
        publish(lambda row: 1, name="m", version="1.0.0", examples=[{"x": 1}], exmples=[], home=tmp_path)


def test_a_script_that_fails_shows_the_call_and_not_the_way_through_cloche(tmp_path):
    with pytest.raises(InvalidExamples) as failed:
        publish(lambda row: 1, name="m", version="1.0.0", examples=[], home=tmp_path)
    assert [frame.name for frame in failed.traceback][1:] == ["called", "called"]
