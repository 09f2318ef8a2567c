"""`make prove`: runs every test that counts with the count that was promised, and writes EVIDENCE.md.

A test notes what it showed with the fixture `evidence`: a claim, how often it was tried, and what came out.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "EVIDENCE.md"
SEED = 2026
HEADING = "## Run that ended at "
NONE_CHOSEN = 5
"""The status of pytest where no test was chosen."""
TEST = re.compile(r"def (test_\w+)")
SHOWN_BY = re.compile(r"::(test_\w+)` \|$")
MARKS = ("CLOCHE_PROVE", "PROVE,", "evidence")
"""What stands in a file whose tests count."""

PREFACE = """# Evidence

What `make prove` found. A figure stands here only where the test beside it passed when it ran last; a later run of some
of the tests takes the place of what these had shown before. `make test` runs the same tests with smaller counts.
"""


def main(arguments: list[str]) -> int:
    """Run the tests and write the page; return the status of the run."""
    began = time.monotonic()
    status, cases, cut_short = 0, [], False
    for options in (["-m", "alone"], ["-m", "not alone", "-n", str(os.cpu_count() or 1), "--dist", "worksteal"]):
        ended, found = run([*options, *arguments])
        status = status or (0 if ended == NONE_CHOSEN else ended)
        cases += found or []
        cut_short = cut_short or found is None
    newest = section(cases, time.monotonic() - began, shlex.join(arguments), cut_short)
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    earlier = still_true(before, {name_of(case) for case in cases}, counted_tests())
    PAGE.write_text("\n".join([PREFACE, newest, *earlier]), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
    return status


def run(options: list[str]) -> tuple[int, list[ElementTree.Element] | None]:
    """Run the tests that count, and return the status with what came of each; None where the run was killed."""
    with tempfile.TemporaryDirectory(prefix="cloche-prove-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", f"--hypothesis-seed={SEED}", *options]
        command += map(str, counted_files())
        status = subprocess.run(command, cwd=ROOT, env=os.environ | {"CLOCHE_PROVE": "1"}, check=False).returncode
        return status, list(ElementTree.parse(report).iter("testcase")) if report.exists() else None


def counted_files() -> Iterator[Path]:
    """Yield the test files whose counts grow, or that have something to show."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if any(mark in text for mark in MARKS):
            yield path.relative_to(ROOT)


def counted_tests() -> set[str]:
    """Return the names of the tests in those files."""
    return {name for path in counted_files() for name in TEST.findall((ROOT / path).read_text(encoding="utf-8"))}


def section(cases: list[ElementTree.Element], took_s: float, chosen: str, cut_short: bool) -> str:
    """Return the section of a run."""
    kinds = ("failure", "error", "skipped")
    found = {kind: [case for case in cases if case.find(kind) is not None] for kind in kinds}
    bad = {id(case) for cases_of_kind in found.values() for case in cases_of_kind}
    facts = {
        "Commit": commit(),
        "Seed": f"{SEED} for Hypothesis; the other seeds are in the tests",
        "Machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Chosen": f"`{chosen}`" if chosen else "all tests that count",
        "Result": f"{len(cases) - len(bad)} tests passed, {len(found['failure'])} failed, {len(found['error'])} had an "
        f"error, {len(found['skipped'])} were skipped, in {took_s / 60:.0f} minutes"
        + ("; a part of the run was killed, and is not in this" if cut_short else ""),
    }
    ended = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"{HEADING}{ended}", "", *(f"* {name}: {said}" for name, said in facts.items()), ""]
    lines += ["| claim | tried | came out | test |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for case in cases if id(case) not in bad for row in rows_of(case)]
    for kind in kinds:
        lines += [f"\n{kind.title()}: {name_of(case)}" for case in found[kind]]
    return "\n".join(lines) + "\n"


def still_true(page: str, again: Set[str], there: Set[str]) -> Iterator[str]:
    """Yield the sections of a page without what tests had shown that ran again or are gone; none that shows nothing."""
    for text in page.split(f"\n{HEADING}")[1:]:
        lines = [
            line
            for line in text.splitlines()
            if again.isdisjoint(line.replace("`", " ").split()) and there >= set(SHOWN_BY.findall(line))
        ]
        if any(line.endswith("` |") for line in lines):
            yield HEADING + "\n".join(lines) + "\n"


def rows_of(case: ElementTree.Element) -> Iterator[list[str]]:
    """Yield the rows of the table that a test has noted."""
    for entry in case.iter("property"):
        if entry.get("name") == "evidence":
            claim, count, figure = json.loads(entry.get("value") or "")
            yield [*(text.replace("|", "\\|") for text in (claim, count, figure)), f"`{name_of(case)}`"]


def name_of(case: ElementTree.Element) -> str:
    """Return a test's file and name, without its parameters."""
    path = (case.get("classname") or "").replace(".", "/")
    return f"{path}.py::{(case.get('name') or '').partition('[')[0]}"


def commit() -> str:
    """Return what is checked out, and whether files differ from it."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    others = [line for line in changed.stdout.splitlines() if not line.endswith(PAGE.name)]
    return (head.stdout.strip() or "none") + (" with changes that are not committed" if others else "")


def processor() -> str:
    """Return the model of the processor, as the system names it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
