"""The fixture `platform` for pytest. In `conftest.py`: `pytest_plugins = ["cloche.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloche.testing.platform import Platform


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform of the test's own; its workers end with the test."""
    with Platform() as opened:
        yield opened
