"""Which version answers, and why."""

from __future__ import annotations

import json
import math
import os
import timeit
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.assignment import BUCKETS, bucket
from cloche.errors import ModelLoading, PilotOnly, UnknownModel, UnknownVersion
from cloche.gateway.choose import Choice, choose
from cloche.gateway.loaded import Loaded, LoadedModel
from cloche.gateway.traffic import in_force, load_model
from cloche.registry.release import Routing
from cloche.registry.traffic import Arm, Canary, Constant, Experiment, Fallback, Override, Pilot, Shadow
from cloche.values import Exposure, Request

from .conftest import Scripted, version

PROVE = bool(os.environ.get("CLOCHE_PROVE"))
ROUNDS = 2_000 if PROVE else 50

VERSIONS = {number: version(number, Scripted(lambda rows: rows)) for number in ("0.1.0", "1.0.0", "1.1.0", "2.0.0")}
ACTIVE = {number: loaded.digest for number, loaded in VERSIONS.items()}
HALVES = [Arm("control", "1.0.0", 0.5), Arm("treatment", "1.1.0", 0.5)]


def live(**fields: Any) -> Loaded:
    routing = Routing(ACTIVE, **({"default": "1.0.0"} | fields))
    return in_force({"toy": load_model("toy", 7, routing, VERSIONS, 1000)})


def call(subject: str | None = None, *, body: bytes = b'{"input":{}}', **fields: Any) -> Request:
    return Request("toy", body, subject=subject, **fields)


def told(choice: Choice) -> tuple[str, str | None, str]:
    return choice.loaded.manifest.version, choice.variant, choice.reason


def model_of(loaded: Loaded) -> LoadedModel:
    return loaded.models["toy"]


def test_a_routing_of_nothing_but_a_default_costs_nothing() -> None:
    assert model_of(live()).traffic is None
    assert model_of(live(experiments={"off": Experiment(HALVES, status="draft")})).traffic is None
    assert model_of(live(fallback=Fallback([Constant(1)]), shadow=Shadow("1.1.0"), deadline_ms=90)).traffic is None
    assert told(choose(live(), call())) == ("1.0.0", None, "default")
    assert told(choose(live(), call(version="1.1.0"))) == ("1.1.0", None, "explicit")


TRAFFIC: list[dict[str, Any]] = [{}, {"subject": "/id"}, {"canary": Canary("2.0.0", 0.5, "s")}]


@pytest.mark.parametrize("fields", TRAFFIC)
def test_what_is_not_there(fields: dict[str, Any]) -> None:
    loaded = live(**fields)
    with pytest.raises(UnknownVersion, match=r"no version '9\.9\.9'"):
        choose(loaded, call(version="9.9.9"))
    with pytest.raises(UnknownModel):
        choose(loaded, Request("nobody", b"{}"))
    with pytest.raises(ModelLoading):
        choose(in_force(loaded.models, frozenset({"late"})), Request("late", b"{}"))


def test_the_rest_of_a_routing_is_loaded() -> None:
    model = model_of(live(fallback=Fallback(["0.1.0", Constant(3)], 15), deadline_ms=90, shadow=Shadow("2.0.0", 0.05)))
    assert [(member.name, member.constant) for member in model.fallback] == [("0.1.0", None), ("constant", 3)]
    assert model.fallback[0].loaded is VERSIONS["0.1.0"]
    assert (model.reserve_ms, model.deadline_ms) == (15, 90)
    assert model.shadow is not None
    assert (model.shadow.loaded, model.shadow.share) == (VERSIONS["2.0.0"], 0.05)
    assert model_of(live()).deadline_ms == 1000


# whom a call is about


@pytest.mark.parametrize(
    ("header", "body", "subject"),
    [
        ("header", {"subject": "own", "input": {"visitor": {"id": "pointer"}}}, "header"),
        (None, {"subject": "own", "input": {"visitor": {"id": "pointer"}}}, "own"),
        (None, {"input": {"visitor": {"id": "pointer"}}}, "pointer"),
        (None, {"input": {"visitor": {"id": 12}}}, "12"),
        (None, {"input": {"visitor": {}}}, None),
        (None, {"inputs": [{"visitor": {"id": "a"}}, {"visitor": {"id": "a"}}]}, "a"),
        (None, {"inputs": [{"visitor": {"id": "a"}}, {"visitor": {"id": "b"}}]}, None),
    ],
)
def test_the_subject_is_the_headers_else_the_bodys_else_the_inputs(
    header: str | None, body: dict[str, Any], subject: str | None
) -> None:
    loaded = live(subject="/visitor/id")
    assert choose(loaded, call(header, body=json.dumps(body).encode())).subject == subject


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_body_breaks_the_choice(body: bytes) -> None:
    loaded = live(
        subject="/id",
        attributes={"market": "/market"},
        overrides=[Override({"market": ["de"]}, default="1.1.0")],
        experiments={"exp": Experiment(HALVES)},
        canary=Canary("2.0.0", 0.5, "s"),
    )
    assert choose(loaded, call(body=body)).loaded in VERSIONS.values()


# experiments


def test_an_experiment_gives_each_subject_its_arm_and_says_how() -> None:
    loaded = live(experiments={"exp": Experiment(HALVES, phase=3)})
    seen = {told(choose(loaded, call(f"v-{number}"))) for number in range(100)}
    assert seen == {("1.0.0", "control", "experiment:exp"), ("1.1.0", "treatment", "experiment:exp")}
    first, again = choose(loaded, call("ann")), choose(loaded, call("ann"))
    assert told(first) == told(again)
    assert first.exposure == Exposure("exp", str(first.variant), 3, 1.0, "exp-3")


def test_who_has_no_subject_is_in_no_experiment() -> None:
    choice = choose(live(experiments={"exp": Experiment(HALVES)}), call())
    assert told(choice) == ("1.0.0", None, "default")
    assert choice.exposure is None


def test_coverage_leaves_the_rest_to_the_default() -> None:
    loaded = live(default="2.0.0", experiments={"exp": Experiment(HALVES, coverage=0.3)})
    found = Counter(told(choose(loaded, call(f"v-{number}")))[2] for number in range(5000))
    assert abs(found["experiment:exp"] - 1500) < 4 * math.sqrt(5000 * 0.3 * 0.7)
    assert found["experiment:exp"] + found["default"] == 5000


def test_disjoint_parts_of_a_namespace_share_nobody() -> None:
    parts = {
        "low": Experiment(HALVES, namespace=("shop", 0.0, 0.4)),
        "rest": Experiment(HALVES, namespace=("shop", 0.4, 1.0)),
    }
    alone = {name: live(experiments={name: part}) for name, part in parts.items()}
    found = Counter(
        tuple(choose(loaded, call(f"v-{number}")).reason for loaded in alone.values()) for number in range(2000)
    )
    assert set(found) == {("experiment:low", "default"), ("default", "experiment:rest")}
    assert abs(found["experiment:low", "default"] - 800) < 4 * math.sqrt(2000 * 0.4 * 0.6)


def test_the_first_experiment_that_takes_a_subject_keeps_it() -> None:
    both = {"a": Experiment(HALVES, coverage=0.5), "b": Experiment(HALVES)}
    loaded, only_a = live(experiments=both), live(experiments={"a": both["a"]})
    for number in range(200):
        expected = choose(only_a, call(f"v-{number}")).reason
        found = choose(loaded, call(f"v-{number}")).reason
        assert found == ("experiment:b" if expected == "default" else expected)


@pytest.mark.parametrize("status", ["draft", "stopped"])
def test_only_what_is_running_counts(status: str) -> None:
    off = Experiment(HALVES, status=status)  # type: ignore[arg-type]
    assert told(choose(live(experiments={"off": off}, subject="/id"), call("ann")))[2] == "default"


def test_a_seed_that_is_given_is_the_seed() -> None:
    loaded = live(experiments={"exp": Experiment(HALVES, seed="front-end")})
    for subject in ("ann", "ben", "cleo", "Zoë", "😀"):
        in_first_half = bucket("front-end", subject) < BUCKETS // 2
        assert choose(loaded, call(subject)).variant == ("control" if in_first_half else "treatment")


# canary


def test_a_canary_takes_its_share_and_stays_with_its_subjects() -> None:
    before: set[str] = set()
    for share in (0.01, 0.05, 0.25, 0.5, 1.0):
        loaded = live(canary=Canary("2.0.0", share, "rollout-2.0.0"))
        choices = {f"v-{number}": told(choose(loaded, call(f"v-{number}"))) for number in range(4000)}
        assert set(choices.values()) <= {("2.0.0", "canary", "canary"), ("1.0.0", "stable", "default")}
        taken = {subject for subject, choice in choices.items() if choice[1] == "canary"}
        assert before <= taken
        assert all((bucket("rollout-2.0.0", who) < share * BUCKETS) == (who in taken) for who in choices)
        assert abs(len(taken) - 4000 * share) <= 4 * math.sqrt(4000 * share * (1 - share))
        before = taken
    assert told(choose(live(canary=Canary("2.0.0", 0.0, "s")), call("ann"))) == ("1.0.0", "stable", "default")


def test_a_canary_takes_calls_without_a_subject_by_what_they_say() -> None:
    loaded = live(canary=Canary("2.0.0", 0.5, "s"))
    bodies = [json.dumps({"input": {"age": number}}).encode() for number in range(2000)]
    first = [choose(loaded, call(body=body)).variant for body in bodies]
    assert first == [choose(loaded, call(body=body)).variant for body in bodies]
    assert abs(first.count("canary") - 1000) < 4 * math.sqrt(2000 * 0.25)


def test_a_canary_takes_only_calls_that_are_in_no_experiment() -> None:
    loaded = live(canary=Canary("2.0.0", 1.0, "s"), experiments={"exp": Experiment(HALVES, coverage=0.5)})
    reasons = {choose(loaded, call(f"v-{number}")).reason for number in range(200)}
    assert reasons == {"experiment:exp", "canary"}
    alone = live(experiments={"exp": Experiment(HALVES, coverage=0.5)})
    for number in range(200):
        expected = choose(alone, call(f"v-{number}")).reason
        found = choose(loaded, call(f"v-{number}")).reason
        assert found == ("canary" if expected == "default" else expected)


# pilot


PILOT = Pilot("2.0.0", subjects=["staff-*", "qa"], callers=["desk-*-eu"])


@pytest.mark.parametrize(
    ("subject", "caller", "is_in"),
    [
        ("staff-7", "anonymous", True),
        ("staff-", "anonymous", True),
        ("qa", "anonymous", True),
        ("ann", "desk-7-eu", True),
        (None, "desk--eu", True),
        ("staf", "anonymous", False),
        ("xstaff-7", "anonymous", False),
        ("qa2", "anonymous", False),
        ("ann", "desk-7-us", False),
        (None, "staff-7", False),
        ("Staff-7", "anonymous", False),
        ("staff-7\n", "anonymous", True),
    ],
)
def test_a_pilot_is_for_those_who_fit(subject: str | None, caller: str, is_in: bool) -> None:
    loaded = live(pilot=PILOT)
    chosen = told(choose(loaded, call(subject, caller=caller)))
    assert chosen == (("2.0.0", None, "pilot") if is_in else ("1.0.0", None, "default"))
    asked = call(subject, caller=caller, version="2.0.0")
    if is_in:
        assert told(choose(loaded, asked)) == ("2.0.0", None, "explicit")
    else:
        with pytest.raises(PilotOnly, match=r"toy 2\.0\.0 is in a pilot"):
            choose(loaded, asked)
    assert told(choose(loaded, call(subject, caller=caller, version="1.1.0")))[2] == "explicit"


def test_a_pilot_goes_before_experiments_and_canary() -> None:
    loaded = live(pilot=PILOT, experiments={"exp": Experiment(HALVES)}, canary=Canary("1.1.0", 1.0, "s"))
    assert choose(loaded, call("staff-1")).reason == "pilot"
    assert choose(loaded, call("ann")).reason == "experiment:exp"
    assert choose(loaded, call()).reason == "canary"


def test_a_pilot_of_the_default_is_over() -> None:
    loaded = live(default="2.0.0", pilot=PILOT, subject="/id")
    assert told(choose(loaded, call("staff-1"))) == ("2.0.0", None, "default")
    assert told(choose(loaded, call("ann", version="2.0.0"))) == ("2.0.0", None, "explicit")


def test_patterns_are_nothing_but_stars() -> None:
    loaded = live(pilot=Pilot("2.0.0", subjects=["a.b|[c]*d+*"]))
    assert choose(loaded, call("a.b|[c]xxd+y")).reason == "pilot"
    assert choose(loaded, call("axb|[c]xxd+y")).reason == "default"


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    loaded = live(pilot=Pilot("2.0.0", subjects=["*a*a*a*a*a*a*a*a*a*b"]))
    assert choose(loaded, call("a" * 256)).reason == "default"


@given(
    st.lists(st.text(alphabet="ab", max_size=2), min_size=1, max_size=5),
    st.text(alphabet="abc", min_size=1, max_size=12),
)
def test_a_star_stands_for_any_characters(parts: list[str], subject: str) -> None:
    def fits(parts: list[str], rest: str) -> bool:
        if len(parts) == 1:
            return rest == parts[0]
        starts = [place for place in range(len(rest) + 1) if rest.startswith(parts[0]) and place >= len(parts[0])]
        return any(fits(parts[1:], rest[place:]) for place in starts)

    pilot = Pilot("2.0.0", subjects=["*".join(parts)])
    model = model_of(live(pilot=pilot))
    assert model.traffic is not None
    assert model.traffic.split.pilot is not None
    assert model.traffic.split.pilot.takes("nobody", subject) == fits(parts, subject)


# overrides


MARKET: dict[str, Any] = {"attributes": {"market": "header:X-Market", "brand": "/brand"}}


def market(name: str, subject: str | None = "ann", **fields: Any) -> Request:
    return call(subject, attributes={"x-market": name}, **fields)


def test_the_first_override_that_fits_counts() -> None:
    loaded = live(
        **MARKET,
        overrides=[
            Override({"market": ["de", "at"], "brand": ["roses"]}, default="0.1.0"),
            Override({"market": ["de"]}, default="1.1.0"),
            Override({"market": ["de", "at"]}, default="2.0.0"),
        ],
    )
    roses = b'{"input":{"brand":"roses"}}'
    assert told(choose(loaded, market("at", body=roses))) == ("0.1.0", None, "override:1")
    assert told(choose(loaded, market("de"))) == ("1.1.0", None, "override:2")
    assert told(choose(loaded, market("at"))) == ("2.0.0", None, "override:3")
    assert told(choose(loaded, market("DE"))) == ("1.0.0", None, "default")
    assert told(choose(loaded, call("ann", body=roses))) == ("1.0.0", None, "default")


def test_what_a_token_claims_is_nothing_that_a_header_can_say() -> None:
    loaded = live(attributes={"market": "claim:market"}, overrides=[Override({"market": ["de"]}, default="1.1.0")])
    assert told(choose(loaded, call("ann", attributes={"claim:market": "de"}))) == ("1.1.0", None, "override:1")
    assert told(choose(loaded, call("ann", attributes={"market": "de"}))) == ("1.0.0", None, "default")
    assert loaded.headers == frozenset()


def test_an_override_changes_any_field() -> None:
    loaded = live(
        **MARKET,
        subject="/visitor",
        deadline_ms=500,
        shadow=Shadow("2.0.0"),
        fallback=Fallback([Constant(1)]),
        overrides=[
            Override(
                {"market": ["de"]},
                deadline_ms=90,
                subject="/customer",
                shadow=None,
                fallback=Fallback(["0.1.0", Constant(2)], 5),
                pilot=PILOT,
                experiments={"de": Experiment(HALVES)},
                canary=Canary("2.0.0", 1.0, "s"),
            )
        ],
    )
    body = b'{"input":{"visitor":"v","customer":"c"}}'
    here, there = choose(loaded, market("de", None, body=body)), choose(loaded, market("fr", None, body=body))
    assert (here.subject, there.subject) == ("c", "v")
    assert (here.model.deadline_ms, there.model.deadline_ms) == (90, 500)
    assert (here.model.shadow is None, there.model.shadow is None) == (True, False)
    assert ([each.name for each in here.model.fallback], here.model.reserve_ms) == (["0.1.0", "constant"], 5)
    assert (here.reason, there.reason) == ("experiment:de", "default")
    assert choose(loaded, market("de", "staff-1")).reason == "pilot"
    assert choose(loaded, market("de", None)).reason == "canary"
    assert (here.model.name, here.model.release) == ("toy", 7)


def test_an_override_that_names_a_default_is_in_no_test_of_the_others() -> None:
    loaded = live(
        **MARKET,
        pilot=PILOT,
        experiments={"exp": Experiment(HALVES)},
        canary=Canary("2.0.0", 1.0, "s"),
        overrides=[
            Override({"market": ["de"]}, default="0.1.0"),
            Override({"market": ["at"]}, default="0.1.0", experiments={"at": Experiment(HALVES)}),
            Override({"market": ["ch"]}, deadline_ms=90),
        ],
    )
    assert {choose(loaded, market("de", who)).reason for who in ("ann", "staff-1", None)} == {"override:1"}
    assert choose(loaded, market("at")).reason == "experiment:at"
    assert [choose(loaded, market("ch", who)).reason for who in ("ann", "staff-1", None)] == [
        "experiment:exp",
        "pilot",
        "canary",
    ]


def test_no_attribute_opens_a_pilot() -> None:
    loaded = live(
        **MARKET,
        pilot=PILOT,
        overrides=[
            Override({"market": ["de"]}, default="1.1.0"),
            Override({"market": ["at"]}, pilot=None),
            Override({"market": ["ch"]}, pilot=Pilot("0.1.0", subjects=["ann"])),
        ],
    )
    for name in ("de", "at", "ch", "fr"):
        with pytest.raises(PilotOnly):
            choose(loaded, market(name, version="2.0.0"))
        assert told(choose(loaded, market(name, "staff-1", version="2.0.0")))[2] == "explicit"
        assert told(choose(loaded, market(name, "ann", version="0.1.0")))[2] == "explicit"
        with pytest.raises(PilotOnly):
            choose(loaded, market(name, "ben", version="0.1.0"))


def test_an_explicit_version_has_the_deadline_of_its_market() -> None:
    loaded = live(**MARKET, overrides=[Override({"market": ["de"]}, deadline_ms=90)])
    choice = choose(loaded, market("de", version="2.0.0"))
    assert (told(choice), choice.model.deadline_ms) == (("2.0.0", None, "explicit"), 90)


def test_attributes_are_named_and_labels_are_bounded() -> None:
    loaded = live(**MARKET, overrides=[Override({"market": ["de", "at"]}, deadline_ms=90)])
    assert loaded.headers == {"x-market"}
    choice = choose(loaded, market("de", body=b'{"input":{"brand":3}}'))
    assert dict(choice.attributes) == {"market": "de", "brand": "3"}
    assert choice.labels == (("market", "de"), ("brand", "other"))
    assert choose(loaded, call("ann")).labels == (("market", ""), ("brand", ""))
    labels = {choose(loaded, market(f"m-{number}")).labels for number in range(50)}
    assert labels == {(("market", "other"), ("brand", ""))}
    assert dict(choose(loaded, market("x" * 257)).attributes) == {}


# back in time


@pytest.mark.parametrize("subject", ["ann", None])
def test_a_call_back_in_time_is_in_no_experiment(subject: str | None) -> None:
    loaded = live(
        **MARKET,
        pilot=Pilot("2.0.0", subjects=["*"]),
        experiments={"exp": Experiment(HALVES)},
        canary=Canary("2.0.0", 1.0, "s"),
        overrides=[Override({"market": ["de"]}, deadline_ms=90, default="1.1.0")],
    )
    body = b'{"input":{},"as_of":"2026-01-01T00:00:00Z"}'
    assert told(choose(live(experiments={"exp": Experiment(HALVES)}), call(subject, body=body)))[2] == "as_of"
    for name, expected in (("fr", "1.0.0"), ("de", "1.1.0")):
        choice = choose(loaded, market(name, subject, body=body))
        assert told(choice) == (expected, None, "as_of")
        assert choice.exposure is None


# what it costs


@pytest.mark.alone
def test_traffic_costs_a_few_microseconds_a_call(evidence: Callable[[str, str, str], None]) -> None:
    """Best of many rounds, so that a busy machine matters little. No subject is in any experiment: the longest way."""
    row = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400.0, "hour": 5, "minute": 15, "temp": 39.02}
    bodies = [
        json.dumps({"input": row | {"visitor": {"id": f"{n:032x}"}, "market": "fr"}}).encode() for n in range(500)
    ]
    calls = [call(body=body) for body in bodies]
    plain = live()
    busy = live(
        subject="/visitor/id",
        attributes={"market": "/market"},
        pilot=Pilot("2.0.0", ["staff-*", "qa-*"], ["desk"]),
        overrides=[Override({"market": ["de", "at"]}, default="1.1.0"), Override({"market": ["ch"]}, deadline_ms=90)],
        experiments={f"exp-{number}": Experiment(HALVES, coverage=0.01) for number in range(5)},
    )

    def best_us(loaded: Loaded) -> float:
        rounds = timeit.repeat(lambda: [choose(loaded, each) for each in calls], number=1, repeat=ROUNDS)
        return min(rounds) / len(calls) * 1e6

    added_us = best_us(busy) - best_us(plain)
    assert added_us < (5 if PROVE else 50)
    claim = "five live experiments, two overrides and a pilot, with subject and market read from the body"
    evidence(claim, f"{len(calls)} calls, best of {ROUNDS} rounds", f"{added_us:.1f} µs added to a call")
