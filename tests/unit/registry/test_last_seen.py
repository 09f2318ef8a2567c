"""What a host saw of the releases last comes back as it was, or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.registry import last_seen
from cloche.registry.bundle import digest_of
from cloche.registry.last_seen import LastSeen
from cloche.registry.release import Live, Routing
from cloche.registry.traffic import Constant, Fallback, Override

LIVE = Live(
    7,
    {
        "toy": Routing(
            {"1.0.0": "sha256:1"}, "1.0.0", fallback=Fallback([Constant(1)]), overrides=[Override({"a": ["b"]})]
        )
    },
    {"toy": 7},
    {"toy": "sha256:7"},
)
WRITTEN = {"toy": [(1_000, 3), (2_000, 7)]}


def file_in(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_what_was_seen_comes_back(tmp_path: Path) -> None:
    seen = LastSeen(tmp_path / "cache", "s3://a/b")
    assert seen.read() is None
    seen.keep(LIVE, WRITTEN)
    found = seen.read()
    assert found is not None
    assert (found.live, found.written) == (LIVE, WRITTEN)
    newer = msgspec.structs.replace(LIVE, number=8)
    seen.keep(newer, WRITTEN)
    found = seen.read()
    assert found is not None
    assert found.live == newer
    assert file_in(tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_what_was_seen_elsewhere_is_of_no_use(tmp_path: Path) -> None:
    LastSeen(tmp_path, "s3://a/b").keep(LIVE, WRITTEN)
    assert LastSeen(tmp_path, "s3://a/c").read() is None


def test_what_a_later_cloche_kept_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(last_seen, "SEEN_FORMAT", 2)
        LastSeen(tmp_path, "here").keep(LIVE, WRITTEN)
    assert LastSeen(tmp_path, "here").read() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_what_was_damaged_counts_as_nothing_seen(tmp_path: Path, data: st.DataObject) -> None:
    seen = LastSeen(tmp_path, "here")
    seen.keep(LIVE, WRITTEN)
    file = file_in(tmp_path)
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:at]
    else:
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    file.write_bytes(damaged)
    assert seen.read() is None


def test_what_is_no_text_counts_as_nothing_seen(tmp_path: Path) -> None:
    seen = LastSeen(tmp_path, "here")
    seen.keep(LIVE, WRITTEN)
    data = file_in(tmp_path).read_bytes().partition(b"\n")[2].replace(b"here", b"\xff\xff")
    file_in(tmp_path).write_bytes(digest_of(data).encode() + b"\n" + data)
    assert seen.read() is None


def test_what_can_not_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    seen = LastSeen(tmp_path, "here")
    seen.keep(LIVE, WRITTEN)
    before = file_in(tmp_path).read_bytes()
    assert before.startswith(digest_of(before.partition(b"\n")[2]).encode())
    with pytest.raises(TypeError):
        seen.keep(LIVE, {"toy": [object()]})  # type: ignore[list-item]
    assert file_in(tmp_path).read_bytes() == before
