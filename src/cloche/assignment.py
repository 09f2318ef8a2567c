"""Which variant a subject gets: the arithmetic of GrowthBook's SDKs, so that a front end using one agrees with us.

A subject is hashed to one of 10,000 buckets, and a variant owns a range of them. Nothing is stored or looked up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from fnv_hash_fast import fnv1a_32

Range: TypeAlias = tuple[float, float]
"""Shares of all buckets: from the first to below the second, 0 to 1."""

BUCKETS: Final = 10_000
NAMESPACE_BUCKETS: Final = 1_000
NOBODY: Final = 255
"""What stands in a table of variants where a bucket has none."""

_FNV_START = 0x811C9DC5
_FNV_PRIME = 0x01000193
_32_BITS = 0xFFFFFFFF


def bucket(seed: str, subject: str) -> int:
    """Return the subject's bucket, 0 to 9,999: hash version 2."""
    text = seed + subject
    first = fnv1a_32(text.encode()) if text.isascii() else _hash_units(text)
    return fnv1a_32(str(first).encode()) % BUCKETS


def namespace_bucket(namespace: str, subject: str) -> int:
    """Return the subject's bucket in a namespace, 0 to 999: hash version 1."""
    text = f"{subject}__{namespace}"
    return (fnv1a_32(text.encode()) if text.isascii() else _hash_units(text)) % NAMESPACE_BUCKETS


def bucket_ranges(weights: Iterable[float], coverage: float = 1.0) -> list[Range]:
    """Return the range of each variant. Less coverage shortens each from its end, so that more moves nobody.

    Args:
        weights: of the variants, in order; positive, together 1.
        coverage: the share of subjects that take part, 0 to 1.
    """
    ranges = []
    start = 0.0
    for weight in weights:
        ranges.append((start, start + coverage * weight))
        start += weight
    return ranges


def variant_table(ranges: Sequence[Range]) -> bytes:
    """Return the variant of each bucket, one byte a bucket: which of the ranges holds it, or `NOBODY`."""
    table = bytearray([NOBODY]) * BUCKETS
    for variant, (start, end) in enumerate(ranges):
        first, last = _buckets_below(start), _buckets_below(end)
        table[first:last] = bytes([variant]) * (last - first)
    return bytes(table)


def _buckets_below(edge: float) -> int:
    return bisect_left(range(BUCKETS), edge, key=lambda number: number / BUCKETS)


def _hash_units(text: str) -> int:
    """Return FNV-1a, 32 bits, over the UTF-16 units of a text, as JavaScript has them."""
    units = text.encode("utf-16-le", "surrogatepass")
    value = _FNV_START
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = (value ^ (low | high << 8)) * _FNV_PRIME & _32_BITS
    return value
