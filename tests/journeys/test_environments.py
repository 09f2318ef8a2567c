"""Versions of one model that can't share a Python: each answers with the packages that it was made with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloche.errors import DoesNotLoad
from cloche.runtimes.process import WorkerProcess
from serving import Server, cli, command_of, environ, run

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
OLD_PACKAGES = ["scikit-learn==1.2.2", "numpy==1.26.4", "pandas==2.2.3", "pip"]

OWN_MODULE = """
def with_squares(values):
    import numpy
    return numpy.hstack([values, values**2])
"""

SCRIPT = """
import sys
import numpy
from pathlib import Path
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
import cloche
from squares import with_squares

values = numpy.random.default_rng(7).normal(size=(300, 3))
model = make_pipeline(FunctionTransformer(with_squares), RandomForestRegressor(20, random_state=0))
model.fit(values, values[:, 0] ** 2 + values[:, 1])
for version, vendor in [said.split(":") for said in sys.argv[2:]]:
    cloche.publish(
        model, name="delay", version=version, examples=values[:40], training=values, home=sys.argv[1],
        vendor=bool(vendor),
    )
"""

pytestmark = [
    pytest.mark.index,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="there is no wheel of scikit-learn 1.2 for Python 3.12"),
]

Evidence = Callable[[str, str, str], None]


class Author(NamedTuple):
    """Somebody who trains with this year's packages, and with those of last year."""

    home: Path
    old_python: str

    def train(self, python: str, *versions: str) -> None:
        """Publish versions of `delay`; those that are named with `:vendor` with their wheels."""
        command = [python, "train.py", str(self.home), *versions]
        done = subprocess.run(command, capture_output=True, text=True, env=environ(), cwd=self.home.parent, timeout=120)
        assert done.returncode == 0, done.stderr

    def bundle(self, version: str) -> Path:
        """This host's copy of a version, once something has used it."""
        for manifest in (self.home / "cache").glob("*/manifest.json"):
            if json.loads(manifest.read_bytes())["version"] == version:
                return manifest.parent
        raise AssertionError(f"nobody has used {version}")


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """Has published with last year's packages: 1.0.0, and 1.0.1 with its wheels."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "squares.py").write_text(OWN_MODULE)
    (folder / "train.py").write_text(SCRIPT)
    author = Author(folder / ".cloche", make_old_environment(folder / "of-last-year"))
    author.train(author.old_python, "1.0.0:", "1.0.1:vendor")
    return author


def make_old_environment(folder: Path) -> str:
    """Install Cloche from here, with packages of last year."""
    python = folder / "bin" / "python"
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python, *needs, *OLD_PACKAGES], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    (packages / "cloche.pth").write_text(str(ROOT / "src"))
    return str(python)


def test_versions_that_can_not_share_a_python_answer_in_one_gateway(author: Author, evidence: Evidence) -> None:
    author.train(sys.executable, "2.0.0:")
    prepared = json.loads(cli(author.home, "models", "prepare", "delay", "1.0.0", "--json"))
    (its,) = prepared["runs"]
    assert any(line.startswith("scikit-learn 1.2.2 (here 1.9") for line in its["differing"])
    assert its["own"]
    evidence(
        "versions whose scikit-learns can't open each other's pickles answer in one gateway, golden cases equal",
        "1.2.2 beside 1.9",
        f"built in {prepared['prepared_s']:.1f} s, cold start of a worker there {prepared['cold_start_s']:.2f} s",
    )
    cli(author.home, "models", "default", "delay", "2.0.0")
    with Server(author.home) as server:
        answered = []
        for version in ("1.0.0", "2.0.0"):
            cases = golden(author.bundle(version))
            asked = {"inputs": [case["input"] for case in cases]}
            answer = server.ask("POST", f"/models/delay/versions/{version}/predict", asked)
            assert answer.status == 200, answer.body
            assert answer.json["outputs"] == pytest.approx([case["output"] for case in cases], rel=1e-5, abs=1e-8)
            assert len(cases) == 40
            answered.append(answer.json["id"])
        assert {command_of(pid)[0] for pid in server.processes["worker"]} == {its["python"], sys.executable}
    assert cli(author.home, "log", "reproduce", *answered).count("verdict    same\n") == 2
    for version, python in (("1.0.0", sys.executable), ("2.0.0", its["python"])):
        with (
            WorkerProcess.start(author.bundle(version), python=python) as worker,
            pytest.raises(DoesNotLoad, match=r"incompatible dtype|numpy\._core"),
        ):
            worker.wait_loaded(60)


def test_years_later_its_own_wheels_are_enough(author: Author, tmp_path: Path) -> None:
    """On a host that has never seen it, with no index to ask, and nothing that uv has kept."""
    home = tmp_path / "elsewhere" / ".cloche"
    shutil.copytree(author.home / "registry", home / "registry")
    nothing: dict[str, str] = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_CONFIG_FILE": os.devnull}
    nothing |= {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    without = run(home, "models", "prepare", "delay", "1.0.0", **nothing)
    assert without.returncode == 1
    assert "can't be built" in without.stderr
    prepared: Any = json.loads(run(home, "models", "prepare", "delay", "1.0.1", "--json", **nothing).stdout)
    assert prepared["runs"][0]["own"]
    assert prepared["cold_start_s"] > 0


def golden(bundle: Path) -> list[dict[str, Any]]:
    lines = (bundle / "personal" / "golden.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]
