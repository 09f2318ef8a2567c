"""What a routing is for one brand or market: the model's own, with what an override says put in its place."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from cloche.registry.release import Routing
from cloche.registry.traffic import Override


def overridden(routing: Routing, override: Override) -> Routing:
    """Return the complete routing of the calls that an override fits.

    An override that names a default decides: of pilot, experiments and canary only those that it names itself are
    left, since the model's own compare with another version. All else that it leaves unsaid stays as the model has it.
    """
    said: dict[str, Any] = {
        field: value for field, value in msgspec.structs.asdict(override).items() if value is not UNSET
    }
    del said["when"]
    alone: dict[str, Any] = {"pilot": None, "experiments": {}, "canary": None} if "default" in said else {}
    return msgspec.structs.replace(routing, **{"overrides": [], **alone, **said})
