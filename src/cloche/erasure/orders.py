"""Orders about people: to forget one, to hold one, to release a hold. They are kept for ever, and name nobody.

`erasures/{number:012d}.json` in the store of the registry, put where it is absent: one line of orders for all hosts, so
that all agree whether a hold came before an order to forget. Whom one is about is kept as HMAC-SHA-256, by the key
`erasures/key` of the same store: who has that store and a list of customers can find out who of them was forgotten, and
nobody else can.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from cloche.errors import BundleCorrupt, InvalidName, ReleaseTaken
from cloche.ports import ObjectStore
from cloche.registry.bundle import check_name
from cloche.registry.numbered import Line

ROOM = "erasures"
ORDER_FORMAT = 1

_KEY = f"{ROOM}/key"
_KEY_BYTES = 32
_TRIES = 100
_LONGEST = 256
_LONGEST_REASON = 2_000

Kind = Literal["forget", "hold", "release"]


class Order(msgspec.Struct, frozen=True):
    """What somebody decided about a person."""

    number: int
    kind: Kind
    marks: tuple[bytes, ...]
    """HMACs of the subject, in each form in which records may have it."""
    model: str | None
    """In the records of this model alone; None for all."""
    by: str
    reason: str
    time_us: int
    """When, microseconds UTC: it is about what was recorded until then."""
    format: int = ORDER_FORMAT

    def is_about(self, marks: Collection[bytes], model: str | None) -> bool:
        """Return whether it is about this person in the records of a model; without a model, in any of them."""
        return not set(marks).isdisjoint(self.marks) and (model is None or self.model in (None, model))


_LINE = Line(Order, "an order", ORDER_FORMAT)


class Marking:
    """Makes marks of subjects."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def marks(self, names: Iterable[str]) -> tuple[bytes, ...]:
        """Return the marks of a person's names."""
        return tuple(self.mark(name) for name in names)

    def mark(self, name: str) -> bytes:
        """Return the mark of one name."""
        return hmac.digest(self._key, name.encode(errors="surrogatepass"), hashlib.sha256)


class Holds:
    """What is not to be forgotten at some moment."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._holds: list[Order] = []
        for order in orders:
            if order.kind == "hold":
                self._holds.append(order)
            elif order.kind == "release":
                self._holds = [held for held in self._holds if not _releases(order, held)]

    def __bool__(self) -> bool:
        return bool(self._holds)

    def of(self, marks: Collection[bytes], model: str | None) -> Order | None:
        """Return the hold on a person in the records of a model, or None; without a model, on any of theirs."""
        return next(iter(self.all_of(marks, model)), None)

    def all_of(self, marks: Collection[bytes], model: str | None) -> list[Order]:
        """Return all of those holds."""
        return [held for held in self._holds if held.is_about(marks, model)]

    def releasable(self, marks: Collection[bytes], model: str | None) -> bool:
        """Return whether a release of a person, perhaps in the records of a model alone, would end a hold."""
        return any(not set(marks).isdisjoint(held.marks) and model in (None, held.model) for held in self._holds)


def with_holds(due: Iterable[Order], orders: Sequence[Order]) -> dict[Order, Holds]:
    """Return some of all orders, each with what was held when it was given."""
    return {order: Holds(orders[: order.number - 1]) for order in due}


def _releases(order: Order, held: Order) -> bool:
    return not set(order.marks).isdisjoint(held.marks) and order.model in (None, held.model)


def fault_of(subject: str, reason: str, model: str | None) -> tuple[str, str] | None:
    """Return what keeps an order from being given: which of these it is, and what is wrong; None where nothing does."""
    if not 0 < len(subject) <= _LONGEST:
        return "subject", f"a subject has 1 to {_LONGEST} characters"
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        return "reason", f"say why, in at most {_LONGEST_REASON:,} characters"
    for name, said in (("subject", subject), ("reason", reason)):
        if said != said.encode(errors="ignore").decode():
            return name, "it has bytes that are no UTF-8"
    try:
        if model is not None:
            check_name(model)
    except InvalidName as error:
        return "model", str(error).rstrip(".")
    return None


class Orders:
    """The line of orders in a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: list[Order] = []

    async def marking(self) -> Marking:
        """Return what makes marks, by the key of the store; the first who asks makes that."""
        for _ in range(2):
            if key := await self._store.get(_KEY):
                return Marking(key)
            await self._store.put_if_absent(_KEY, secrets.token_bytes(_KEY_BYTES))
        raise BundleCorrupt(what=_KEY, expected="a key", found="nothing")

    async def all(self) -> Sequence[Order]:
        """Return all orders, the first first.

        Raises:
            BundleCorrupt, NewerFormat: one can't be read.
        """
        while data := await self._store.get(_key(number := len(self._known) + 1)):
            order = _LINE.decode(data, number, f"order {number} of {ROOM}")
            if number == len(self._known) + 1:  # who asks at the same time may have come as far
                self._known.append(order)
        return tuple(self._known)

    async def give(self, kind: Kind, marks: tuple[bytes, ...], model: str | None, by: str, reason: str) -> Order:
        """Add an order to the line.

        Raises:
            ReleaseTaken: too many others did meanwhile.
        """
        for _ in range(_TRIES):
            number = len(await self.all()) + 1
            order = Order(number, kind, marks, model, by, reason, time.time_ns() // 1000)
            data = msgspec.json.format(msgspec.json.encode(order), indent=1) + b"\n"
            if await self._store.put_if_absent(_key(number), data) or await self._store.get(_key(number)) == data:
                return order
        raise ReleaseTaken(number=number)

    async def holds(self, before: int | None = None) -> Holds:
        """Return what is held; `before` an order, where one is given."""
        orders = await self.all()
        return Holds(orders if before is None else orders[: before - 1])


def _key(number: int) -> str:
    return f"{ROOM}/{number:012d}.json"
