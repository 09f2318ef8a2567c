"""Reading models.toml: what it may say, and what is said where it can't be used."""

from __future__ import annotations

import os
import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import InvalidGoal
from cloche.home import Home
from cloche.registry.goal import ModelGoal, goal_file, goal_of_tree, load_goal, read_goal
from cloche.registry.keys import KeyFault, dotted, duration_ms, line_of, share, typed
from cloche.registry.toml import durations, inline, number_or_percent
from cloche.registry.traffic import Arm, Constant, Experiment, Fallback, Override, Pilot, Shadow

FILE = """\
# what is live
[models.ranking]
active      = ["0.1.0", "1.4.0", "2.0.*"]
default     = "2.0.0"
subject     = "/visitor/id"
deadline_ms = 90
fallback    = { chain = ["0.1.0", { constant_json = '{"price": null}' }, "input_order"], reserve_ms = 15 }
shadow      = { version = "2.0.1", share = "5%" }
pilot       = { version = "2.0.1", subjects = ["staff-*"] }

[models.ranking.attributes]
market = "header:Cloche-Market"

[models.ranking.rollout]
steps = ["1%", "5%", 1]
hold = "10m"
min_requests = 300

[[models.ranking.overrides]]
when = { market = ["de", "at"] }
default = "1.4.0"
shadow = false

[models.ranking.experiments.gbm-vs-revenue]
status = "running"
coverage = 0.5
namespace = ["people", 0, "50%"]
arms = [
    { name = "control", weight = "50%", version = "0.1.0" },
    { name = "treatment", weight = 0.5, version = "1.4.0" },
]

[models."a.b"]
default = "1.*"
"""


def test_all_that_a_file_can_say():
    goal = read_goal(FILE)
    ranking = goal.models["ranking"]
    assert ranking.active == ["0.1.0", "1.4.0", "2.0.*"]
    assert (ranking.default, ranking.subject, ranking.deadline_ms) == ("2.0.0", "/visitor/id", 90)
    assert ranking.fallback == Fallback(["0.1.0", Constant({"price": None}), "input_order"], 15)
    assert ranking.shadow == Shadow("2.0.1", 0.05)
    assert ranking.pilot == Pilot("2.0.1", ["staff-*"])
    assert ranking.rollout.plan.steps == (0.01, 0.05, 1.0)
    assert (ranking.rollout.plan.hold_ms, ranking.rollout.plan.min_requests) == (600_000, 300)
    assert ranking.overrides == [Override({"market": ["de", "at"]}, default="1.4.0", shadow=None)]
    assert ranking.experiments["gbm-vs-revenue"] == Experiment(
        arms=[Arm("control", "0.1.0", 0.5), Arm("treatment", "1.4.0", 0.5)],
        coverage=0.5,
        namespace=("people", 0.0, 0.5),
    )
    assert goal.models["a.b"] == ModelGoal(default="1.*")
    assert goal.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("good", "bad", "line", "said"),
    [
        ("shadow ", "shaddow ", 8, "models.ranking.shaddow: there is no such key here; did you mean shadow?"),
        ("share =", "shar =", 8, "models.ranking.shadow.shar: there is no such key here; did you mean share?"),
        ('"5%" }', '"lots" }', 8, "models.ranking.shadow.share: 'lots' is not a share; write 0.05 or \"5%\""),
        ('"5%" }', "nan }", 8, "models.ranking.shadow.share: nan is not a share"),
        ('"10m"', "600", 16, 'models.ranking.rollout.hold: 600 is not a duration; write "90s", "10m" or "2h"'),
        ('"running"', '"runing"', 25, "status: 'runing' is not one of draft, running, stopped"),
        ('weight = 0.5, version = "1.4.0"', 'version = "1.4.0"', 28, "arms[2]: weight is missing; add weight = …"),
        ('default     = "2.0.0"\n', "", 2, "models.ranking: default is missing; add default = …"),
        (
            'default = "1.4.0"',
            'defalt = "1.4.0"',
            21,
            "overrides[1].defalt: there is no such key here; did you mean defa",
        ),
        ("deadline_ms = 90", 'deadline_ms = "90"', 6, "deadline_ms: '90' can't be used: expected int, got str"),
        ("deadline_ms = 90", "deadline_ms = 0.5", 6, "deadline_ms: 0.5 can't be used"),
        ("deadline_ms = 90", 'criticality = "high"', 6, "criticality: 'high' is not one of critical,"),
        ("deadline_ms = 90", "max_batch = 0.5", 6, "max_batch: 0.5 can't be used"),
        ("deadline_ms = 90", "deadline_ms = true", 6, "deadline_ms: True can't be used"),
        ('["de", "at"]', '"de"', 20, "models.ranking.overrides[1].when.market: 'de' is not a list"),
        ('["people", 0, "50%"]', '["people", 0]', 27, "namespace: this has 2 members, and must have 3"),
        ("constant_json = '{", "constant_json = '", 7, "constant_json: this is not JSON"),
        ("{ constant_json", "{ konstant", 7, "chain[2]: write { constant = … }"),
        ('[models."a.b"]', '[models."A b"]', 33, "models.\"A b\": 'A b' is not a model name"),
        ("min_requests = 300", "min_requests = ", 17, "min_requests =: this is not TOML: Invalid value"),
        ("# what is live", "versions = 1", 1, "versions: there is no such key here; known are models"),
        ('"header:Cloche-Market"', "7", 12, "models.ranking.attributes.market: 7 can't be used"),
    ],
)
def test_a_fault_names_line_key_and_what_to_write(good, bad, line, said):
    assert FILE.count(good) >= 1
    with pytest.raises(InvalidGoal) as caught:
        read_goal(FILE.replace(good, bad, 1))
    text = str(caught.value)
    assert text.startswith(f"models.toml, line {line}: "), text
    assert said in text


@pytest.mark.parametrize("text", ["models = 1", "models = []", "[models]\nx = 1", "[[models.a]]", "[models.a]"])
def test_what_is_no_table_of_models(text):
    with pytest.raises(InvalidGoal):
        read_goal(text)


def test_the_end_of_a_file_that_breaks_off():
    with pytest.raises(InvalidGoal, match=r"models.toml, line 2: .*: this is not TOML"):
        read_goal('[models.a]\ndefault = "1.0')


def test_plain_values_are_read_like_a_file():
    assert goal_of_tree({"models": {"a": {"default": "1.0.0", "subject": None}}}).models["a"] == ModelGoal("1.0.0")
    with pytest.raises(
        InvalidGoal, match=r"^the body: models\.a\.defalt: there is no such key here; did you mean default"
    ):
        goal_of_tree({"models": {"a": {"defalt": "1.0.0"}}})
    with pytest.raises(InvalidGoal, match=r"^the body: the top level: \[\] is not a table"):
        goal_of_tree([])


def test_a_mark_that_editors_write_at_the_beginning_means_nothing():
    assert read_goal("\ufeff" + FILE).models == read_goal(FILE).models
    with pytest.raises(InvalidGoal, match=r"^models\.toml, line 1: versions: "):
        read_goal("\ufeffversions = 1")


def test_false_takes_something_away_in_an_override():
    text = "[models.a]\ndefault = '1.0.0'\n[[models.a.overrides]]\nwhen = { market = ['de'] }\nshadow = false\n"
    (override,) = read_goal(f"{text}experiments = false").models["a"].overrides
    assert (override.shadow, override.experiments) == (None, {})
    with pytest.raises(InvalidGoal, match="experiments: False is not a table"):
        read_goal("[models.a]\ndefault = '1.0.0'\nexperiments = false")


def test_the_file_is_looked_for_beside_the_home(tmp_path):
    home = Home(tmp_path / ".cloche")
    assert goal_file(home) == tmp_path / "models.toml"
    assert goal_file(home, tmp_path / "other.toml") == tmp_path / "other.toml"
    with pytest.raises(InvalidGoal, match=r"there is no such file; .*cloche release pull"):
        load_goal(goal_file(home))
    (tmp_path / "models.toml").write_bytes(b"# \xff")
    with pytest.raises(InvalidGoal, match="byte 2 is not UTF-8"):
        load_goal(goal_file(home))


@pytest.fixture
def project(tmp_path):
    """A project, with secrets beside it."""
    (tmp_path / "secret.json").write_text('{"type": "object"}')
    folder = tmp_path / "project"
    (folder / "schemas").mkdir(parents=True)
    (folder / "schemas" / "a.json").write_text('{"type": "object"}')
    (folder / "schemas" / "bad.json").write_text("{")
    (folder / "schemas" / "list.json").write_text("[]")
    (folder / "schemas" / "deep.json").write_text('{"a":' * 200 + "1" + "}" * 200)
    (folder / "schemas" / "deeper.json").write_text('{"a":' * 20_000)
    (folder / "schemas" / "long.json").write_text(" " * 1_100_000)
    (folder / "schemas" / "inside.json").symlink_to("a.json")
    (folder / "schemas" / "out.json").symlink_to(tmp_path / "secret.json")
    (folder / "schemas" / "ring.json").symlink_to("ring.json")
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "schemas" / "pipe.json")
    return folder


def read(project, schema):
    (project / "models.toml").write_text(f"[models.a]\ndefault = '1.0.0'\nschemas = {{ '1.*' = '{schema}' }}")
    return load_goal(project / "models.toml").models["a"].schemas


@pytest.mark.parametrize("name", ["schemas/a.json", "./schemas/a.json", "schemas/inside.json"])
def test_schemas_come_from_files_of_the_project(project, name):
    assert read(project, name) == {"1.*": {"type": "object"}}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret.json", "in the folder of this one or below"),
        ("schemas/../../secret.json", "in the folder of this one or below"),
        ("/etc/hostname", "in the folder of this one or below"),
        ("schemas/out.json", "leads out of the project"),
        ("out/secret.json", "leads out of the project"),
        ("schemas", "no such file"),
        ("schemas/pipe.json", "no such file"),
        ("schemas/none.json", "no such file"),
        ("schemas/long.json", "larger than"),
        ("schemas/bad.json", "truncated"),
        ("schemas/deep.json", "nested deeper than 100 levels"),
        ("schemas/deeper.json", "recursion"),
        ("schemas/list.json", "no JSON Schema of an object"),
        ("..\\secret.json", "in the folder of this one or below"),
        ("schemas/ring.json", "can't be"),  # read, or from Python 3.13 on used, since there is no such file
        ("a" * 5_000, "can't be read"),
    ],
)
def test_schemas_come_from_nowhere_else(project, name, said):
    with pytest.raises(InvalidGoal, match=r"models\.toml, line 3: models\.a\.schemas\.\"1\.\*\": ") as caught:
        read(project, name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("90s", 90_000), ("10m", 600_000), ("1.5h", 5_400_000), ("250 ms", 250), ("1d", 86_400_000)],
)
def test_durations(text, milliseconds):
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("value", ["", "10", "m", "-1s", "1w", 5, None, True, "1e3s", "١m"])
def test_what_is_no_duration(value):
    with pytest.raises(KeyFault):
        duration_ms(value)


@pytest.mark.parametrize("value", ["", "5", "-5%", "5 %%", True, None, float("inf"), "1e2%", [], 10**400])
def test_what_is_no_share(value):
    with pytest.raises(KeyFault):
        share(value)


@given(st.floats(0, 1))
def test_a_share_is_written_so_that_it_is_read_again(value):
    assert share(share_text(value)) == value


def share_text(value):
    text = number_or_percent(value)
    return text.strip('"') if text.startswith('"') else float(text)


@given(st.integers(0, 10**9))
def test_a_duration_is_written_so_that_it_is_read_again(milliseconds):
    assert duration_ms(durations(milliseconds).strip('"')) == milliseconds


plain = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_values_are_written_so_that_they_are_read_again(value):
    assert tomllib.loads(f"a = {inline(value)}") == {"a": value}


def test_a_key_is_found_where_it_is_given_and_not_where_it_is_named():
    first = '# default\n[models.a]\nactive = [\n  "default",\n]\n\n'
    text = first + "[models.b]\ndefault = 1\n[[models.b.overrides]]\ndefault = 2\n"
    assert line_of(text, ("models", "b", "default")) == 8
    assert line_of(text, ("models", "b", "overrides", 0, "default")) == 10
    assert line_of(text, ("models", "a", "active", 0)) == 3
    assert line_of(text, ("models", "a", "missing")) == 2
    assert dotted(("models", "a b", "overrides", 0)) == 'models."a b".overrides[1]'


MANY_LINES = (
    """\
# it's [ no list
[models.a]
subject = "a # [ \\" {"   # {{
"b]" = '[ " '
c = """
    + "'" * 3
    + """
[ default '' " # {
"""
    + "'" * 5
    + """
d = """
    + '"' * 3
    + """\\"\\"\\" [
"""
    + '"' * 5
    + """
e = [ # ]
  "]", { f = "[" },
]
[[models.a.overrides]]
default = 1
"""
)


@pytest.mark.parametrize(
    ("key", "line"),
    [("subject", 3), ("b]", 4), ("c", 5), ("d", 8), ("e", 10), ("overrides", 13), ("f", 2)],
)
def test_a_key_is_found_whatever_texts_and_comments_hold(key, line):
    assert line_of(MANY_LINES, ("models", "a", key)) == line
    assert line_of(MANY_LINES, ("models", "a", "e", 1, "f")) == 11
    assert line_of(MANY_LINES, ("models", "a", "overrides", 0, "default")) == 14
    assert line_of(MANY_LINES, ()) == 1


@pytest.mark.parametrize("lines", ["# default\n", "[models.m{}]\ndefault = '1.0.0'\n"])
def test_a_key_is_found_soon_in_a_long_file(lines):
    text = "".join(lines.format(number) for number in range(4_000)) + "[models.flights]\ndefault = 3\n"
    began = time.perf_counter()
    assert line_of(text, ("models", "flights", *("default",) * 1_000)) == text.count("\n")
    assert time.perf_counter() - began < 5


DEEP = "[" * 200 + "]" * 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 20_000, "the top level: this can't be read: "),
        ("x = " + "9" * 5_000, "the top level: this can't be read: "),
        ("x = " + DEEP, "the top level: this is nested deeper than 100 levels"),
        (".".join("x" * 2_000) + " = 1", "the top level: this is nested deeper than 100 levels"),
        (
            f"[models.a]\ndefault = '1.0.0'\nfallback = {{ chain = [{{ constant_json = '{DEEP}' }}] }}",
            "than 100 levels",
        ),
        ("[models.a]\ndefault = '1.0.0'\nfallback = { chain = [{ constant_json = '%s' }] }" % (DEEP * 10), "line 3: "),
        (
            f"[models.a]\ndefault = '1.0.0'\nfallback = {{ chain = [{{ constant_json = '{'[' * 9_000}' }}] }}",
            "not JSON",
        ),
    ],
)
def test_what_no_person_writes_is_a_fault_of_the_file_too(text, said):
    with pytest.raises(InvalidGoal) as caught:
        read_goal(text)
    assert said in str(caught.value)


def test_typed_takes_a_list_where_one_is_asked_for():
    assert typed([1], list[int]) == [1]
    with pytest.raises(KeyFault, match="is not a list"):
        typed("1", list[int])
