"""Programs of other languages, published like any model."""

import sys
from pathlib import Path

import pytest
from drafts import draft, golden

from cloche import Command
from cloche.authoring.preparing import prepare
from cloche.authoring.publish import publish
from cloche.errors import DoesNotLoad, NotPublishable

ROWS = [{"x": 1.5}, {"x": 2.0}, {"x": None}]
DOUBLE = """
import json, sys
print("ready", file=sys.stderr)
for line in sys.stdin:
    x = json.loads(line)["x"]
    said = {"refusal": {"code": "no_x", "message": "Say x", "path": "/x"}} if x is None else 2 * x
    print(json.dumps(said), flush=True)
"""


def script(tmp_path: Path, body: str = DOUBLE) -> dict[str, Path]:
    (tmp_path / "double.py").write_text(body)
    return {"double.py": tmp_path / "double.py"}


def command(tmp_path: Path, body: str = DOUBLE, examples=ROWS, **options):
    return draft(Command([sys.executable, "-I", "double.py"]), examples, files=script(tmp_path, body), **options)


def test_it_is_published_with_its_files_and_its_refusals(tmp_path):
    prepared = prepare(command(tmp_path))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.takes, manifest.answers) == ("command", "rows", "number")
    assert manifest.command == [sys.executable, "-I", "double.py"]
    assert manifest.entry == "files/double.py"
    assert prepared.contents["files/double.py"] == DOUBLE.encode()
    first, _, last = golden(prepared)
    assert first["output"] == 3.0
    assert last == {
        "input": {"x": None},
        "output": None,
        "refusal": {"code": "no_x", "message": "Say x", "path": "/x"},
    }


def test_an_executable_of_the_bundle_stays_one(tmp_path, registry):
    program = tmp_path / "score"
    program.write_text(f"#!{sys.executable} -I\n{DOUBLE}")
    program.chmod(0o755)
    published = publish(draft(Command(["score"]), ROWS, files={"score": program}), registry)
    (file,) = published.manifest.files
    assert file.executable
    folder = registry_folder(registry, published)
    assert (folder / "files" / "score").stat().st_mode & 0o777 == 0o500


def registry_folder(registry, published):
    from cloche.authoring.bridge import wait_for

    return wait_for(registry.fetch(published.manifest.name, published.manifest.version, published.digest))


def test_the_program_among_the_files_is_executable_whatever_it_was(tmp_path):
    program = f"#!{sys.executable} -I\n{DOUBLE}"
    prepared = prepare(draft(Command(["./score"]), ROWS, files={"score": program}))
    assert [file.executable for file in prepared.manifest.files] == [True]


def test_a_frame_reaches_it_as_json(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.5, None], "day": pandas.to_datetime(["2026-01-02", "2026-01-03"])})
    body = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
    first, second = golden(prepare(command(tmp_path, body, frame)))
    assert first["output"] == first["input"]
    assert second["output"]["x"] is None
    assert first["output"]["day"].startswith("2026-01-02T")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import sys\nsys.exit('no model here')", r"ended with status 1\. It wrote last:\nno model here"),
        ("for line in open(0): print('score: 1', flush=True)", "answered what is no JSON: 'score: 1'"),
        ("for line in open(0): print('1\\n2', flush=True)", "more to its standard output than a line for a line"),
        ("for line in open(0): print(1)", "does it flush its output after each line"),
        ('for line in open(0): print(\'{"refusal": {"code": 1}}\', flush=True)', "without saying code and message"),
        ("for line in open(0): print('NaN', flush=True)", "NaN"),
    ],
)
def test_what_can_not_answer_is_told_with_what_it_wrote_last(tmp_path, body, told):
    with pytest.raises(DoesNotLoad, match=told):
        prepare(command(tmp_path, body, hang_after_ms=800))


def test_a_program_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(DoesNotLoad, match="Rscript-of-nobody is not installed here"):
        prepare(draft(Command(["Rscript-of-nobody", "double.py"]), ROWS, files=script(tmp_path)))


@pytest.mark.parametrize("words", ["jq .x", [], [1], [""]])
def test_a_command_is_a_list_of_words(words):
    with pytest.raises(NotPublishable, match="give the program and its arguments as a list of texts"):
        prepare(draft(Command(words), ROWS))
