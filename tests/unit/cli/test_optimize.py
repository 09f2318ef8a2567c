"""What `cloche models optimize` says before it begins. What it does is in tests/journeys/test_optimize.py."""

from __future__ import annotations

import pytest
from shell import put_version

from cloche import optimize


@pytest.fixture
def delays(home):
    put_version(home, "delays", "1.0.0")
    put_version(home, "delays", "1.0.1")
    return home


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flights", "1.0.0"), "flights"),
        (("delays", "3.0.0"), "3.0.0"),
        (("delays", "1.0.0", "--as", "1.0.1"), "The next free one is 1.0.2."),
        (("delays", "1.0.0", "--as", "faster"), "'faster' is not a version"),
    ],
)
def test_what_can_not_be_is_said_at_once(run, delays, arguments, said):
    result = run("models", "optimize", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_consent_is_to_something(run, delays):
    result = run("models", "optimize", "delays", "1.0.0", "--accept-loss")
    assert result.exit_code == 2
    assert "--accept-loss goes with --trees or --leaf-bits" in result.stderr
    with pytest.raises(ValueError, match="accept_loss goes with trees or leaf_bits"):
        optimize("delays", "1.0.0", accept_loss=True)
    assert optimize("delays", "1.0.0", leaf_bits=4, accept_loss=True, quiet=True).published is None


@pytest.mark.parametrize(("name", "value"), [("trees", 0), ("trees", True), *(("leaf_bits", n) for n in (0, 17, 4.0))])
def test_nothing_can_be_that_small(delays, name, value):
    with pytest.raises(ValueError, match=f"^{name} is {value}: "):
        optimize("delays", "1.0.0", **{name: value})


@pytest.mark.parametrize("option", [("--tolerance", "2"), ("--rows", "0"), ("--trees", "0"), ("--leaf-bits", "17")])
def test_options_that_mean_nothing(run, delays, option):
    result = run("models", "optimize", "delays", "1.0.0", *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr
