from __future__ import annotations

import pytest

from cloche.drivers import open_leadership, open_objects
from cloche.upkeep.leading import TERM_S, AlwaysLeading, LeadingByTerms


class Clock:
    now_s = 1_000_000 * TERM_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    return open_objects(tmp_path.as_uri())


async def test_one_leads_for_a_term_and_again_after_it_was_started_anew(store, clock):
    first, second = LeadingByTerms(store, "first", clock), LeadingByTerms(store, "second", clock)
    assert [await each.lead() for each in (first, second, first)] == [True, False, True]
    assert await LeadingByTerms(store, "first", clock).lead()
    assert not await LeadingByTerms(store, "second", clock).lead()


async def test_who_dies_is_followed_a_term_later(store, clock):
    assert await LeadingByTerms(store, "first", clock).lead()
    second = LeadingByTerms(store, "second", clock)
    assert not await second.lead()
    clock.now_s += TERM_S
    assert await second.lead()
    assert not await LeadingByTerms(store, "first", clock).lead()


async def test_a_file_of_one_host_is_led_by_who_writes_it():
    leadership = open_leadership("sqlite", "me")
    assert isinstance(leadership, AlwaysLeading)
    assert await leadership.lead()
    await leadership.resign()
