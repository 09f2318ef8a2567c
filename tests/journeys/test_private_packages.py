"""A package that is on no index: a version that needs it keeps its wheel, or is refused where it is not installed."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

from serving import Server, cli, environ, run
from toy_packages import install
from toy_wheels import make_wheel

MODULE = """
import cloche
import toybox
from tariff import base

class Pricing(cloche.Model):
    def predict_one(self, row):
        return base() + row["size"] * toybox.FACTOR
"""

SCRIPT = """
import sys
import cloche
from pricing import Pricing

published = cloche.publish(
    Pricing, name="price", version=sys.argv[2], examples=[{"size": 2.0}], home=sys.argv[1], vendor=bool(sys.argv[3]),
    quiet=True,
)
print(*published.notices, sep="\\n")
"""


class Author(NamedTuple):
    """Somebody with a package of their own, installed from a file."""

    python: Path
    home: Path

    def publish(self, version: str, vendor: str = "") -> str:
        command = [self.python, "train.py", str(self.home), version, vendor]
        done = subprocess.run(command, capture_output=True, text=True, env=NO_INDEX, cwd=self.home.parent, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


NO_INDEX = environ(PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null", PIP_FIND_LINKS="", UV_OFFLINE="1")
NO_INDEX |= {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}


@pytest.fixture
def author(tmp_path: Path) -> Author:
    """Cloche and what it needs come from here, so that no index is asked."""
    python = tmp_path / "author" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    (packages,) = python.parents[1].glob("lib/*/site-packages")
    wheel = make_wheel(tmp_path / "downloads", "toybox", "1.0", "FACTOR = 3.0\n")
    install(packages, "toybox", "1.0", url=wheel.as_uri(), archive_info={})
    (packages / "toybox.py").write_text("FACTOR = 3.0\n")
    here = [sysconfig.get_path("purelib"), str(Path(__file__).parents[2] / "src")]
    (packages / "here.pth").write_text("\n".join(here))
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "pricing.py").write_text(MODULE)
    (tmp_path / "tariff.py").write_text("def base():\n    return 10.0\n")
    return Author(python, tmp_path / ".cloche")


def test_it_is_refused_without_its_wheel_and_answers_with_it(author: Author) -> None:
    said = author.publish("1.0.0")
    assert "No index is known to have toybox (a local file)" in said
    refused = run(author.home, "models", "prepare", "price", "1.0.0")
    assert refused.returncode == 1
    assert "price 1.0.0 needs toybox (a local file), which no index is known to have" in refused.stderr
    assert "published before without its wheels, and stays so" in author.publish("1.0.0", "vendor")
    assert "1 wheel went in" in author.publish("1.0.1", "vendor")
    (author.home.parent / "models.toml").write_text('[models.price]\ndefault = "1.0.1"\n')
    cli(author.home, "apply")
    with Server(author.home, **NO_INDEX) as server:
        assert server.predict("price", {"size": 2.0}).json["output"] == 16.0
        assert "the environment of price 1.0.1 is built" in server.said
        inactive = server.ask("POST", "/models/price/versions/1.0.0/predict", {"input": {"size": 2.0}})
        assert (inactive.status, inactive.json["code"]) == (503, "version_unavailable")
