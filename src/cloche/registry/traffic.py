"""Who gets which version: the parts of a routing besides its default. Data alone; `cloche.gateway.choose` reads it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fallback that is always the same answer."""

    constant: Any
    """One row's output, in JSON form."""


class Fallback(msgspec.Struct, frozen=True):
    """Who answers where the chosen version does not, one after the other."""

    chain: list[str | Constant]
    """Active versions, `input_order` (a ranking's items as they came), constants."""
    reserve_ms: int = 20
    """How long before the deadline it begins."""


class Shadow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version that is asked too, and whose answers nobody is given."""

    version: str
    share: float = 1.0
    """Of all calls, 0 to 1."""


class Pilot(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version that only some may use; they get it without asking, all others are refused it."""

    version: str
    subjects: list[str] = []
    """Patterns, where `*` stands for any characters."""
    callers: list[str] = []
    """Patterns of the names of tokens."""


class Arm(msgspec.Struct, frozen=True):
    """One variant of an experiment."""

    name: str
    version: str
    weight: float


class Experiment(msgspec.Struct, frozen=True, omit_defaults=True):
    """An A/B test, assigned as GrowthBook's SDKs do (hash version 2)."""

    arms: list[Arm]
    status: Literal["draft", "running", "stopped"] = "running"
    phase: int = 1
    """Other weights need the next phase, which assigns anew."""
    coverage: float = 1.0
    """The share of subjects that take part, 0 to 1."""
    seed: str | None = None
    """What is hashed with the subject; by default `{name}-{phase}`, with the name of the experiment."""
    namespace: tuple[str, float, float] | None = None
    """Name, start and end (0 to 1): experiments in disjoint ranges of one namespace share no subject."""


class Canary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The version that takes a share of the calls that are in no experiment."""

    version: str
    share: float
    """0 to 1."""
    seed: str
    """What is hashed with the subject. It stays the same while the share grows, so that nobody moves back."""


class RolloutPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a new default is brought in: the goal, as `models.toml` states it."""

    steps: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5, 1.0)
    """Shares of the canary, ascending, the last 1."""
    hold_ms: int = 600_000
    """How long a step lasts at least."""
    min_requests: int = 300
    """How many calls the canary must have answered in a step."""
    max_wait_ms: int = 86_400_000
    """How long a step waits for certainty before the rollout pauses."""
    no_harm_found: bool = False
    """Whether a step advances when no harm was found, not only when harm is excluded."""
    error_margin: float = 0.02
    """How much more often the canary may fail: a difference of rates."""
    latency_margin: float = 0.2
    """How much slower its 95th percentile may be: a share of the default's."""


RolloutState = Literal["preflight", "progressing", "paused", "promoted", "rolled_back"]


class Rollout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a rollout is. The controller writes it into the release with every step, so that a new one goes on."""

    to: str
    """The version that is being brought in."""
    stable: str
    """The version that was the default when it began."""
    plan: RolloutPlan
    state: RolloutState
    step: int
    """Index into the plan's steps; -1 before the first."""
    began_us: int
    step_us: int
    """When this step began; where it is paused or over, when that happened."""
    reason: str | None = None
    """Of a pause or a rollback: `manual`, `inconclusive`, `no_data`, or the metric."""
    evidence: dict[str, Any] = {}
    """What the metrics were when the state last changed."""
    accepted: list[str] = []
    """What a person has looked at, so that it stops the rollout no more: `score_shift`."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is different for a brand or a market. Of all overrides of a model the first that fits counts."""

    when: dict[str, list[str]]
    """Declared attribute -> values; all attributes must fit."""
    default: str | UnsetType = UNSET
    deadline_ms: int | UnsetType | None = UNSET
    subject: str | UnsetType | None = UNSET
    fallback: Fallback | UnsetType | None = UNSET
    shadow: Shadow | UnsetType | None = UNSET
    pilot: Pilot | UnsetType | None = UNSET
    canary: Canary | UnsetType | None = UNSET
    experiments: dict[str, Experiment] | UnsetType = UNSET


class Held(msgspec.Struct, frozen=True):
    """Why `cloche apply` may not bring back what was withdrawn: the goal of the routing in `release`.

    Where that routing is held itself, its hold counts further, too.
    """

    by: str
    """What withdrew it: `undo`, `abort`, `rollback`, `conclude`."""
    release: int
    """The release whose routing was withdrawn: the number of the one that does so is not known while it is made."""
