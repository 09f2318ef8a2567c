"""docs/how-it-is-built.md shows the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "cloche"
PAGE = (ROOT / "docs" / "how-it-is-built.md").read_text(encoding="utf-8")


def test_every_room_is_on_the_plan() -> None:
    drawn = re.findall(r"^[├└]── ([\w.]+)", PAGE, re.MULTILINE)
    rooms = {path.name for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(drawn) == sorted(rooms - {"__init__.py", "__main__.py"})


def test_what_the_page_names_is_there() -> None:
    named = {name.rstrip("/") for name in re.findall(r"`([\w./-]+(?:/|\.py))`", PAGE)}
    known = [path.relative_to(ROOT) for top in ("src", "tests", "docs") for path in (ROOT / top).rglob("*")]
    ends = {str(Path(*path.parts[number:])) for path in known for number in range(len(path.parts))}
    assert named <= ends
