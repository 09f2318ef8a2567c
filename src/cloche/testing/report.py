"""What `check_model` has found, for people, for tests and for programs."""

from __future__ import annotations

from typing import Literal

import msgspec

from cloche.errors import ChecksFailed

Verdict = Literal["pass", "fail", "skip"]


class Finding(msgspec.Struct, frozen=True):
    """What one check has found."""

    check: str
    """Its name: `one row`, `batch equals single`, …"""
    verdict: Verdict
    said: str
    """What was seen; of a check that was skipped: why."""
    todo: str | None = None
    """What to do, where it failed."""

    def lines(self, width: int = 0) -> list[str]:
        """Return it for a person, its name padded to `width`."""
        first, *more = self.said.splitlines()
        lines = [f"{self.verdict}  {self.check.ljust(width)}  {first}"]
        lines += [f"{' ' * (width + 8)}{each}".rstrip() for each in more]
        return [*lines, f"      -> {self.todo}"] if self.todo else lines


class Report(msgspec.Struct, frozen=True):
    """What was found of one version."""

    model: str
    version: str
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> list[Finding]:
        """The findings of the checks that failed."""
        return [finding for finding in self.findings if finding.verdict == "fail"]

    def raise_for_findings(self) -> None:
        """Return where no check failed.

        Raises:
            ChecksFailed: some did; with what each has seen, and what to do.
        """
        if not self.ok:
            width = max(len(finding.check) for finding in self.failed)
            lines = [line for finding in self.failed for line in finding.lines(width)]
            raise ChecksFailed(model=self.model, version=self.version, report="\n    ".join(lines))

    def __str__(self) -> str:
        width = max(len(finding.check) for finding in self.findings)
        counts = {
            verdict: sum(each.verdict == verdict for each in self.findings) for verdict in ("pass", "fail", "skip")
        }
        head = (
            f"{self.model} {self.version}: {counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped"
        )
        return "\n".join([head, *(f"  {line}" for finding in self.findings for line in finding.lines(width))])
