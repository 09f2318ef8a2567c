from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloche.cli import cli


@pytest.mark.parametrize("precious", ["thesis.ipynb", ".cloche"])
def test_a_folder_that_no_demo_made_is_not_emptied(tmp_path: Path, precious: str) -> None:
    (tmp_path / precious).mkdir()
    result = CliRunner().invoke(cli, ["demo", "--once", "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "would be emptied" in result.output
    assert (tmp_path / precious).exists()
