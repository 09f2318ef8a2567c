"""A model goes out with the modules of its author from wherever it is published, and answers where they are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from serving import Server, cli, environ, run, until

PROJECT = {
    "pricing/__init__.py": "",
    "pricing/rules.py": """
        from importlib import resources
        from pathlib import Path

        from . import tariffs

        def price(row):
            from pricing import late  # nobody has imported it before
            excess = float(resources.files("pricing").joinpath("data", "excess.txt").read_text())
            tax = float(Path(__file__).with_name("tax.txt").read_text())
            return late.add(tariffs.BASE[row["vehicle"]], excess) * tax

        class Table:
            def __init__(self, offset):
                self.offset = offset

            def predict_one(self, row):
                return price(row) + self.offset
    """,
    "pricing/tariffs.py": "BASE = {'car': 100, 'van': 200}",
    "pricing/late.py": "def add(a, b): return a + b",
    "pricing/data/excess.txt": "20",
    "pricing/tax.txt": "2",
    "pricing/customers.csv": "ada,car",
    "pricing/.env": "PASSWORD=1",
}
MODEL = """
    from cloche import Model, Refusal, publish
    from pricing import rules

    KNOWN = {"car", "van"}

    class Pricing(Model):
        def predict(self, rows):
            return [self.price(row) for row in rows]

        def price(self, row):
            if row["vehicle"] not in KNOWN:
                return Refusal("unknown_vehicle", "We do not price that", path="/vehicle")
            return rules.price(row) + OFFSET

    OFFSET = 3
"""
PUBLISH = """
    publish(Pricing, name="pricing", version="1.0.0", examples=[{"vehicle": "car"}, {"vehicle": "tram"}],
            include=["pricing/tax.txt", "pricing/data"])
"""
WENT_IN = (
    "Your own modules went in as source: pricing/__init__.py, pricing/data/excess.txt, pricing/late.py, "
    "pricing/rules.py, pricing/tariffs.py, pricing/tax.txt"
)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))


def source(*parts: str) -> str:
    return "".join(map(textwrap.dedent, parts))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "proj", PROJECT)
    return tmp_path / "proj"


def answers(home: Path, project: Path) -> None:
    """Check that the version answers on a host that has nothing of its author's."""
    shutil.rmtree(project)
    tried = cli(home, "models", "try", "pricing", "1.0.0", "--input", '{"vehicle": "van"}')
    assert tried.strip() == "443.0"


def python(
    home: Path, *arguments: str, cwd: Path, went_in: str = WENT_IN, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python as an author does, and return what it said."""
    home.parent.mkdir(parents=True, exist_ok=True)
    command = [options.pop("executable", sys.executable), *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environ(CLOCHE_HOME=str(home)), capture_output=True, text=True, timeout=120, **options
    )
    assert "Published pricing 1.0.0" in done.stderr, done.stderr
    assert went_in in done.stderr
    return done


def as_script(home: Path, project: Path) -> None:
    write(project, {"train.py": source(MODEL, PUBLISH)})
    python(home, "train.py", cwd=project)


def as_script_elsewhere(home: Path, project: Path) -> None:
    write(project.parent / "scripts", {"train.py": source("import sys; sys.path.append('../proj')\n", MODEL, PUBLISH)})
    python(home, "train.py", cwd=project.parent / "scripts")


def as_module(home: Path, project: Path) -> None:
    write(project, {"pricing/train.py": source(MODEL.replace("from pricing import", "from . import"), PUBLISH)})
    went_in = WENT_IN.replace("pricing/tax.txt", "pricing/tax.txt, pricing/train.py")
    python(home, "-m", "pricing.train", cwd=project, went_in=went_in)


def as_text(home: Path, project: Path) -> None:
    python(home, "-c", source(MODEL, PUBLISH), cwd=project)


def as_standard_input(home: Path, project: Path) -> None:
    python(home, "-", cwd=project, input=source(MODEL, PUBLISH))


def as_typed(home: Path, project: Path) -> None:
    lines = [line for line in source(MODEL, PUBLISH).splitlines() if line.strip()]
    ended = [f"\n{line}" if before[0] == " " != line[0] else line for before, line in pairwise(lines)]
    python(home, "-i", "-q", cwd=project, input="\n".join([lines[0], *ended, ""]))


def in_a_loop(home: Path, project: Path) -> None:
    publish = (
        "import asyncio\nasync def main():\n" + textwrap.indent(source(PUBLISH), "    ") + "\nasyncio.run(main())\n"
    )
    write(project, {"train.py": source(MODEL) + publish})
    python(home, "train.py", cwd=project)


def in_a_thread(home: Path, project: Path) -> None:
    publish = "import threading\ndef main():\n" + textwrap.indent(source(PUBLISH), "    ")
    start = "\nthread = threading.Thread(target=main)\nthread.start()\nthread.join()\n"
    write(project, {"train.py": source(MODEL) + publish + start})
    python(home, "train.py", cwd=project)


def as_editable_package(home: Path, project: Path) -> None:
    """Install the project with pip to be edited, from a folder with another name than its package."""
    (project / "pricing").rename(project / "lib")
    setup = """
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        [project]
        name = "pricing"
        version = "1.0"
        [tool.setuptools]
        packages = ["pricing"]
        package-dir = {pricing = "lib"}
    """
    version = "from importlib.metadata import version\n__version__ = version('pricing')\n"
    write(project, {"pyproject.toml": setup, "lib/__init__.py": version})
    place = project.parent / "venv"
    venv.create(place, symlinks=True)
    executable = place / "bin" / "python"
    packages = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    mine = sysconfig.get_path("purelib")
    Path(packages, "others.pth").write_text(f"import site; site.addsitedir({mine!r})\n")
    options = ["--no-deps", "--disable-pip-version-check", "--quiet"]
    subprocess.run([str(executable), "-m", "pip", "install", *options, "--editable", str(project)], check=True)
    went_in = WENT_IN.replace("pricing/__init__.py", "pricing-1.0.dist-info/METADATA, pricing/__init__.py")
    python(home, "-c", source(MODEL, PUBLISH), cwd=project.parent, executable=str(executable), went_in=went_in)


def as_pickle_file(home: Path, project: Path) -> None:
    """Publish from a shell what another process has pickled, and what nobody has imported here."""
    dump = "import pickle; from pricing.rules import Table; pickle.dump(Table(3), open('model.pkl', 'wb'))"
    subprocess.run([sys.executable, "-c", dump], cwd=project, check=True)
    write(project, {"rows.json": '[{"vehicle": "car"}]'})
    include = ["--include", "pricing/tax.txt", "--include", "pricing/data"]
    options = ["--name", "pricing", "--version", "1.0.0", "--examples", "rows.json", *include]
    home.parent.mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("cloche")), "--home", str(home), "models", "publish", "model.pkl"]
    done = subprocess.run([*command, *options], cwd=project, env=environ(), capture_output=True, text=True)
    assert WENT_IN in done.stderr, done.stderr


CONTEXTS = [
    *(as_script, as_script_elsewhere, as_module, as_text, as_standard_input, as_typed),
    *(in_a_loop, in_a_thread, pytest.param(as_editable_package, marks=pytest.mark.index)),
    as_pickle_file,
]


@pytest.mark.parametrize("publish", CONTEXTS, ids=lambda publish: publish.__name__)
def test_publishing(publish: Callable[[Path, Path], None], home: Path, project: Path) -> None:
    publish(home, project)
    answers(home, project)


# ── a notebook in nb/ that put ../proj on sys.path, and defines the class in __main__ ──


def notebook(*cells: str) -> Any:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    return made


def execute(made: Any, home: Path, folder: Path) -> list[str]:
    """Run a notebook in a kernel, and return what each cell shows."""
    folder.mkdir(exist_ok=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(
        made, timeout=120, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environ(CLOCHE_HOME=str(home)))
    return ["".join(map(shown, cell.outputs)) for cell in made.cells]


def shown(output: Any) -> str:
    if output.output_type == "error":
        return "\n".join(output.traceback)
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


PATH = "import sys\nsys.path.append('../proj')"
SLOW = """
    import time

    class Slow(Pricing):
        def load(self, bundle):
            time.sleep(1.2)
"""


def test_a_notebook(home: Path, project: Path) -> None:
    cells = (PATH, MODEL, PUBLISH, SLOW, PUBLISH.replace("Pricing", "Slow").replace("1.0.0", "1.1.0"))
    *_, first, _, slow = execute(notebook(*cells), home, project.parent / "nb")
    assert "Published pricing 1.0.0 (sha256:" in first
    assert WENT_IN in first
    lines = slow.splitlines()
    assert "… asking your own object the examples" in lines
    assert "… asking a fresh worker the same" in lines
    assert lines.index("… asking a fresh worker the same") < lines.index(f"  {WENT_IN}")
    again = execute(notebook("'another kernel'", *cells[:3]), home, project.parent / "nb")[-1]
    assert "Already published, with the same content: pricing 1.0.0" in again
    shutil.rmtree(project)
    with Server(home) as server:
        assert until(lambda: server.predict("pricing", {"vehicle": "van"}).json.get("output")) == 443.0
        assert server.predict("pricing", {"vehicle": "tram"}).json["refusal"]["code"] == "unknown_vehicle"


def test_what_goes_wrong_in_a_notebook_is_short(home: Path, project: Path) -> None:
    cells = (
        *(PATH, MODEL),
        PUBLISH.replace(", \"pricing/data\"", ""),
        PUBLISH.replace("include=[\"pricing/tax.txt\", \"pricing/data\"]", "exclude=['pricing.late']"),
        PUBLISH.replace("{\"vehicle\": \"tram\"}", "{\"vehicel\": \"car\"}"),
        "import threading\nlock = threading.Lock()\n" + source(PUBLISH.replace("Pricing,", "lambda row: lock,")),
        "publish(Pricing, name='No Name', version='1', examples=[])",
    )  # fmt: skip
    *_, no_data, left_out, failing, locked, named = execute(notebook(*cells), home, project.parent / "nb")
    assert "pricing/data/excess.txt stayed behind: it is no source. To take it along: include=" in no_data
    assert "    return rules.price(row) + OFFSET" in left_out
    assert "pricing/late.py stayed behind: exclude='pricing.late' leaves it out." in left_out
    assert "KeyError: 'vehicle'" in failing
    assert "in price" in failing
    assert "model: the variable lock is a lock (_thread.lock), which can't be pickled" in locked
    assert (
        named
        == "InvalidName: 'No Name' is not a model name. Use 1 to 63 of a-z 0-9 . _ - and start with a letter or digit."
    )
    for said in (no_data, left_out, failing, locked, named):
        assert len(said.splitlines()) < 30, said
        assert "cloche/authoring" not in said
    assert not run(home, "models", "ls").stdout.strip().startswith("pricing")
