"""Models that publish, and that nobody should serve: each breaks the checks that its name says."""

from __future__ import annotations

import os
from pathlib import Path

from cloche import Model, Refusal

ROWS = [{"vehicle": "car", "age": 3.0}, {"vehicle": "tank", "age": 1.0}, {"vehicle": "bike", "age": 2.5}]

MORE = [{**row, "left": 1, "right": 2} for row in ROWS]
"""Rows with fields that no schema names."""

OPEN = {
    "type": "object",
    "properties": {"vehicle": {"type": ["string", "null"]}, "age": {"type": ["number", "null"]}},
    "additionalProperties": True,
}
"""A schema that lets everything pass."""

CLOSED = {
    "type": "object",
    "properties": {"vehicle": {"type": "string"}, "age": {"type": "number"}},
    "required": ["vehicle", "age"],
    "additionalProperties": False,
}


def sound(row):
    if row["vehicle"] == "tank":
        return Refusal("unknown_vehicle", "We do not price tanks", path="/vehicle")
    return 2.0 * row["age"]


class Careless(Model):
    """Trusts every row, looks at the order of its fields, changes it, and declines badly."""

    def predict_one(self, row):
        if row["vehicle"] == "tank":
            raise Refusal("No Tanks", " ", path="vehicle")
        price = {"car": 1.0, "bike": 2.0}[row["vehicle"]] * row["age"] + len(row)
        if list(row)[-1] == "left":
            price += 100
        row["seen"] = True
        return price


class Forgetful(Model):
    """Answers otherwise the sixteenth time, looks at its neighbors, and loses rows of large batches."""

    def __init__(self):
        self.asked = 0

    def predict(self, rows):
        self.asked += len(rows)
        largest = max(100.0, *(abs(row["age"]) for row in rows), 0.0)
        answers = [row["age"] / largest + (self.asked > 15) for row in rows]
        return answers[:6]


class Brittle(Model):
    """Reads a file that is not in its bundle, and knows no row but those that it was shown."""

    def __init__(self, file):
        self.file = file

    def predict(self, rows):
        factor = float(Path(self.file).read_text())
        total = sum(row["age"] for row in rows if row["age"] > 50)
        return [factor * self.price(row["age"]) + total for row in rows]

    def price(self, age):
        if age > 90:
            raise ValueError("nobody is that old")
        return float("nan") if age > 80 else age


def mortal(row):
    if row["vehicle"] not in ("car", "tank", "bike"):
        os._exit(7)
    return row["age"]


def ranked(row):
    return row["stock"] + row["margin"]


def halved(row):
    """An ensemble of one step, which may have declined."""
    price = row["price"]
    return price / 2 if isinstance(price, float) else -1.0
