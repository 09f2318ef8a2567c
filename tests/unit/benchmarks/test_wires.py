from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from benchmarks import wires
from benchmarks.servers import differs

ROWS = np.arange(6.0).reshape(2, 3)
SHARES = [[0.9, 0.1], [0.2, 0.8]]

ANSWERS: list[tuple[wires.Wire, Any, Any]] = [
    (
        wires.CLOCHE,
        {"output": {"label": 0, "probabilities": {"0": 0.9, "1": 0.1}}},
        {"output": [{"item": 1, "score": 0.8}, {"item": 0, "score": 0.1}]},
    ),
    (wires.TUTORIAL, {"label": 0, "probabilities": [0.9, 0.1]}, {"scores": [0.1, 0.8]}),
    (wires.OPEN_INFERENCE, {"outputs": [{"data": [0.9, 0.1]}]}, {"outputs": [{"data": [0.1, 0.8]}]}),
    (wires.INSTANCES, {"predictions": [[0.9, 0.1]]}, {"predictions": [0.1, 0.8]}),
    (wires.INVOCATIONS, {"predictions": [[0.9, 0.1]]}, {"predictions": [0.1, 0.8]}),
    (wires.NUMPY, [[0.9, 0.1]], [0.1, 0.8]),
    (wires.ALONE, {"output": [0.9, 0.1]}, {"output": [0.1, 0.8]}),
]


@pytest.mark.parametrize(("wire", "one", "ranking"), ANSWERS)
def test_each_servers_answer_is_read_as_the_same_scores(wire: wires.Wire, one: Any, ranking: Any) -> None:
    """Of a row the probability of the second class; of a ranking a score for each item, in the order of the call."""
    assert wire.scores is not None
    assert wire.scores(one, False) == [0.1]
    assert wire.scores(ranking, True) == [0.1, 0.8]


@pytest.mark.parametrize("wire", [wires.ECHO, *(wire for wire, _, _ in ANSWERS)])
def test_every_number_of_a_call_is_sent(wire: wires.Wire) -> None:
    row, ranking = wire.lines([ROWS[:1]], False), wire.lines([ROWS], True)
    for line, values in ((row, ROWS[:1]), (ranking, ROWS)):
        sent = json.dumps(json.loads(line))
        assert all(str(float(value)) in sent for value in values.ravel())


def test_answers_are_compared_with_the_models_own() -> None:
    assert differs([0.5, 0.10001], [0.5, 0.1]) is None
    assert differs([0.5, 0.2], [0.5, 0.1]) == "score 1 is 0.2 where the model's own is 0.1"
    assert differs([0.5], [0.5, 0.1]) == "1 scores where the model gives 2"
