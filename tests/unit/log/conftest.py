from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))

from spools import FailingFiles, Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def failing():
    return FailingFiles


@pytest.fixture
def encode():
    return msgspec.msgpack.Encoder().encode
