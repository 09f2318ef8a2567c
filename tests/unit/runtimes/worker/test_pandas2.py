"""The frame contract holds on pandas 2 as well, where many models were trained."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).parents[4]
PYTHON = REPO / ".venv-pandas2" / "bin" / "python"
HERE = Path(__file__).parent


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("module", ["test_frames.py", "test_same_answers.py"])
def test_frames_on_pandas_2(module: str, evidence: Callable[[str, str, str], None]) -> None:
    if not PYTHON.exists():
        pytest.fail("The environment with pandas 2 is missing. Make it with: make .venv/.pandas2", pytrace=False)
    command = [PYTHON, "-m", "pytest", "-q", "-c", os.devnull, "--noconftest", "-W", "error", "-p", "no:cacheprovider"]
    environ = os.environ | {"PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--import-mode=importlib", HERE / module], env=environ, cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    evidence(f"the same tests of frames under pandas 2: {module}", "with the same counts", done.stdout.splitlines()[-1])
