"""Who is to be forgotten, and which records are about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from cloche.erasure.orders import Holds, Marking, Order
from cloche.values import Record, Tombstone, is_erased

_MOST_REMEMBERED = 100_000
_tombstone = msgspec.msgpack.Decoder(Tombstone).decode


class _Head(msgspec.Struct, array_like=True):
    """The beginning of `Personal`."""

    subject: str | None = None


_head = msgspec.msgpack.Decoder(_Head).decode


def subject_of(record: Record) -> str | None:
    """Return whom a record names; None where it names nobody, was erased or is damaged."""
    if is_erased(record.personal):
        return None
    try:
        return _head(record.personal).subject
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Found(msgspec.Struct):
    """What the log had of them."""

    inferences: set[bytes] = set()

    def add(self, record: Record) -> None:
        """Note a record."""
        self.inferences.add(record.id)


class Wanted:
    """Orders to forget, and what tells whom they are about.

    Args:
        orders: each with what is held against it.
        marking: makes marks.
        names: what records may call the person, where there is one order and whoever gave it is there; later on, only
            marks tell.
        since_us: the time that no record they are about comes before, where that is known; microseconds UTC.
    """

    def __init__(
        self,
        orders: Mapping[Order, Holds],
        marking: Marking,
        names: Sequence[str] = (),
        since_us: int | None = None,
    ) -> None:
        self.names = names
        self.since_us = since_us
        self.orders = tuple(orders)
        self._holds = {order.number: holds for order, holds in orders.items()}
        self._marking = marking
        self._by_mark: defaultdict[bytes, list[Order]] = defaultdict(list)
        for order in orders:
            for mark in order.marks:
                self._by_mark[mark].append(order)
        self._known: dict[str, list[Order]] = {}

    @property
    def until_us(self) -> int:
        """The time that no record they are about comes after."""
        return max(order.time_us for order in self.orders) + 1

    @property
    def model(self) -> str | None:
        """The model that all orders are about, or None where they are about more."""
        models = {order.model for order in self.orders}
        return models.pop() if len(models) == 1 else None

    def order_of(self, record: Record) -> Order | None:
        """Return the order by which a record is to be erased, or None; also of one that was erased by it before."""
        if is_erased(record.personal):
            return self._erased_by(record)
        subject = subject_of(record)
        return None if subject is None else self.order_about(subject, record.model, record.time_us)

    def order_about(self, subject: str, model: str, time_us: int) -> Order | None:
        """Return the order to forget a subject in what is kept of a model since some time."""
        for order in self._orders(subject):
            held = self._holds[order.number].of(order.marks, model)
            if order.model in (None, model) and time_us <= order.time_us and held is None:
                return order
        return None

    def tombstone(self, order: Order, now_us: int) -> Tombstone:
        """Return what is left in the place of what was erased by an order."""
        return Tombstone(now_us, order.by, order.reason, order.number, order.marks[0])

    def _erased_by(self, record: Record) -> Order | None:
        try:
            number = _tombstone(record.personal).order if record.personal else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return next((order for order in self.orders if order.number == number), None)

    def _orders(self, subject: str) -> list[Order]:
        found = self._known.get(subject)
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            found = self._known[subject] = self._by_mark.get(self._marking.mark(subject), [])
        return found
