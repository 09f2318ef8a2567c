"""Steps, and what makes one answer of theirs. Workers get this file as source."""

import random

from cloche import Model, Refusal


def by_carrier(row):
    if row["carrier"] == "UA":
        return 10.0
    return Refusal("unknown_carrier", f"no {row['carrier']}", path="/carrier")


def strict(row):
    return 1 / (row["hour"] - 2)


def dear(row):
    rule = row["rule"]
    if isinstance(rule, dict):
        return Refusal(**rule["refusal"])
    return row["gbm"] + rule + row["row"]["vip"]


def cheap(row):
    return row["gbm"]


def lucky(row):
    return random.random()


def by_name(row: "dict[str, float]", gbm: float, rule: float) -> float:
    return row["hour"] + gbm + rule


class Dear(Model):
    def load(self, bundle):
        self.extra = float(bundle.text("extra.txt"))

    def predict(self, rows):
        return [row["gbm"] + self.extra for row in rows]
