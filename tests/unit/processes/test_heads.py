"""Heads are known by their bytes, and only where a packet is one whole call."""

from __future__ import annotations

import pytest

from cloche.processes import heads
from cloche.processes.heads import Head, Heads
from cloche.web.predict import Address, Admission

HEAD = b"POST /models/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4"
SAID = Head(Address("toy"), Admission({}, "anonymous", None, None), 4)


@pytest.fixture
def known() -> Heads:
    known = Heads()
    known.remember(HEAD + b"\r\n\r\nbody", SAID)
    return known


def test_the_same_head_with_another_body_is_known(known: Heads) -> None:
    assert known.read(HEAD + b"\r\n\r\n\r\n\r\n") == (SAID, b"\r\n\r\n")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        HEAD,
        HEAD + b"\r\n\r\n",
        HEAD + b"\r\n\r\nbod",
        HEAD + b"\r\n\r\nbodybody",
        HEAD + b"\r\n\r\nbody" + HEAD + b"\r\n\r\nbody",
        b"\r\n" + HEAD + b"\r\n\r\nbody",
        HEAD.lower() + b"\r\n\r\nbody",
        HEAD + b"\r\nX: 1\r\n\r\nbody",
    ],
)
def test_anything_else_is_not(known: Heads, packet: bytes) -> None:
    assert known.read(packet) is None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"body",
        HEAD + b"\r\n\r\nbodybody",
        HEAD + b"\r\n\r\nbody" + HEAD + b"\r\n\r\nbody",
        HEAD + b"\r\nX: " + b"x" * heads.LONGEST_HEAD + b"\r\n\r\nbody",
    ],
)
def test_only_whole_calls_with_a_short_head_are_remembered(packet: bytes) -> None:
    known = Heads()
    known.remember(packet, SAID)
    assert known.read(packet) is None


def test_any_number_of_heads_does_not_fill_the_memory() -> None:
    known = Heads()
    for number in range(3 * heads.MOST_HEADS):
        known.remember(HEAD + b"\r\nX: %d\r\n\r\nbody" % number, SAID)
    assert len(known._known) <= heads.MOST_HEADS
