"""Models to publish, written as their authors would. Workers get this file as source."""

from __future__ import annotations

import ctypes
import os
import time

from cloche import Model, Refusal


def area(row):
    return row["width"] * row["height"]


def twice_the_area(row):
    return 2 * row["width"] * row["height"]


def longer(row):
    return max(row["width"], row["height"])


def added(row):
    """Combine what steps say."""
    return row["area"] + row["longer"]


def stock(item):
    return item["stock"]


class Pricing(Model):
    """Refuses what it does not know."""

    def predict_one(self, row):
        if row["vehicle"] != "car":
            raise Refusal("unknown_vehicle", f"We do not price {row['vehicle']} yet", path="/vehicle")
        return 100.0 + row["age"]


class Obedient(Model):
    """Does what its row says."""

    def predict_one(self, row):
        return getattr(self, row["do"])(row)

    def answer(self, row):
        return float(os.getpid())

    def fail(self, row):
        print("about to fail")
        raise ValueError(f"this is a secret of the author: {row['note']}")

    def echo(self, row):
        return row["note"]

    def mutter(self, row):
        os.write(2, f"{row['note']}\n".encode())
        return float(os.getpid())

    def sleep(self, row):
        time.sleep(row["seconds"])
        return float(os.getpid())

    def segfault(self, row):
        note_the_moment(row)
        ctypes.string_at(0)

    def exit(self, row):
        note_the_moment(row)
        os._exit(3)

    def exit_unless_older(self, row):
        """End the first process that is asked, and let the second answer."""
        if not os.path.exists(row["note"]):
            self.exit(row)
        return float(os.getpid())

    def leak(self, row):
        """Keep as many MB for ever as the row has seconds."""
        vars(self).setdefault("kept", []).append(b"x" * (int(row["seconds"]) << 20))
        return float(os.getpid())

    def loop(self, row):
        note_the_moment(row)
        while True:
            pass


def note_the_moment(row):
    with open(row["note"], "a") as note:
        note.write(f"{time.monotonic()}\n")


def moments(note):
    """Return when rows with that note ended or held a process, in seconds of `time.monotonic`."""
    with open(note) as lines:
        return [float(line) for line in lines]


OBEDIENT = {"do": "answer", "seconds": 0.0, "note": ""}
"""A row that it answers at once, with its process."""


def order(**said):
    """Return a row for `Obedient`."""
    return OBEDIENT | said


class Slow(Model):
    """Takes a fifth of a second for every row, always."""

    def predict_one(self, row):
        time.sleep(0.2)
        return row["x"]


class Steady(Model):
    """Takes ten milliseconds for every row, in company and alone."""

    def predict_one(self, row):
        time.sleep(0.01)
        return row["x"]
