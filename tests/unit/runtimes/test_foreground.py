"""What is left where no worker takes this process's place."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cloche.runtimes.foreground import debug


def test_an_interpreter_that_can_not_be_started_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        debug(tmp_path, "sha256:0", b"{}", python="/nowhere/python")
    assert list(tmp_path.iterdir()) == []
