"""The same arithmetic as GrowthBook's SDKs."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Callable

import pytest
from growthbook import Experiment, GrowthBook
from hypothesis import given
from hypothesis import strategies as st

from cloche.assignment import (
    BUCKETS,
    NAMESPACE_BUCKETS,
    NOBODY,
    bucket,
    bucket_ranges,
    namespace_bucket,
    variant_table,
)

SUBJECTS = 10_000 if os.environ.get("CLOCHE_PROVE") else 1_000
MANY = 100_000
SEED = 2026

Evidence = Callable[[str, str, str], None]

EXPERIMENTS = {
    "halves": ([0.5, 0.5], 1.0, None),
    "thirds": ([1 / 3, 1 / 3, 1 / 3], 1.0, None),
    "uneven": ([0.2, 0.3, 0.5], 0.35, None),
    "namespace": ([0.5, 0.5], 1.0, ("shop", 0.0, 0.4)),
    "all of it": ([0.1, 0.2, 0.3, 0.4], 0.6, ("shop", 0.25, 0.75)),
}

weights_ = st.lists(st.integers(1, 100), min_size=2, max_size=8).map(
    lambda parts: [part / sum(parts) for part in parts]
)


def random_subjects(count: int) -> list[str]:
    """Ids as they are met: numbers, UUIDs, addresses, and any other ASCII."""
    chance = random.Random(SEED)
    kinds = [
        lambda: str(chance.randrange(10**9)),
        lambda: f"{chance.getrandbits(128):032x}",
        lambda: f"user{chance.randrange(10**6)}@example.org",
        lambda: "".join(chr(chance.randrange(32, 127)) for _ in range(chance.randrange(1, 40))),
    ]
    return [kinds[number % len(kinds)]() for number in range(count)]


@pytest.mark.parametrize(
    ("seed", "subject", "expected"),
    [
        ("seed", "a", 505),
        ("seed", "b", 2696),
        ("foo", "ab", 2575),
        ("foo", "def", 2019),
        ("89123klj", "8952klfjas09ujkasdf", 1240),
        ("90850943850283058242805", "123", 7516),
        ("()**(%$##$%#$#", '___)((*":&', 128),
    ],
)
def test_the_public_vectors(seed: str, subject: str, expected: int) -> None:
    assert bucket(seed, subject) == expected


@pytest.mark.parametrize(
    ("weights", "coverage", "ranges"),
    [
        ([0.5, 0.5], 1.0, [(0, 0.5), (0.5, 1)]),
        ([0.5, 0.5], 0.5, [(0, 0.25), (0.5, 0.75)]),
        ([0.5, 0.5], 0.0, [(0, 0), (0.5, 0.5)]),
        ([0.25, 0.25, 0.25, 0.25], 1.0, [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
        ([0.4, 0.6], 1.0, [(0, 0.4), (0.4, 1)]),
        ([0.2, 0.3, 0.5], 1.0, [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
        ([0.2, 0.3, 0.5], 0.2, [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
    ],
)
def test_the_public_ranges(weights: list[float], coverage: float, ranges: list[tuple[float, float]]) -> None:
    assert bucket_ranges(weights, coverage) == [pytest.approx(pair) for pair in ranges]


@pytest.mark.parametrize(
    ("subject", "namespace", "in_the_first_40_percent"),
    [
        ("1", "namespace1", False),
        ("1", "namespace2", False),
        ("2", "namespace1", False),
        ("2", "namespace2", False),
        ("3", "namespace1", False),
        ("3", "namespace2", True),
        ("4", "namespace1", False),
        ("4", "namespace2", True),
    ],
)
def test_the_public_namespaces(subject: str, namespace: str, in_the_first_40_percent: bool) -> None:
    assert (namespace_bucket(namespace, subject) / NAMESPACE_BUCKETS < 0.4) == in_the_first_40_percent


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_sdk_assigns_the_same(name: str, evidence: Evidence) -> None:
    weights, coverage, namespace = EXPERIMENTS[name]
    table = variant_table(bucket_ranges(weights, coverage))
    here: list[int] = []
    there: list[int] = []
    subjects = random_subjects(SUBJECTS)
    for subject in subjects:
        result = GrowthBook(attributes={"id": subject}).run(
            Experiment(
                key=name,
                variations=list(range(len(weights))),
                weights=weights,
                coverage=coverage,
                namespace=namespace,
                seed=f"{name}-1",
                hashVersion=2,
            )
        )
        there.append(result.variationId if result.inExperiment else NOBODY)
        space, start, end = namespace or ("", 0.0, 1.0)
        inside = not namespace or start <= namespace_bucket(space, subject) / NAMESPACE_BUCKETS < end
        here.append(table[bucket(f"{name}-1", subject)] if inside else NOBODY)
    assert here == there
    assert set(here) >= set(range(len(weights)))
    evidence(f"assigned as the GrowthBook SDK does ({name})", f"{len(subjects):,} subjects", "0 differ")


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_text_beyond_ascii_is_hashed_by_utf_16_units_as_in_javascript(seed: str, subject: str) -> None:
    result = GrowthBook(attributes={"id": subject}).run(
        Experiment(key="any", variations=[0, 1], weights=[0.5, 0.5], seed=seed + "!", hashVersion=2)
    )
    assert result.bucket == bucket(seed + "!", subject) / BUCKETS


def test_a_letter_beyond_16_bits_is_two_units() -> None:
    """FNV-1a over 0xD83D and 0xDE00, which are the emoji in UTF-16, by hand."""
    value = 0x811C9DC5
    for unit in (ord("s"), 0xD83D, 0xDE00):
        value = (value ^ unit) * 0x01000193 % 2**32
    outer = 0x811C9DC5
    for digit in str(value).encode():
        outer = (outer ^ digit) * 0x01000193 % 2**32
    assert bucket("s", "\U0001f600") == outer % BUCKETS


@given(weights_, st.floats(0, 1))
def test_a_table_says_of_each_bucket_what_its_range_says(weights: list[float], coverage: float) -> None:
    ranges = bucket_ranges(weights, coverage)
    table = variant_table(ranges)
    assert len(table) == BUCKETS
    edges = {round(edge * BUCKETS) + step for pair in ranges for edge in pair for step in (-1, 0, 1)}
    for number in sorted(edges & set(range(BUCKETS))):
        owners = [index for index, (start, end) in enumerate(ranges) if start <= number / BUCKETS < end]
        assert table[number] == (owners[0] if owners else NOBODY)


@given(weights_, st.floats(0, 1), st.floats(0, 1))
def test_more_coverage_moves_nobody(weights: list[float], one: float, other: float) -> None:
    little = variant_table(bucket_ranges(weights, min(one, other)))
    much = variant_table(bucket_ranges(weights, max(one, other)))
    assert all(before in (NOBODY, after) for before, after in zip(little, much, strict=True))


def test_a_ramp_moves_nobody(evidence: Evidence) -> None:
    weights = [0.2, 0.3, 0.5]
    places = [bucket("ramp-1", f"visitor-{number}") for number in range(10 * SUBJECTS)]
    before = [NOBODY] * len(places)
    for percent in range(1, 101):
        table = variant_table(bucket_ranges(weights, percent / 100))
        after = [table[place] for place in places]
        assert all(old in (NOBODY, new) for old, new in zip(before, after, strict=True))
        before = after
    assert NOBODY not in before
    evidence("a ramp from 1 to 100 % moves nobody between variants", f"{len(places):,} subjects, 100 steps", "0 moved")


@pytest.mark.parametrize("coverage", [1.0, 0.35])
def test_variants_get_their_shares(coverage: float, evidence: Evidence) -> None:
    weights = [0.1, 0.2, 0.3, 0.4]
    table = variant_table(bucket_ranges(weights, coverage))
    found = Counter(table[bucket("shares-1", f"visitor-{number}")] for number in range(MANY))
    worst = 0.0
    for index, weight in enumerate(weights):
        share = weight * coverage
        sigma = math.sqrt(MANY * share * (1 - share))
        worst = max(worst, abs(found[index] - MANY * share) / sigma)
    assert worst < 4
    claim = f"variants get their shares at {coverage:.0%} coverage"
    evidence(claim, f"{MANY:,} subjects", f"at most {worst:.1f} sigma off")


def test_two_experiments_are_independent() -> None:
    """Whoever is in one half of the first is as likely in either half of the second."""
    both = sum(
        bucket("first-1", subject) < BUCKETS // 2 and bucket("second-1", subject) < BUCKETS // 2
        for subject in (f"visitor-{number}" for number in range(MANY))
    )
    assert abs(both - MANY / 4) < 4 * math.sqrt(MANY * 0.25 * 0.75)
