from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from cloche.environments.shelf import UNUSED_DAYS, Shelf, interpreter

NAME = "0123456789abcdef0123456789abcdef"
LOCKS = {f"{NAME}.making", f"{NAME}.using"}


class Builds:
    """Builds something that looks like an environment, and counts how often."""

    def __init__(self, python: str = sys.executable, fails: Exception | None = None) -> None:
        self.count = 0
        self.drafts: list[Path] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._python = python
        self._fails = fails

    async def __call__(self, draft: Path) -> None:
        self.count += 1
        self.drafts.append(draft)
        interpreter(draft).parent.mkdir()
        await self.go_on.wait()
        if self._fails:
            raise self._fails
        interpreter(draft).symlink_to(self._python)


async def test_an_environment_is_built_once(tmp_path: Path) -> None:
    shelf, build = Shelf(tmp_path / "environments"), Builds()
    first = await shelf.get(NAME, build)
    assert interpreter(first).exists()
    assert await shelf.get(NAME, build) == first
    assert await Shelf(tmp_path / "environments").get(NAME, build) == first
    assert build.count == 1


async def test_who_asks_meanwhile_waits_for_it(tmp_path: Path) -> None:
    build, waited = Builds(), asyncio.Event()
    build.go_on.clear()
    one = asyncio.create_task(Shelf(tmp_path).get(NAME, build))
    two = asyncio.create_task(Shelf(tmp_path).get(NAME, build, waited.set))
    await asyncio.wait_for(waited.wait(), 10)
    assert not (tmp_path / NAME).exists(), "half an environment"
    build.go_on.set()
    assert await one == await two
    assert build.count == 1


async def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with pytest.raises(RuntimeError):
        await shelf.get(NAME, Builds(fails=RuntimeError()))
    assert {path.name for path in tmp_path.iterdir()} == LOCKS
    await shelf.get(NAME, build := Builds())
    assert build.count == 1


async def test_a_build_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    build = Builds()
    build.go_on.clear()
    task = asyncio.create_task(Shelf(tmp_path).get(NAME, build))
    while not build.count:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {path.name for path in tmp_path.iterdir()} == LOCKS
    await asyncio.wait_for(Shelf(tmp_path).get(NAME, Builds()), 10)


async def test_what_a_killed_build_has_left_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / f".new-{NAME}-left"
    (left / "bin").mkdir(parents=True)
    await Shelf(tmp_path).get(NAME, Builds())
    assert not left.exists()


async def test_one_whose_python_was_removed_is_built_anew(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    folder = await Shelf(tmp_path / "shelf").get(NAME, Builds(str(python)))
    (folder / "half").touch()
    python.unlink()
    again = await Shelf(tmp_path / "shelf").get(NAME, build := Builds())
    assert (again, build.count) == (folder, 1)
    assert not (again / "half").exists()


async def test_what_nobody_uses_is_removed_after_a_while(tmp_path: Path) -> None:
    old, used, new = (f"{number:032x}" for number in range(3))
    shelf = Shelf(tmp_path)
    for name in (old, used, new):
        await shelf.get(name, Builds())
    shelf.close()
    await shelf.get(used, Builds())
    for name in (old, used):
        age(tmp_path / name, UNUSED_DAYS + 1)
    age(tmp_path / new, UNUSED_DAYS - 1)
    (tmp_path / f".new-{NAME}-left").mkdir()
    Shelf(tmp_path).tidy()
    assert {path.name for path in tmp_path.glob("*/")} == {used, new}
    assert not list(tmp_path.glob(".new-*"))


async def test_asking_for_it_is_using_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    await shelf.get(NAME, Builds())
    age(tmp_path / NAME, UNUSED_DAYS + 1)
    await shelf.get(NAME, Builds())
    shelf.close()
    shelf.tidy()
    (there,) = Shelf(tmp_path).there()
    assert there.folder == tmp_path / NAME
    assert there.used_s > time.time() - 60


def age(environment: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(environment / "used", (then, then))
