"""Where a gateway takes time and ids from, so that a test or a replay can give it others."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import msgspec
import uuid_utils

from cloche.values import Timings

T = TypeVar("T")

_LAPS = len(Timings.__struct_fields__) + 1


def _now_us() -> int:
    return time.time_ns() // 1000


def _new_id() -> tuple[str, bytes]:
    identity = uuid_utils.uuid7()
    return str(identity), identity.bytes


class Clock(msgspec.Struct, frozen=True):
    """The three sources."""

    now_us: Callable[[], int] = _now_us
    """Microseconds UTC since 1970: what is stored."""
    tick_ns: Callable[[], int] = time.perf_counter_ns
    """Nanoseconds of a clock that never jumps: what durations and deadlines are measured with."""
    new_id: Callable[[], tuple[str, bytes]] = _new_id
    """A new UUIDv7, as text and as 16 bytes."""


class Stopwatch:
    """Times a call from station to station."""

    __slots__ = ("_laps", "_tick_ns")

    def __init__(self, tick_ns: Callable[[], int]) -> None:
        self._tick_ns = tick_ns
        self._laps = [tick_ns()]

    def lap(self, made: T) -> T:
        """Note that a station is done, and hand on what it made."""
        self._laps.append(self._tick_ns())
        return made

    def begin_again(self) -> None:
        """Forget the stations that are done, and not when the call arrived."""
        del self._laps[1:]

    @property
    def started_ns(self) -> int:
        """When the call arrived."""
        return self._laps[0]

    @property
    def timings(self) -> Timings:
        """The microseconds of each station that is done, but for the last, which keeps them."""
        laps = self._laps
        if len(laps) != _LAPS:
            return Timings(*[(end - start) // 1000 for start, end in pairwise(laps[:_LAPS])])
        start, chosen, valid, enriched, predicted, decided = laps
        return Timings(
            (chosen - start) // 1000,
            (valid - chosen) // 1000,
            (enriched - valid) // 1000,
            (predicted - enriched) // 1000,
            (decided - predicted) // 1000,
        )

    @property
    def total_s(self) -> float:
        """Seconds since the call arrived."""
        return (self._tick_ns() - self._laps[0]) / 1e9

    @property
    def since_lap_us(self) -> int:
        """Microseconds since the last station was done."""
        return (self._tick_ns() - self._laps[-1]) // 1000
