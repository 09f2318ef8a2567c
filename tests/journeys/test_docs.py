"""The documentation is true: what it shows is run, what it links to is there, what it names exists."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pages import Reader, blocks, commands

from cloche.cli import cli
from cloche.cli.lazy import LazyGroup

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXECUTED = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
MENTION = re.compile(r"`(cloche [^`\n]+)`")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages call the server with curl")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", EXECUTED, ids=named)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        reader.follow(page.read_text(encoding="utf-8"))
    finally:
        reader.close()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{target} is not there"
        if heading:
            assert heading in anchors(found), f"{found.name} has no heading #{heading}"


def test_every_page_can_be_found_from_the_first() -> None:
    found, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in PAGES and page not in found:
            found.add(page)
            links = LINK.findall(page.read_text(encoding="utf-8"))
            left += [(page.parent / target).resolve() for target, _ in links if target]
    assert set(DOCS.rglob("*.md")) <= found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists(page: Path) -> None:
    for line in mentioned(page.read_text(encoding="utf-8")):
        command, left = cli, shlex.split(line.partition("|")[0], comments=True)[1:]
        while isinstance(command, LazyGroup) and (words := [word for word in left if word in command.table]):
            left.remove(words[0])
            command = command.get_command(click.Context(command), words[0])
        assert not isinstance(command, LazyGroup) or not left or left[0].startswith("-"), f"{line}: no such command"
        known = {flag for option in (*command.params, *cli.params) for flag in option.opts} | {"--help"}
        assert {word for word in left if word.startswith("--")} <= known, f"{line}: no such option"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def mentioned(page: str) -> Iterator[str]:
    """Yield each command of Cloche that a page shows or names."""
    for block in blocks(page):
        for command, _ in commands(block.text):
            if match := re.search(r"\bcloche (?:'[^']*'|[^()>&;])*", command):
                yield match[0]
    for match in MENTION.finditer(page):
        yield match[1].replace("…", "")
