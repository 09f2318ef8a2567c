"""What a gateway leaves for the keeper and the command line."""

from __future__ import annotations

from pathlib import Path

from cloche.registry.standing import (
    STANDING_FORMAT,
    Shadowed,
    Standing,
    Waiting,
    drop_standings,
    read_standing,
    shortened,
    write_standing,
)

STANDING = Standing(
    format=STANDING_FORMAT,
    seen=7,
    in_force={"toy": 6},
    waiting=[Waiting("toy", 7, answering=6, version="2.0.0", reason="Traceback …")],
    trouble=None,
)


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    write_standing(tmp_path, Standing(STANDING_FORMAT, 1, {}, [], "the registry does not answer"))
    write_standing(tmp_path, STANDING)
    assert read_standing(tmp_path) == STANDING
    assert [file.name for file in tmp_path.iterdir()] == ["standing.json"]


def test_what_is_not_there_or_makes_no_sense_is_nothing(tmp_path: Path) -> None:
    assert read_standing(tmp_path) is None
    for damaged in (b"torn", b'{"trouble":"\xff"}'):
        (tmp_path / "standing.json").write_bytes(damaged)
        assert read_standing(tmp_path) is None
    write_standing(tmp_path, Standing(STANDING_FORMAT + 1, 7, {}, [], None))
    assert read_standing(tmp_path) is None


def test_of_a_long_traceback_the_end_is_kept() -> None:
    assert shortened("short") == "short"
    long = "x" * 10_000 + "ValueError"
    assert len(shortened(long)) < 5_000
    assert shortened(long).endswith("ValueError")
    assert shortened(long, 5) == "…Error"


def test_of_several_gateways_that_counts_which_holds_for_all(tmp_path: Path) -> None:
    failed, loading = Waiting("toy", 7, answering=6, version="2.0.0", reason="Traceback …"), Waiting("toy", 7)
    shadow = Shadowed("toy", "2.0.0", asked=2, outcomes={"ok": 2}, dropped={"queue_full": 1})
    first = Standing(STANDING_FORMAT, 7, {"toy": 6, "area": 5}, [loading], None, [shadow])
    second = Standing(STANDING_FORMAT, 8, {"toy": 8}, [failed], "the registry does not answer", [shadow])
    write_standing(tmp_path, first)
    write_standing(tmp_path, second, gateway=2)
    twice = Shadowed("toy", "2.0.0", asked=4, outcomes={"ok": 4}, dropped={"queue_full": 2})
    assert read_standing(tmp_path) == Standing(
        STANDING_FORMAT, 7, {"toy": 6}, [failed], "the registry does not answer", [twice]
    )
    drop_standings(tmp_path, gateways=2)
    assert read_standing(tmp_path) != first
    drop_standings(tmp_path, gateways=1)
    assert read_standing(tmp_path) == first
