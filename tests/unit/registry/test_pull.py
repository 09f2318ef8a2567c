"""What is live as models.toml."""

from __future__ import annotations

import json

import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import InvalidRouting, ModelNotFound
from cloche.registry.apply import apply, plan
from cloche.registry.catalog import Registry
from cloche.registry.goal import load_goal, read_goal
from cloche.registry.pull import HEAD, pull, pull_into, replaced
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.registry.undo import undo

ADA = Reason("ada")

EVERYTHING = """
[models.flights]
active = ["1.0.0", "2.*"]
default = "1.0.0"
subject = "/id \\"x\\""
deadline_ms = 90
max_wait_ms = 0
max_batch = 256
criticality = "sheddable"
workers = 3
redact = ["/input/name", "/output"]
retention = "90d"
fallback = { chain = ["2.0.0", { constant = { price = 7.5, tags = ["a"] } }], reserve_ms = 15 }
shadow = { version = "2.0.0", share = "5%" }
pilot = { version = "2.0.0", subjects = ["staff-*"], callers = ["crm"] }
schemas = { "2.*" = { type = "object", properties = { a = { type = "number" } } } }
attributes = { market = "header:Cloche-Market" }
[models.flights.rollout]
steps = ["1%", "12.5%", "100%"]
hold = "90s"
max_wait = "2h"
min_requests = 7
no_harm_found = true
error_margin = 0.01
[[models.flights.overrides]]
when = { market = ["de"] }
default = "2.0.0"
shadow = false
deadline_ms = 70
[models.flights.experiments."a.test"]
coverage = 0.5
namespace = ["people", 0, 0.5]
arms = [{ name = "a", version = "1.0.0", weight = 0.3 }, { name = "b", version = "2.0.0", weight = 0.7 }]
"""


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0"):
        await registry.add(*bundle(version=version))
        await registry.add(*bundle("other.one", version))
    return registry


def write(folder, pulled):
    for name, content in {**pulled.files, "models.toml": pulled.text.encode()}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return load_goal(folder / "models.toml")


async def test_all_that_can_be_live_goes_into_the_file_and_comes_out_the_same(registry, tmp_path):
    await apply(registry, read_goal(EVERYTHING), ADA)
    await make_default(registry, "other.one", "1.0.0", ADA)
    pulled = await pull(registry, None)
    assert pulled.models == ["flights", "other.one"]
    goal = write(tmp_path, pulled)
    assert [each.verdict for each in (await plan(registry, goal)).models] == ["unchanged", "unchanged"]
    assert pulled.text.startswith(HEAD)
    assert 'steps = ["1%", "12.5%", "100%"]\nhold = "90s"\n' in pulled.text
    schema = json.loads((tmp_path / next(iter(pulled.files))).read_text())
    assert schema == {"type": "object", "properties": {"a": {"type": "number"}}}
    again = await pull(registry, goal)
    assert (again.models, again.text) == ([], pulled.text)


async def test_a_constant_that_toml_can_not_say(registry, tmp_path):
    chain = "{ constant_json = '{\"price\": [null, 1]}' }"
    await apply(registry, read_goal(f'[models.flights]\ndefault = "1.0.0"\nfallback = {{ chain = [{chain}] }}'), ADA)
    goal = write(tmp_path, await pull(registry, None))
    assert goal.models["flights"].fallback.chain[0].constant == {"price": [None, 1]}


FILE = """\
# our models

# flights are late
[models.flights]
default = "2.*"  # the newest
  [models.flights.rollout]
  steps = ["100%"]
# the other one: "[models.flights]"
[models."other.one"]
default = "1.*"
"""


async def test_after_an_undo_only_that_section_is_written_anew(registry):
    await apply(registry, read_goal(FILE.replace("2.*", "1.*")), ADA)
    goal = read_goal(FILE.replace('steps = ["100%"]', "").replace("  [models.flights.rollout]\n", ""))
    await apply(registry, goal, ADA)
    await undo(registry, "flights", ADA)
    pulled = await pull(registry, read_goal(FILE))
    assert pulled.models == ["flights"]
    assert pulled.text == (
        '# our models\n\n# flights are late\n[models.flights]\nactive = ["1.0.0"]\ndefault = "1.0.0"\n\n'
        '[models.flights.rollout]\nsteps = ["100%"]\n\n'
        '# the other one: "[models.flights]"\n[models."other.one"]\ndefault = "1.*"\n'
    )
    done = await apply(registry, read_goal(pulled.text), ADA)
    assert done.release.models["flights"].held is None
    assert done.release.models["flights"].default == "1.0.0"


async def test_a_named_model_is_added(registry):
    await make_default(registry, "flights", "1.0.0", ADA)
    await make_default(registry, "other.one", "1.0.0", ADA)
    file = '[models.flights]\ndefault = "1.*"'
    assert (await pull(registry, read_goal(file))).models == []
    pulled = await pull(registry, read_goal(file), ["other.one"])
    assert pulled.text == file + '\n\n[models."other.one"]\nactive = ["1.0.0"]\ndefault = "1.0.0"\n'


async def test_a_link_to_the_file_stays_one(registry, tmp_path):
    await make_default(registry, "flights", "1.0.0", ADA)
    (tmp_path / "link.toml").symlink_to("models.toml")
    await pull_into(registry, tmp_path / "link.toml")
    assert (tmp_path / "link.toml").is_symlink()
    assert list(load_goal(tmp_path / "models.toml").models) == ["flights"]


async def test_what_is_not_live_can_not_be_pulled(registry):
    await make_default(registry, "flights", "1.0.0", ADA)
    with pytest.raises(ModelNotFound, match="There is flights"):
        await pull(registry, None, ["fligths"])


@pytest.mark.parametrize(
    "text",
    [
        '[models]\nflights = { default = "1.0.0" }\n',
        'models.flights.default = "1.0.0"\n',
        '[models.flights]\ndefault = """\n[models.other]\n"""\n[models.other]\ndefault = "1.0.0"\n',
    ],
)
def test_what_can_not_be_replaced_alone_is_left_to_a_person(text):
    with pytest.raises(InvalidRouting, match="can't be replaced without touching others"):
        replaced(text, "flights", '[models.flights]\ndefault = "2.0.0"\n')
