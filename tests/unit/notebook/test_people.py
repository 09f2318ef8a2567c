"""What a notebook says about people, where no keeper runs."""

import pytest

from cloche import forget, hold, release_hold
from cloche.errors import NotHeld


def test_who_is_held_is_forgotten_once_released(home):
    held = hold("ann", reason="a claim")
    assert (held.number, held.model, held.reason) == (1, None, "a claim")
    refused = forget("ann", reason="ticket 12")
    assert (refused.order, refused.held) == (None, [held])
    assert release_hold("ann", reason="the claim is settled").number == 2
    done = forget("ann", reason="ticket 12")
    assert (done.order, done.done, done.held) == (3, True, [])
    with pytest.raises(NotHeld):
        release_hold("ann", reason="again")


def test_a_hold_may_be_of_one_model_and_another_home(home, tmp_path):
    elsewhere = tmp_path / "elsewhere" / ".cloche"
    held = hold("ann", reason="a claim", model="price", home=elsewhere)
    assert held.model == "price"
    assert forget("ann", reason="ticket 12", model="price", home=elsewhere).held == [held]
    assert forget("ann", reason="ticket 12", model="price").held == []
    assert release_hold("ann", reason="settled", model="price", home=elsewhere).number == 2


def test_no_order_without_a_reason(home):
    with pytest.raises(ValueError, match="reason: say why"):
        hold("ann", reason=" ")
    assert not (home.registry / "erasures").exists()
