"""Models of a flight's delay, written as their authors would. Workers get this file as source."""

from __future__ import annotations

from cloche import Model, Refusal

CLOSED, BROKEN = 23, 22
"""Hours at which a model refuses, and at which it fails, where its author could make it so."""

BY_CARRIER = {"UA": 3.6, "AA": 0.4}


def expected_delay(row):
    if row["hour"] == CLOSED:
        return Refusal("closed", "Nothing leaves at eleven", path="/hour")
    if row["hour"] == BROKEN:
        raise ValueError(f"the table has no carrier {row['carrier']} at ten")
    return BY_CARRIER.get(row["carrier"], 6.9) + (row["distance"] or 0.0) / 1000


class Delay(Model):
    def predict(self, rows):
        return [expected_delay(row) for row in rows]


class Table:
    """An object with a method that takes frames, of no package that Cloche knows."""

    def predict(self, frame):
        if (frame["hour"] == BROKEN).any():
            raise ValueError("no flights at ten")
        known = frame["carrier"].map(BY_CARRIER).astype(float).fillna(6.9)
        return known + frame["distance"].fillna(0.0) / 1000


def late_or_expected(row):
    """Combine what two steps say of a flight."""
    if isinstance(row["table"], dict):
        return Refusal(**row["table"]["refusal"])
    return {"late": row["late"]["label"], "expected": row["table"], "hour": row["row"]["hour"]}


def guarded(frame):
    """Fail as a step of a pipeline may."""
    if (frame["hour"] == BROKEN).any():
        raise ValueError("no flights at ten")
    return frame
