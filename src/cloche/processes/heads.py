"""Heads of calls that were read before. A client sends much the same one with every call: it is not read again."""

from __future__ import annotations

import msgspec

from cloche.web.predict import Address, Admission

HEAD_END = b"\r\n\r\n"
MOST_HEADS = 1024
LONGEST_HEAD = 1024
"""Bytes of a head that is remembered."""


class Head(msgspec.Struct, frozen=True, eq=False):
    """All that the head of a plain call says."""

    address: Address
    admission: Admission
    body_bytes: int


class Heads:
    """The heads of plain calls, by their bytes. What a head means depends on nothing else, its token included."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, packet: bytes) -> tuple[Head, bytes] | None:
        """Return head and body of a packet that is one whole call with a head that is known; else None."""
        end = packet.find(HEAD_END, 0, LONGEST_HEAD + len(HEAD_END))
        if end < 0:
            return None
        head = self._known.get(packet[:end])
        if head is None or len(packet) != end + len(HEAD_END) + head.body_bytes:
            return None
        return head, packet[end + len(HEAD_END) :]

    def remember(self, packet: bytes, head: Head) -> None:
        """Remember the head of a packet that begins with one, if it holds that one call and nothing else."""
        end = packet.find(HEAD_END, 0, LONGEST_HEAD + len(HEAD_END))
        if end < 0 or len(packet) != end + len(HEAD_END) + head.body_bytes:
            return
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        self._known[packet[:end]] = head
