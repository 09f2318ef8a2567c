"""The fixture `platform`, in a project of its own: there for those who ask for it, and unknown to all others."""

from __future__ import annotations

import subprocess
import sys

import pytest

TEST = """
def test_it_answers(platform):
    platform.publish(lambda row: 2.0 * row["age"], name="price", version="1.0.0", examples=[{"age": 3.0}])
    assert platform.predict("price", {"age": 4.0})["output"] == 8.0
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_price.py").write_text(TEST)

    def run():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return tmp_path, run


def test_a_project_that_asks_for_it_has_it(project):
    folder, run = project
    (folder / "conftest.py").write_text('pytest_plugins = ["cloche.testing.fixtures"]\n')
    assert "1 passed" in run().stdout


def test_a_project_that_does_not_ask_pays_nothing(project):
    folder, run = project
    (folder / "test_price.py").write_text(
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.startswith('cloche')]\n"
    )
    assert "1 passed" in run().stdout
