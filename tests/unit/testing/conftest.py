"""Models to examine, and a platform that several tests share."""

from __future__ import annotations

import pytest

from cloche.testing import Platform


@pytest.fixture(scope="module")
def shared():
    with Platform() as platform:
        yield platform
