from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloche.environments.recipe import differences, in_words, recipe_of
from cloche.errors import BundleCorrupt
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, File, Manifest, Provenance

HERE = Environment(platform.python_version(), sys.implementation.name, "linux-x86_64", {})
MSGSPEC = metadata.version("msgspec")


def made_with(**fields: Any) -> Environment:
    return replace(HERE, **fields)


def manifest_of(environment: Environment, vendored: tuple[File, ...] = ()) -> Manifest:
    return Manifest(
        format=MANIFEST_FORMAT,
        name="toy",
        version="1.0.0",
        flavor="python",
        files=[],
        entry="toy:Toy",
        input_schema={},
        provenance=Provenance("me", 0),
        environment=environment,
        vendored=list(vendored),
    )


def test_the_same_packages_differ_in_nothing() -> None:
    assert differences(made_with(distributions={"msgspec": MSGSPEC})) == []


def test_names_are_compared_as_installers_do() -> None:
    assert differences(made_with(distributions={"Jsonschema_RS": metadata.version("jsonschema-rs")})) == []


def test_neither_platform_nor_release_of_a_minor_version_is_a_difference() -> None:
    major, minor, _ = platform.python_version_tuple()
    assert differences(made_with(python=f"{major}.{minor}.99", platform="macosx-14.0-arm64")) == []


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (made_with(distributions={"msgspec": "0.0.1"}), f"msgspec 0.0.1 (here {MSGSPEC})"),
        (made_with(distributions={"no-such-package": "1.0"}), "no-such-package 1.0 (here none)"),
        (made_with(python="3.9.1"), f"cpython 3.9.1 (here cpython {platform.python_version()})"),
        (made_with(implementation="pypy"), f"pypy {HERE.python} (here cpython {HERE.python})"),
    ],
)
def test_what_differs_is_said(environment: Environment, told: str) -> None:
    assert differences(environment) == [told]


def test_who_has_not_looked_finds_no_difference() -> None:
    assert differences(Environment("", "", "", {})) == []


def test_many_differences_are_counted() -> None:
    assert in_words(["a", "b"]) == "a, b"
    assert in_words(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


NAMES = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][A-Za-z0-9.!+_-]{0,8}", fullmatch=True)
PINS = st.dictionaries(NAMES, VERSIONS, max_size=5)


@given(PINS, PINS)
def test_the_same_packages_share_an_environment(distributions: dict[str, str], dependencies: dict[str, str]) -> None:
    one = recipe_of(manifest_of(made_with(distributions=distributions, dependencies=dependencies)))
    turned = dict(reversed(distributions.items())), dict(reversed(dependencies.items()))
    other = recipe_of(manifest_of(made_with(distributions=turned[0], dependencies=turned[1], platform="elsewhere")))
    assert one.digest == other.digest


@given(PINS, NAMES, VERSIONS)
def test_other_packages_make_another_environment(distributions: dict[str, str], name: str, version: str) -> None:
    more = distributions | {name: version}
    one, other = (recipe_of(manifest_of(made_with(distributions=each))) for each in (distributions, more))
    assert (one.digest == other.digest) == (distributions == more)


def test_its_own_wheels_make_another_environment() -> None:
    wheel = File("wheels/toy-1.0-py3-none-any.whl", "0" * 64, 1)
    digests = {recipe_of(manifest_of(HERE, wheels)).digest for wheels in [(), (wheel,), (replace(wheel, size=2),)]}
    assert len(digests) == 3


@given(st.text(max_size=12), st.text(max_size=12))
def test_what_is_written_into_a_requirements_file_is_a_name_and_a_version(name: str, version: str) -> None:
    try:
        recipe_of(manifest_of(made_with(distributions={name: version})))
    except BundleCorrupt:
        return
    assert not set(name + version) & set(" \t\r\n;@#/\\'\"$"), "more than that"
    assert not name.startswith("-")


@pytest.mark.parametrize(
    "fields",
    [
        {"distributions": {"--index-url": "1"}},
        {"distributions": {"toy": "1.0\n--index-url http://evil"}},
        {"dependencies": {"toy @ http://evil": "1"}},
        {"python": "3.11; rm"},
        {"python": "../../bin/python"},
        {"implementation": "--default-index"},
    ],
)
def test_what_would_be_an_option_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BundleCorrupt):
        recipe_of(manifest_of(made_with(**fields)))
