"""The reference pages say what the code does."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "errors.md", "http.md"])
def test_no_page_is_stale(name):
    pages = runpy.run_path(str(REFERENCE / "generate.py"))["pages"]()
    assert (REFERENCE / name).read_text(encoding="utf-8") == pages[name], "run: python docs/reference/generate.py"
