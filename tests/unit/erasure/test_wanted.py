"""Whom a record is about can be told of every record, damaged ones too."""

from __future__ import annotations

import pytest

from cloche.erasure.orders import Holds, Marking, Order
from cloche.erasure.wanted import Wanted, subject_of
from cloche.testing import make_record

MARKING = Marking(b"key")
ORDER = Order(1, "forget", MARKING.marks(["ann"]), None, "me", "why", 2**60)


@pytest.mark.parametrize(
    "damaged", [b"\x91\xa3an", b"\x91\xa3an\xff", b"\x81\xa5order\xa3one", b"\x81\xa2by\xa3an\xff"]
)
def test_a_damaged_record_is_about_nobody(damaged: bytes) -> None:
    record = make_record(1, personal=damaged)
    assert subject_of(record) is None
    assert Wanted({ORDER: Holds([])}, MARKING).order_of(record) is None
