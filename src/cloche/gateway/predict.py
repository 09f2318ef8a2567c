"""Dossier -> Predicted: ask the model within the deadline; where it can't answer, the fallback that was declared."""

from __future__ import annotations

import time

import msgspec
from msgspec.structs import replace

from cloche.errors import DeadlineExceeded, ServingError
from cloche.gateway.clock import Clock
from cloche.gateway.enrich import Dossier
from cloche.gateway.loaded import StandIn
from cloche.registry.bundle import Each
from cloche.runtimes.worker.ranking import list_name
from cloche.values import Ask, Prediction


class Predicted(msgspec.Struct, frozen=True, eq=False):
    """A call with the model's answer, or that of its fallback."""

    dossier: Dossier
    prediction: Prediction
    answered_by: str | None = None
    """The member of the fallback chain that answered, where one did."""
    failure: ServingError | None = None
    """Why the model itself did not."""


async def predict(dossier: Dossier, clock: Clock) -> Predicted:
    """Ask the version that was chosen, then the members of the fallback chain in turn.

    Raises:
        ServingError: the version could not answer, and nothing stood in for it.
    """
    choice, ask = dossier.case.choice, dossier.ask
    model = choice.model
    left_s = (dossier.deadline_ns - clock.tick_ns()) / 1e9
    now = time.monotonic()  # the clock of loops; to ask which one runs is a system call
    try:
        first_s = left_s - model.reserve_ms / 1000 if model.fallback else left_s
        if first_s <= 0:
            raise DeadlineExceeded(deadline_ms=ask.deadline_ms)
        return Predicted(dossier, await choice.loaded.runtime.predict(ask, now + first_s))
    except ServingError as failure:
        for member in model.fallback:
            prediction = await ask_stand_in(member, choice.loaded.manifest.each, ask, now + left_s)
            if prediction is not None:
                return Predicted(dossier, prediction, member.name, failure)
        raise


async def ask_stand_in(member: StandIn, each: Each | None, ask: Ask, deadline: float) -> Prediction | None:
    """Return a fallback's answer, or None where this member has none either."""
    if member.loaded is not None:
        try:
            own = replace(ask, values=None, items=None)  # those are as the chosen version has its columns
            return await member.loaded.runtime.predict(own, deadline)
        except ServingError:
            return None
    if member.name == "constant":
        return Prediction(outputs=msgspec.json.encode([member.constant] * ask.rows))
    return Prediction(outputs=_input_order(ask, each)) if each else None


def _input_order(ask: Ask, each: Each) -> bytes:
    """Return a ranking that leaves the items as they came, without scores."""
    (call,) = msgspec.json.decode(ask.payload)
    items = call[list_name(each.path)]
    return msgspec.json.encode([[{each.item_id: item[each.item_id], "score": None} for item in items]])
