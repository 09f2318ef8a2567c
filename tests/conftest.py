"""What the tests of whole servers share: one server that nobody breaks, and the figures for EVIDENCE.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import shop
from serving import Server, publish


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `area`, `pricing` and `obedient`. Tests leave it as they found it; records add up."""
    home = tmp_path_factory.mktemp("shop") / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}, {"vehicle": "tank", "age": 1.0}])
    publish(home, shop.Obedient, "obedient", [shop.OBEDIENT], golden="schema")
    with Server(home) as running:
        yield running


@pytest.fixture
def evidence(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """Return a function that notes a claim, how often it was tried, and what came out: `make prove` tabulates it."""

    def note(claim: str, count: str, figure: str) -> None:
        record_property("evidence", json.dumps([claim, count, figure]))

    return note
