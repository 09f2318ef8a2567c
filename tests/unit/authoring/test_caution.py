"""What an author is told of the modules that went in."""

import json
import os
import sys

import pytest
from drafts import draft

from cloche.authoring.caution import about_code
from cloche.authoring.preparing import prepare
from cloche.authoring.sources import Code, collect
from cloche.errors import GoldenMismatch


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("KEY = '''-----BEGIN RSA PRIVATE " + "KEY-----", "a private key"),
        ("KEY = 'AKIA" + "ABCDEFGHIJKLMNOP'", "an access key of AWS"),
        ("TOKEN = 'ghp_" + "a1" * 18 + "'", "a token of GitHub"),
        ("TOKEN = 'xoxb-" + "1234567890-abcdefghij'", "a token of Slack"),
        ("URL = 'postgresql://ada:" + "lovelace@db.example/prices'", "a password in an address"),
    ],
)
def test_what_looks_like_a_secret_is_pointed_out(line, what):
    said = about_code(Code({"rules.py": f"\n\n{line}\n".encode()}))
    assert said == [
        "Your own modules went in as source: rules.py",
        f"rules.py, line 3 has what looks like {what}. All who read the registry can read it.",
    ]


def test_the_lines_of_functions_are_looked_at_as_well():
    said = about_code(Code(listings={"__main__/train.py": b"URL = 'redis://:pass" + b"word@cache/0'"}))
    assert said == [
        "__main__/train.py, line 1 has what looks like a password in an address. All who read the registry can read it."
    ]


def test_what_does_not_is_not():
    plain = "URL = 'https://example.com:8000/a@b'\nurl = f'postgresql://{user}:{password}@{host}/x'\nKEY = 'AKIA'\n"
    assert len(about_code(Code({"rules.py": plain.encode()}))) == 1
    assert about_code(Code()) == []


def test_a_file_that_changed_after_its_import_is_named(author, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    folder = author({"rates.py": "def rate(row): return 1", "other.py": ""}, "rates", "other")
    assert collect(["rates", "other"]).changed == []
    model = __import__("rates").rate
    imported = (folder / "rates.py").stat().st_mtime_ns
    (folder / "rates.py").write_text("def rate(row): return 1  # the same, said otherwise")
    os.utime(folder / "rates.py", ns=(imported, imported))
    assert collect(["rates", "other"]).changed == ["rates.py"]  # within the second in which it was imported
    os.utime(folder / "rates.py", (1_700_000_000, 1_700_000_000))
    assert collect(["rates", "other"]).changed == ["rates.py"]
    told = "rates.py changed after this process had imported it, and went in as it is now. Import it again, or restart."
    assert told in prepare(draft(model, [{"x": 1}])).notices
    (folder / "rates.py").write_text("def rate(row): return 2")
    os.utime(folder / "rates.py", (1_700_000_009, 1_700_000_009))
    with pytest.raises(GoldenMismatch) as caught:
        prepare(draft(model, [{"x": 1}]))
    assert str(caught.value).rstrip().endswith(told)


def test_one_that_was_compiled_without_a_time_is_not(author, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    folder = author({"quiet.py": ""}, "quiet")
    os.utime(folder / "quiet.py", (1_700_000_000, 1_700_000_000))
    assert collect(["quiet"]).changed == []


def test_files_of_this_machine_that_a_model_names_are_pointed_out(author, tmp_path):
    for name in ("in_code.csv", "in_module.csv", "as_path.csv", "as_text.csv", "as_global.csv"):
        (tmp_path / name).write_text("1")
    author(
        {"reading.py": f"PLACE = '{tmp_path}/in_module.csv'\nclass Table:\n    def predict_one(self, row): return 1"},
        "reading",
    )
    model = __import__("reading").Table()
    model.places = [str(tmp_path / "as_text.csv"), tmp_path / "as_path.csv", str(tmp_path / "gone.csv"), str(tmp_path)]
    model.system = [sys.executable, "/etc/hostname", json.__file__, __file__, "/items/0", "/", "/" * 5000, "/a\0b"]
    namespace = {"__name__": "__main__", "PLACE": str(tmp_path / "as_global.csv")}
    exec(f"def rule(row): return '{tmp_path}/in_code.csv', PLACE", namespace)
    model.rule = namespace["rule"]
    told = [notice for notice in prepare(draft(model, [{"x": 1}])).notices if notice.startswith("The model names")]
    assert told == [
        f"The model names {tmp_path / name}, which no other machine may have. Publish a file with "
        f"files={{'{name}': Path(…)}}, and ask for bundle.path('{name}') in load()."
        for name in ("as_global.csv", "as_path.csv", "as_text.csv", "in_code.csv", "in_module.csv")
    ]
