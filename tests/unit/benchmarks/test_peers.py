from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.environments import of_this, pinned
from benchmarks.peers import DEFAULTS, FOLDER, PEERS

FILES = sorted({peer.requirements for peer in PEERS if peer.requirements})


@pytest.mark.parametrize("name", FILES)
def test_a_peer_is_pinned_and_knows_no_address(name: str) -> None:
    lines = (FOLDER / name).read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pinned(FOLDER / name)
    assert all("==" in line and "/" not in line and not line.startswith("-") for line in pins)
    assert {"joblib", "scikit-learn", "xgboost-cpu"} <= {line.partition("==")[0] for line in pins}


def test_each_peer_is_measured_as_it_is_and_names_are_unlike() -> None:
    names = [peer.name for peer in PEERS]
    assert {name.partition(",")[0] for name in names} == set(DEFAULTS)
    assert len({peer.slug for peer in PEERS}) == len(names)


def test_what_is_installed_for_a_server_is_what_it_requires() -> None:
    nothing = Path(__file__).parent / "none"
    core, inline = of_this(["cloche"], nothing), of_this(["cloche[onnx]"], nothing)
    assert 0 < core.packages < inline.packages
    assert 0 < core.megabytes < inline.megabytes
    assert of_this(["httptools"], nothing).packages == 1
