"""A live answer beside that of its shadow: what they have in common, and how far apart they are."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from cloche.errors import NewerFormat
from cloche.insight.observe import ANSWERED, number_at
from cloche.insight.ranks import overlap, tau_b
from cloche.log.columns import is_packed, unpack_output
from cloche.registry.bundle import Each, Manifest
from cloche.values import Personal, Record

FIRST: Final = (1, 5, 10)
"""How many of the first items of two rankings are compared."""

MOST_ROWS: Final = 100
"""Of one call. Of more the first are compared."""

_personal = msgspec.msgpack.Decoder(Personal).decode
_REFUSED = object()


class Pair(msgspec.Struct, frozen=True):
    """Two answers to one call."""

    live: str
    """The id of the live inference."""
    shadow: str
    rows: int = 0
    same: int = 0
    """Rows that got the same answer, to the last digit."""
    labels: tuple[tuple[Any, Any], ...] = ()
    """The live one's and the shadow's, of each row that got a label from both."""
    scores: tuple[tuple[float, float], ...] = ()
    """The same of each row that has a score from both."""
    tau: float | None = None
    """Of a ranking: Kendall's tau-b."""
    overlaps: dict[int, float] = {}
    """Of a ranking with more than k items: k -> the share of the first k that both have there."""

    @property
    def labeled(self) -> int:
        """Rows that got a label from both."""
        return len(self.labels)

    @property
    def same_label(self) -> int:
        """Those of them that got the same one."""
        return sum(one == other for one, other in self.labels)

    @property
    def differences(self) -> tuple[float, ...]:
        """Of the scores, the shadow's less the live one's."""
        return tuple(other - one for one, other in self.scores)

    @property
    def apart(self) -> float:
        """How far apart they are: of rankings 1 - tau; of others the largest difference, and 1 where a label differs.

        Where there is neither label nor score it is 1 if some row has another answer.
        """
        if self.tau is not None:
            return 1 - self.tau
        if self.differences or self.labeled:
            return max(map(abs, self.differences), default=0.0) + (self.same_label < self.labeled)
        return float(self.same < self.rows)


def is_answered(record: Record) -> bool:
    """Tell whether the version itself answered."""
    return record.outcome in ANSWERED and record.fallback is None


def compare(live: Record, shadow: Record, versions: tuple[Manifest, Manifest]) -> Pair | None:
    """Return what two answers have in common, or None where one of them is not there, or no longer.

    Args:
        live: a record.
        shadow: that of the shadow that was asked beside it.
        versions: the manifests of the two.
    """
    ids = str(uuid.UUID(bytes=live.id)), str(uuid.UUID(bytes=shadow.id))
    answers = [_answers(record) if is_answered(record) else None for record in (live, shadow)]
    if answers[0] is None or answers[1] is None or len(answers[0]) != len(answers[1]):
        return None
    rows = list(islice(zip(answers[0], answers[1], strict=True), MOST_ROWS))
    common = {"rows": len(rows), "same": sum(one is other or one == other for one, other in rows)}
    if versions[0].each is not None and versions[1].each is not None:
        return _compare_rankings(Pair(*ids, **common), rows[0], (versions[0].each, versions[1].each))
    labels = [pair for pair in ((_label(one), _label(other)) for one, other in rows) if None not in pair]
    return Pair(
        *ids,
        **common,
        labels=tuple(labels),
        scores=_scores(rows, (versions[0].score, versions[1].score)),
    )


def _answers(record: Record) -> list[Any] | None:
    """Return what each row was answered, `_REFUSED` where it was refused."""
    try:
        personal = _personal(record.personal)
        answered = unpack_output(personal.output, personal.input)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, NewerFormat):
        return None
    if is_packed(personal.output):
        return [answered]
    if not isinstance(answered, list):
        return None
    return [_REFUSED if row in personal.refusals and answer is None else answer for row, answer in enumerate(answered)]


def _label(answer: Any) -> Any:
    return answer.get("label") if isinstance(answer, dict) else None


def _scores(
    rows: Sequence[tuple[Any, Any]], pointers: tuple[str | None, str | None]
) -> tuple[tuple[float, float], ...]:
    if pointers[0] is None or pointers[1] is None:
        return ()
    scores = [(number_at(one, pointers[0]), number_at(other, pointers[1])) for one, other in rows]
    return tuple((one, other) for one, other in scores if one is not None and other is not None)


def _compare_rankings(pair: Pair, rankings: tuple[Any, Any], each: tuple[Each, Each]) -> Pair:
    live, shadow = (_places(ranking, kind) for ranking, kind in zip(rankings, each, strict=True))
    common = live.keys() & shadow.keys()
    if len(common) < 2:
        return pair
    one, other = ([name for name in places if name in common] for places in (live, shadow))
    tau = tau_b([live[name] for name in one], [shadow[name] for name in one])
    overlaps = {first: overlap(one, other, first) for first in FIRST if len(common) > first}
    return msgspec.structs.replace(pair, tau=tau, overlaps=overlaps)


def _places(ranking: Any, each: Each) -> dict[Any, float]:
    """Return item -> what it was ordered by, larger for the first; its place where there are no scores."""
    if not isinstance(ranking, list):
        return {}
    sign = -1.0 if each.order == "asc" else 1.0
    scores = [item.get("score") for item in ranking]
    if any(score is None for score in scores):
        scores = [sign * -place for place in range(len(ranking))]
    places: dict[Any, float] = {}
    for item, score in zip(ranking, scores, strict=True):
        places.setdefault(_exactly(item[each.item_id]), sign * score)
    return places


def _exactly(name: Any) -> Any:
    """Return an item's id as something that can be looked up."""
    return name if isinstance(name, str | int | float) else msgspec.json.encode(name)
