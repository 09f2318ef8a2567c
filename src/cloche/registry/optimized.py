"""What the manifest of an optimized version says: its model in a second form, and which of the two answers which calls.

The second form carries no code, so that a gateway answers by it itself. Both answer the same within a tolerance: what
was compared is said here, and how long each took.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Form = Literal["original", "converted"]
CodelessFlavor = Literal["onnx", "xgboost", "lightgbm"]


class Spread(msgspec.Struct, frozen=True):
    """How long a call took, in microseconds: the middle of many, and what half of them lie between."""

    median_us: float
    low_us: float
    high_us: float


class Timed(msgspec.Struct, frozen=True):
    """How long both forms took for a call of so many rows, or items of a ranking; and which of them answers it."""

    rows: int
    original: Spread
    converted: Spread
    faster: Form


class Agreement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What both forms were asked, and how far apart their answers were."""

    golden: int
    """Golden cases and examples."""
    recorded: int
    """Calls from the log."""
    drawn: int
    """Rows drawn from the schema and the examples."""
    tolerance: float
    """How far apart two numbers may be: a share of the larger one, or of what is usual where both are smaller."""
    worst: float
    """The largest difference, as the tolerance counts it."""
    usual: float = 1.0
    """Of numbers that are no probabilities: the median of their sizes."""
    failed: int = 0
    """Calls that neither of them answers."""


class Loss(msgspec.Struct, frozen=True):
    """What a form that was shrunk answers otherwise than the original, in the calls that both were asked."""

    shrunk: str
    """How, in words: `the first 50 trees, leaves of 4 bits`."""
    calls: int
    labels: int
    """Calls with another label."""
    mean: float
    """The mean difference of numbers, as the tolerance counts it."""
    worst: float


class Optimized(msgspec.Struct, frozen=True, omit_defaults=True):
    """The second form of a version's model."""

    flavor: CodelessFlavor
    entry: str
    """The file that is the model."""
    form: str
    """What it is, in words."""
    table: list[Timed]
    """From few rows to many. A call falls under the last line that has no more rows than it."""
    agreement: Agreement
    made_with: dict[str, str] = {}
    """The packages that converted it, with their versions."""
    of: str = ""
    """The version that it was made of; empty where it was published so."""
    loss: Loss | None = None
    """Of a form that was shrunk: it answers everything, and not as the original does."""

    @property
    def wants_original(self) -> bool:
        """Whether the original answers any calls."""
        return any(line.faster == "original" for line in self.table)

    def faster_at(self, rows: int) -> Form:
        """Return which form answers a call of so many rows."""
        fitting = [line.faster for line in self.table if line.rows <= rows]
        return fitting[-1] if fitting else self.table[0].faster
