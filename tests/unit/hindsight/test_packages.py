"""A version that was made with other packages is asked again with those."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cloche.drivers import open_sink
from cloche.home import Home
from cloche.log.columns import pack_text
from cloche.testing import make_record
from cloche.values import Personal, Record
from serving import run
from toy_wheels import make_wheel, publish_toy


async def write(home: Home, record: Record) -> None:
    home.log.parent.mkdir(parents=True)
    sink = open_sink("sqlite", home.log.parent)
    await sink.write([record])
    await sink.close()


@pytest.mark.parametrize(
    ("had", "status", "verdict", "why"),
    [("1.0", 0, "same", None), ("1.1", 1, "different", None), ("2.0", 3, "impossible", "no_environment")],
)
def test_its_environment_is_built(tmp_path: Path, had: str, status: int, verdict: str, why: str | None) -> None:
    """A host that finds toybox 1.0 and 1.1, which is what each answers; the record says 1.0."""
    home, index = Home(tmp_path / ".cloche"), tmp_path / "index"
    (tmp_path / "nothing").mkdir()
    for version in ("1.0", "1.1"):
        make_wheel(index, "toybox", version)
    digest = publish_toy(home, {"toybox": had})
    contents = Personal(input=pack_text(b"[{}]"), output=pack_text(b'["1.0"]'))
    record = make_record(0, contents, digest=digest)
    asyncio.run(write(home, record))
    found = {"UV_DEFAULT_INDEX": (tmp_path / "nothing").as_uri(), "UV_FIND_LINKS": str(index)}
    done = run(home.path, "log", "reproduce", record.id.hex(), "--json", **found)
    assert done.returncode == status, done.stderr
    said = json.loads(done.stdout)
    assert (said["verdict"], said["why"]) == (verdict, why)
    assert "… building the environment of toy 1.0.0 (1 package)" in done.stderr
    if verdict == "different":
        assert said["places"] == [{"pointer": "/output", "before": "1.0", "after": "1.1"}]
    assert said["notes"] == []
