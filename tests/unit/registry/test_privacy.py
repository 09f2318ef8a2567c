"""What a team says of people's data in models.toml."""

from __future__ import annotations

import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import InvalidGoal
from cloche.registry.apply import apply
from cloche.registry.catalog import Registry
from cloche.registry.goal import read_goal
from cloche.registry.release import Reason

FILE = '[models.flights]\ndefault = "1.0.0"\n'


@pytest.fixture
async def registry(tmp_path):
    made = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
    await made.add(*bundle())
    return made


async def test_pointers_and_retention_are_in_the_release(registry):
    said = f'{FILE}redact = ["/output", "/input/name", "/output"]\nretention = "90d"\n'
    await apply(registry, read_goal(said), Reason("ada"))
    routing = (await registry.releases.live()).models["flights"]
    assert (routing.redact, routing.retention_ms) == (("/input/name", "/output"), 90 * 86_400_000)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('redact = ["/input/a", "name"]', r"line 3: models.flights.redact.*write /input/name"),
        ('redact = "/input/a"', r"line 3: models.flights.redact.*not a list"),
        ('retention = "1s"', r"line 3: models.flights.retention.*less than a minute"),
        ('retention = "for ever"', r"line 3: models.flights.retention.*not a duration"),
    ],
)
async def test_what_makes_no_sense_is_said_with_its_line(registry, line, said):
    with pytest.raises(InvalidGoal, match=f"(?s){said}"):
        await apply(registry, read_goal(FILE + line), Reason("ada"))
    assert (await registry.releases.live()).models == {}
