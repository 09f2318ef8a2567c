"""What can't be of a routing's traffic is found before a release is written, and the message says what to change."""

import math

import pytest
from bundles import bundle
from hypothesis import given
from hypothesis import strategies as st

from cloche.assignment import BUCKETS, NAMESPACE_BUCKETS, bucket, namespace_bucket
from cloche.errors import InvalidRouting
from cloche.registry.checking import check_traffic, share_outside_experiments
from cloche.registry.override import overridden
from cloche.registry.release import Routing
from cloche.registry.routing import check_routing
from cloche.registry.traffic import Arm, Canary, Constant, Experiment, Fallback, Override, Pilot, Shadow

SCHEMA = {
    "type": "object",
    "properties": {
        "visitor": {"$ref": "#/$defs/Visitor"},
        "market": {"type": "string"},
        "rest": {"type": "object"},
        "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        "either": {"anyOf": [{"type": "object", "properties": {"id": {}}}, {"type": "null"}]},
    },
    "$defs": {"Visitor": {"type": "object", "properties": {"id": {"type": "string"}}}},
}

VERSIONS = ("0.1.0", "1.0.0", "2.0.0")
HALVES = [Arm("control", "0.1.0", 0.5), Arm("treatment", "2.0.0", 0.5)]


def manifest(version, ranks=False):
    made, _ = bundle("ranking" if ranks else "flights", version, ranks=ranks)
    made.input_schema.clear()
    made.input_schema.update(SCHEMA)
    return made


def routing(**fields):
    return Routing(dict.fromkeys(VERSIONS, "sha256:x"), **({"default": "1.0.0"} | fields))


def check(checked, **odd):
    check_routing("flights", checked, {version: manifest(version) for version in VERSIONS} | odd)


SOUND = {
    "subject": "/visitor/id",
    "attributes": {"market": "header:X-Market", "brand": "/market"},
    "shadow": Shadow("2.0.0", 0.05),
    "pilot": Pilot("2.0.0", subjects=["staff-*"]),
    "canary": Canary("2.0.0", 0.05, "rollout-2.0.0"),
    "experiments": {
        "gbm-vs-revenue": Experiment(HALVES, coverage=0.5, namespace=("shop", 0.0, 0.5)),
        "Other_1.b": Experiment([*HALVES[:1], Arm("b", "2.0.0", 0.25), Arm("c", "1.0.0", 0.25)], seed="front"),
        "over": Experiment([Arm("a", "9.9.9", 0.5), Arm("b", "8.8.8", 0.5)], status="stopped"),
    },
    "overrides": [
        Override({"market": ["de", "at"]}, default="0.1.0", fallback=Fallback([Constant(1)]), deadline_ms=90),
        Override({"market": ["ch"], "brand": ["roses"]}, experiments={}, canary=None),
    ],
}


def test_what_can_be_served_passes():
    check(routing(**SOUND))
    check(routing())
    check(routing(experiments={"e": Experiment([Arm(str(n), "1.0.0", 1 / 3) for n in range(3)])}))


def experiment(**fields):
    return {"experiments": {"exp": Experiment(**({"arms": HALVES} | fields))}}


def arms(*weights):
    return experiment(arms=[Arm(f"a{number}", "1.0.0", weight) for number, weight in enumerate(weights)])


MARKET = {"attributes": {"market": "header:X-Market", "brand": "header:X-Brand"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"default": "9.9.9"}, "default is 9.9.9, which is not active; add it to active"),
        ({"shadow": Shadow("9.9.9")}, "shadow.version is 9.9.9, which is not active"),
        ({"pilot": Pilot("9.9.9", subjects=["a"])}, "pilot.version is 9.9.9, which is not active"),
        ({"canary": Canary("9.9.9", 0.5, "s")}, "canary.version is 9.9.9, which is not active"),
        (experiment(arms=[Arm("a", "9.9.9", 1.0)]), "the version of experiments.exp.a is 9.9.9, which is not active"),
        (experiment(arms=[Arm("a", "9.9.9", 1.0)], status="draft"), "9.9.9, which is not active"),
        ({"subject": "visitor"}, "subject is 'visitor'; use a JSON pointer"),
        ({"subject": ""}, "use a JSON pointer"),
        ({"subject": "/a~2"}, "use a JSON pointer"),
        ({"subject": "/" + "a" * 256}, "use a JSON pointer"),
        ({"subject": "/vistor/id"}, "no active version has such a field in its input"),
        ({"subject": "/visitor/name"}, "no active version has such a field in its input"),
        ({"attributes": {"Market": "/market"}}, "attributes.Market can't be a label"),
        ({"attributes": {"version": "/market"}}, "attributes.version can't be a label"),
        ({"attributes": {"market": "/markt"}}, "attributes.market is /markt, and no active version has such a field"),
        ({"attributes": {"market": "claims:market"}}, "attributes.market is 'claims:market'; use a JSON pointer"),
        ({"attributes": {"market": "header:X Market"}}, "name a header, such as header:X-Market"),
        ({"attributes": {"market": "header:"}}, "name a header"),
        ({"attributes": {"market": "claim:"}}, "name a claim of the callers' tokens, such as claim:market"),
        ({"attributes": {"market": "claim:a market"}}, "name a claim"),
        ({"attributes": {"who": "header:Authorization"}}, "holds secrets"),
        ({"attributes": {"who": "header:COOKIE"}}, "holds secrets"),
        ({"overrides": [Override({})]}, "overrides (1) fits no call"),
        (MARKET | {"overrides": [Override({"market": []})]}, "overrides (1) fits no call"),
        (MARKET | {"overrides": [Override({"market": ["de", ""]})]}, "overrides (1) wants of market what no call says"),
        (MARKET | {"overrides": [Override({"market": ["d" * 257]})]}, "values have 1 to 256 characters"),
        ({"overrides": [Override({"market": ["de"]})]}, 'add attributes.market = "header:X-Market"'),
        (
            MARKET | {"overrides": [Override({"market": ["de", "at"]}), Override({"market": ["at"]})]},
            "overrides (2) never counts, since override 1 fits all its calls",
        ),
        (
            MARKET | {"overrides": [Override({"market": ["de"]}), Override({"brand": ["b"], "market": ["de"]})]},
            "overrides (2) never counts",
        ),
        ({"pilot": Pilot("2.0.0")}, 'nobody is in pilot; add subjects = ["staff-*"] or callers'),
        ({"pilot": Pilot("2.0.0", subjects=["a", ""])}, "a pattern of pilot is empty"),
        ({"pilot": Pilot("2.0.0", ["a"], [""])}, "a pattern of pilot is empty"),
        ({"experiments": {"": Experiment(HALVES)}}, "names of experiments and arms are"),
        ({"experiments": {"a b": Experiment(HALVES)}}, "names of experiments and arms are"),
        (experiment(arms=[Arm("a:b", "1.0.0", 1.0)]), "names of experiments and arms are"),
        (arms(1.0), "experiments.exp has 1 arms; give 2 to 100"),
        (arms(), "experiments.exp has 0 arms"),
        (arms(*[1 / 101] * 101), "experiments.exp has 101 arms"),
        (experiment(arms=[HALVES[0], HALVES[0]]), "arms need different names"),
        (experiment(arms=[HALVES[0], Arm("stable", "1.0.0", 0.5)]), "none may be canary or stable"),
        (arms(0.0, 1.0), "every weight must be above 0"),
        (arms(-0.5, 1.5), "every weight must be above 0"),
        (arms(math.nan, 1.0), "every weight must be above 0"),
        (arms(0.5, 0.4), "the weights add up to 0.9; make that 1"),
        (arms(0.5, 0.5 + 2e-6), "the weights add up to"),
        (arms(math.inf, 0.5), "the weights add up to inf"),
        (experiment(coverage=1.1), "experiments.exp.coverage is 1.1; use 0 to 1"),
        (experiment(coverage=-0.1), "experiments.exp.coverage is -0.1"),
        (experiment(coverage=math.nan), "experiments.exp.coverage is nan"),
        (experiment(phase=0), "experiments.exp.phase is 0; phases count from 1"),
        (experiment(seed=""), "experiments.exp.seed is empty"),
        (experiment(namespace=("", 0.0, 0.5)), "experiments.exp.namespace is"),
        (experiment(namespace=("shop", 0.5, 0.5)), 'write [NAME, START, END], such as ["shop", 0, 0.5]'),
        (experiment(namespace=("shop", -0.1, 0.5)), "experiments.exp.namespace is"),
        (experiment(namespace=("shop", 0.5, 1.1)), "experiments.exp.namespace is"),
        (
            {"experiments": {"a": Experiment(HALVES, seed="s"), "b": Experiment(HALVES, seed="s")}},
            "experiments.b and experiments.a have the same seed",
        ),
        ({"shadow": Shadow("2.0.0", 1.5)}, "shadow.share is 1.5; use 0 to 1"),
        ({"canary": Canary("2.0.0", -1.0, "s")}, "canary.share is -1.0; use 0 to 1"),
        ({"canary": Canary("2.0.0", 0.5, "")}, "canary.seed must be there"),
        (
            experiment(seed="s") | {"canary": Canary("2.0.0", 0.5, "s")},
            "canary.seed must be there, and no experiment's",
        ),
        (
            MARKET | {"overrides": [Override({"market": ["de"]}, default="9.9.9")]},
            "with override 1, default is 9.9.9, which is not active",
        ),
        (
            MARKET | {"overrides": [Override({"market": ["de"]}, fallback=Fallback([]))]},
            "with override 1, the last member of a fallback chain",
        ),
        (
            MARKET | {"overrides": [Override({"market": ["de"]}, **experiment(coverage=2.0))]},
            "with override 1, experiments.exp.coverage is 2.0",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(InvalidRouting) as error:
        check(routing(**fields))
    assert str(error.value).startswith("flights can't be routed like that: ")
    assert message in str(error.value)


@pytest.mark.parametrize("pointer", ["/visitor/id", "/market", "/rest/any", "/open/b", "/either/id", "/rest/0/a"])
def test_a_pointer_may_lead_where_the_schema_does_not_say_no(pointer):
    check(routing(subject=pointer))


def test_a_field_of_one_version_is_enough():
    other = manifest("2.0.0")
    other.input_schema["properties"]["customer"] = {"type": "string"}
    check(routing(subject="/customer"), **{"2.0.0": other})
    with pytest.raises(InvalidRouting):
        check(routing(subject="/customers"), **{"2.0.0": other})


def test_a_schema_of_the_team_may_have_any_field():
    check(routing(subject="/customer", schemas={"2.0.0": "sha256:y"}))


def test_rankings_are_tested_against_rankings():
    for fields in ({"shadow": Shadow("2.0.0")}, {"canary": Canary("2.0.0", 0.1, "s")}, experiment()):
        with pytest.raises(InvalidRouting, match="are not both rankings"):
            check(routing(**fields), **{"2.0.0": manifest("2.0.0", ranks=True)})


def test_what_an_override_does_not_say_stays():
    model = routing(**SOUND)
    changed = overridden(model, Override({"market": ["de"]}, deadline_ms=90, subject=None))
    assert (changed.deadline_ms, changed.subject, changed.overrides) == (90, None, [])
    assert (changed.pilot, changed.experiments, changed.canary) == (model.pilot, model.experiments, model.canary)
    assert changed.default == "1.0.0"


def test_an_override_that_names_a_default_leaves_the_tests_of_the_model():
    changed = overridden(routing(**SOUND), Override({"market": ["de"]}, default="0.1.0", canary=SOUND["canary"]))
    assert (changed.default, changed.pilot, changed.experiments) == ("0.1.0", None, {})
    assert changed.canary == SOUND["canary"]
    assert changed.shadow == SOUND["shadow"]


@pytest.mark.parametrize(
    ("experiments", "left"),
    [
        ({}, 1.0),
        ({"a": Experiment(HALVES)}, 0.0),
        ({"a": Experiment(HALVES, status="stopped")}, 1.0),
        ({"a": Experiment(HALVES, coverage=0.4)}, 0.6),
        ({"a": Experiment(HALVES, coverage=0.5), "b": Experiment(HALVES, coverage=0.5)}, 0.25),
        ({"a": Experiment(HALVES, coverage=0.5, namespace=("n", 0.0, 0.5))}, 0.75),
        (
            {
                "a": Experiment(HALVES, namespace=("n", 0.0, 0.5)),
                "b": Experiment(HALVES, namespace=("n", 0.5, 1.0)),
            },
            0.0,
        ),
        (
            {
                "a": Experiment(HALVES, coverage=0.5, namespace=("n", 0.0, 0.5)),
                "b": Experiment(HALVES, namespace=("n", 0.25, 0.75)),
                "c": Experiment(HALVES, coverage=0.5, namespace=("m", 0.0, 1.0)),
            },
            0.5 * (0.125 + 0.25),
        ),
    ],
)
def test_what_experiments_leave_for_a_canary(experiments, left):
    assert share_outside_experiments(routing(experiments=experiments)) == pytest.approx(left)


SPACES = st.none() | st.tuples(
    st.sampled_from(["n", "m"]), st.sampled_from([0.0, 0.25, 0.4]), st.sampled_from([0.5, 0.75, 1.0])
)
EXPERIMENTS = st.builds(Experiment, st.just(HALVES), coverage=st.sampled_from([0.1, 0.5, 1.0]), namespace=SPACES)


@given(st.dictionaries(st.sampled_from("abc"), EXPERIMENTS))
def test_what_is_left_is_what_is_found(experiments):
    def takes(name, each, subject):
        space, start, end = each.namespace or ("", 0.0, 1.0)
        inside = not space or start <= namespace_bucket(space, subject) / NAMESPACE_BUCKETS < end
        place = bucket(f"{name}-1", subject) / BUCKETS % 0.5
        return inside and place < each.coverage / 2

    subjects = [f"v-{number}" for number in range(2000)]
    outside = sum(not any(takes(name, each, who) for name, each in experiments.items()) for who in subjects)
    left = share_outside_experiments(routing(experiments=experiments))
    assert abs(outside - 2000 * left) <= 5 * math.sqrt(2000 * left * (1 - left)) + 1e-6


def test_all_but_what_overrides_change_is_checked_by_itself():
    check_traffic("flights", routing(), {version: manifest(version) for version in VERSIONS})
