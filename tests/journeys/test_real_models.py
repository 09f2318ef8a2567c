"""Trained models that packages bring are published as they are, and answer as they do at home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import py3langid
import pytest
import usaddress
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from serving import Server, cli, publish


class Real(NamedTuple):
    """A model that somebody else has made, how it is published, and what it is asked."""

    model: Any
    package: str
    options: dict[str, Any]
    field: str
    examples: list[str]
    asked: list[str]

    def answer(self, text: str) -> Any:
        """What it answers at home, as JSON has it."""
        method = getattr(self.model, self.options.get("method", ""), self.model)
        return json.loads(json.dumps(method(text)))


REAL = {
    "language": Real(
        py3langid.classify,
        "py3langid",
        {},
        "instance",
        ["Wo ist der Bahnhof?", "Où est la gare ?", "Where is the station?"],
        ["¿Dónde está la estación?", "Hvor er stasjonen?", "駅はどこですか", ""],
    ),
    "address": Real(
        usaddress.tag,
        "usaddress",
        {},
        "address_string",
        ["123 Main St. Suite 100 Chicago, IL", "1600 Pennsylvania Ave NW, Washington, DC 20500"],
        ["350 Fifth Avenue, New York, NY 10118", "PO Box 1234, Portland, OR", ""],
    ),
    "sentiment": Real(
        SentimentIntensityAnalyzer(),
        "vaderSentiment",
        {"method": "polarity_scores", "score": "/compound"},
        "text",
        ["What a great day!", "The worst meal ever :("],
        ["It was not bad at all", "VADER is smart, handsome, and funny!!!", ""],
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("real") / "home"
    for name, real in REAL.items():
        examples = [{real.field: text} for text in real.examples]
        manifest = publish(home, real.model, name, examples, **real.options).manifest
        assert real.package in manifest.environment.distributions
        assert not [file.path for file in manifest.files if file.path.startswith("code/")]
    with Server(home) as server:
        yield server


@pytest.mark.parametrize("name", REAL)
def test_it_answers_as_it_does_at_home(server: Server, name: str) -> None:
    real = REAL[name]
    for text in (*real.examples, *real.asked):
        assert server.predict(name, {real.field: text}).json["output"] == real.answer(text), text
    with server.caller() as caller:
        rows = [{real.field: text} for text in real.asked]
        outputs = caller.ask("POST", f"/models/{name}/predict", {"inputs": rows}).json["outputs"]
    assert outputs == [real.answer(text) for text in real.asked]


def test_its_calls_are_held_to_its_parameters_and_recorded(server: Server) -> None:
    wrong = server.predict("language", {"text": "Where?"})
    assert (wrong.status, wrong.json["code"]) == (422, "schema_mismatch")
    answered = server.predict("language", {"instance": "Where is the station?"}).json
    record = json.loads(cli(server.home, "log", "show", answered["id"], "--json"))
    assert (record["input"], record["output"]) == ({"instance": "Where is the station?"}, answered["output"])
