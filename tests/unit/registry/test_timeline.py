"""Which release was in force when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloche.registry.release import Release, Routing
from cloche.registry.timeline import Timeline

MODELS = st.sets(st.sampled_from("abc"), min_size=1)


def release(number: int, created_us: int, *models: str) -> Release:
    routing = Routing({"1.0.0": "sha256:0"}, "1.0.0")
    return Release(1, number, created_us, dict.fromkeys(models, routing), "me")


def timeline(*releases: Release) -> Timeline:
    made = Timeline()
    for each in releases:
        made.note(each)
    return made


def test_a_release_is_in_force_from_the_moment_it_was_written_until_the_next() -> None:
    found = timeline(release(1, 100, "a"), release(2, 200, "b"), release(3, 300, "a", "b"))
    assert [found.at("a", moment) for moment in (99, 100, 299, 300, 10**9)] == [None, 1, 1, 3, 3]
    assert [found.at("b", moment) for moment in (199, 200, 300)] == [None, 2, 3]
    assert found.at("c", 300) is None
    assert [found.before("a", number) for number in (1, 2, 3, 9)] == [None, 1, 1, 3]


def test_one_clock_that_is_ahead_hides_no_other_release() -> None:
    found = timeline(release(1, 100, "a"), release(2, 10**9, "a"), release(3, 300, "a"))
    assert [found.at("a", moment) for moment in (250, 300, 400)] == [1, 3, 3]


@given(st.lists(st.tuples(st.integers(1, 50), MODELS), max_size=20), st.integers(0, 2000))
def test_it_is_what_folding_all_releases_up_to_then_gives(steps: list[tuple[int, set[str]]], moment: int) -> None:
    releases = []
    now = 0
    for number, (pause, models) in enumerate(steps, start=1):
        now += pause
        releases.append(release(number, now, *models))
    folded: dict[str, int] = {}
    for each in releases:
        if each.created_us <= moment:
            folded |= dict.fromkeys(each.models, each.number)
    found = timeline(*releases)
    assert {name: at for name in "abc" if (at := found.at(name, moment))} == folded
