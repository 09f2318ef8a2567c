"""How each server is asked, and where its answer has the scores: the form that its own documentation shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = Any
"""What `json.loads` gives."""


@dataclass(frozen=True)
class Wire:
    """The calls of one server."""

    path: str
    ranking_path: str
    body: Callable[[Any, bool], JSON]
    """From the rows of a call, and whether it is a ranking, to its body."""
    scores: Callable[[JSON, bool], list[float]] | None
    """From an answer to the probability of the second class, or to a number for each item in the order of the call;
    None where nothing is predicted."""

    def path_for(self, ranks: bool) -> str:
        return self.ranking_path if ranks else self.path

    def lines(self, calls: Iterable[Any], ranks: bool) -> str:
        """Return the bodies of calls, one a line."""
        return "\n".join(json.dumps(self.body(rows, ranks)) for rows in calls)


def named(row: Any) -> dict[str, float]:
    """Return a row as an object of named numbers."""
    return {f"x{column}": float(value) for column, value in enumerate(row)}


def _second(answer: JSON) -> list[float]:
    """Return the numbers of a list that has a pair of probabilities, or a number, for each row."""
    return [float(row[1] if isinstance(row, list) else row) for row in answer]


def _cloche_body(rows: Any, ranks: bool) -> JSON:
    if not ranks:
        return {"input": named(rows[0])}
    return {"input": {"items": [{"item": number, **named(row)} for number, row in enumerate(rows)]}}


def _cloche_scores(answer: JSON, ranks: bool) -> list[float]:
    output = answer["output"]
    if ranks:
        return [entry["score"] for entry in sorted(output, key=lambda entry: int(entry["item"]))]
    shares = output["probabilities"]
    return [float(list(shares.values() if isinstance(shares, Mapping) else shares)[1])]


def _tutorial_body(rows: Any, ranks: bool) -> JSON:
    return {"items": [named(row) for row in rows]} if ranks else named(rows[0])


def _tutorial_scores(answer: JSON, ranks: bool) -> list[float]:
    return list(answer["scores"]) if ranks else [answer["probabilities"][1]]


def _tensor_body(rows: Any, ranks: bool) -> JSON:
    tensor = {"name": "rows", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}
    return {"inputs": [tensor], "outputs": [{"name": "predict" if ranks else "predict_proba"}]}


def _tensor_scores(answer: JSON, ranks: bool) -> list[float]:
    data = answer["outputs"][0]["data"]
    return list(data) if ranks else data[1::2]


def under(field: str, given: str, path: str) -> Wire:
    """Return the wire of a server that takes a list of rows under one field and answers a list under another."""

    def body(rows: Any, ranks: bool) -> JSON:
        del ranks
        return {given: rows.tolist()}

    def scores(answer: JSON, ranks: bool) -> list[float]:
        del ranks
        return _second(answer[field] if field else answer)

    return Wire(path, path, body, scores)


def _alone_body(rows: Any, ranks: bool) -> JSON:
    return {"input": rows.tolist() if ranks else rows[0].tolist()}


def _alone_scores(answer: JSON, ranks: bool) -> list[float]:
    return list(answer["output"]) if ranks else [answer["output"][1]]


CLOCHE = Wire("/models/bench/predict", "/models/bench/predict", _cloche_body, _cloche_scores)
ECHO = Wire("/", "/", _cloche_body, None)
TUTORIAL = Wire("/predict", "/rank", _tutorial_body, _tutorial_scores)
OPEN_INFERENCE = Wire("/v2/models/bench/infer", "/v2/models/bench/infer", _tensor_body, _tensor_scores)
"""The Open Inference Protocol, which MLServer speaks."""
INSTANCES = under("predictions", "instances", "/v1/models/bench:predict")
"""The V1 protocol of KServe."""
INVOCATIONS = under("predictions", "inputs", "/invocations")
"""MLflow's."""
NUMPY = under("", "data", "/predict")
"""A BentoML service of an array."""
ALONE = Wire("/predict", "/predict", _alone_body, _alone_scores)
"""One row as a list, one answer; for a ranking lists of these."""
