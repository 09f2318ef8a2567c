"""A traceback shows the frames of the author's code, and of Cloche's none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloche.runtimes.worker.loading import unpickle
from cloche.runtimes.worker.tracebacks import author_traceback


def test_a_module_that_a_pickle_names_is_said_without_frames(tmp_path: Path) -> None:
    (tmp_path / "any.pkl").write_bytes(b"cno_such_module\nModel\n.")
    with pytest.raises(ModuleNotFoundError) as raised:
        unpickle(tmp_path / "any.pkl")
    raised.value.__traceback__ = raised.tb.tb_next  # without this test, which is an author's code
    assert author_traceback(raised.value) == "ModuleNotFoundError: No module named 'no_such_module'\n"
