"""A visitor and 200 products: ordered, one inference, small in the log."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor

import shop
from serving import Answer, Server, cli, publish

NUMBERS = [f"n{place}" for place in range(30)]
PRODUCTS = 200
random = np.random.default_rng(11)


def call(products: int = PRODUCTS) -> dict[str, object]:
    """Return what a shop sends: about the visitor, and about each product."""
    items = [
        {"product_id": f"sku-{place:05}", **dict(zip(NUMBERS, random.random(len(NUMBERS)).tolist(), strict=True))}
        for place in range(products)
    ]
    return {"age": 41.0, "items": items}


def fitted() -> GradientBoostingRegressor:
    """Return trees, which read numbers in single precision."""
    frame = pd.DataFrame(random.random((500, len(NUMBERS) + 1)), columns=["age", *NUMBERS])
    return GradientBoostingRegressor(random_state=0).fit(frame, frame.to_numpy() @ np.linspace(-1, 1, len(NUMBERS) + 1))


def share(row: dict[str, Any]) -> float:
    """Return which part of the budget a wine takes; below 0 where it is beyond."""
    return float(row["price"] / row["budget"]) if row["price"] <= row["budget"] else -1.0


@pytest.fixture(scope="module")
def model() -> GradientBoostingRegressor:
    return fitted()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, model: GradientBoostingRegressor) -> Path:
    home = tmp_path_factory.mktemp("ranking") / ".cloche"
    publish(
        home, model, "ranking", [call(5) for _ in range(4)], each="/items", item_id="product_id", max_items=PRODUCTS
    )
    wines = [{"wine": "riesling", "price": 12.5}, {"wine": "port", "price": 22.0}]
    publish(home, share, "wines", [{"budget": 20.5, "items": wines}], each="/items", item_id="wine")
    publish(home, shop.stock, "by-stock", [{"items": [{"sku": "a", "stock": 3}]}], each="/items", item_id="sku")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with Server(home) as running:
        yield running


def stored_bytes(home: Path, answer: Answer) -> int:
    """Return how much the log holds of an inference, all columns of both tables together."""
    with sqlite3.connect(f"file:{home}/log/inferences.db?mode=ro", uri=True) as log:
        found = 0
        for table in ("inference", "personal"):
            (row,) = log.execute(f"select * from {table} where id = ?", (uuid.UUID(answer.json["id"]).bytes,))
            found += sum(len(value) if isinstance(value, bytes | str) else 8 for value in row if value is not None)
    log.close()
    return found


def test_the_products_come_back_in_the_order_of_their_scores(server: Server, model: GradientBoostingRegressor) -> None:
    asked = call()
    answer = server.predict("ranking", asked, Cloche_Subject="visitor-1")
    assert answer.status == 200, answer.body
    ranked = answer.json["output"]
    frame = pd.DataFrame(asked["items"]).assign(age=asked["age"])[["age", *NUMBERS]]
    scores = dict(zip((item["product_id"] for item in asked["items"]), model.predict(frame), strict=True))
    assert [item["product_id"] for item in ranked] == sorted(scores, key=scores.__getitem__, reverse=True)
    assert [item["score"] for item in ranked] == pytest.approx(
        sorted(scores.values(), reverse=True), rel=1e-4, abs=1e-5
    )


def test_code_gets_the_numbers_as_they_were_sent(server: Server) -> None:
    """20.1 in single precision is more than 20.1."""
    answer = server.predict("wines", {"budget": 20.1, "items": [{"wine": "a", "price": 20.1}]})
    assert answer.json["output"] == [{"wine": "a", "score": 1.0}]
    shown = json.loads(cli(server.home, "log", "show", answer.json["id"], "--json"))
    assert shown["input"]["items"] == [{"wine": "a", "price": 20.1}]


def test_it_is_one_inference_and_small(server: Server, evidence) -> None:
    asked = call()
    answer = server.predict("ranking", asked, Cloche_Subject="visitor-2")
    (record,) = map(json.loads, cli(server.home, "log", "query", "--subject", "visitor-2", "--json").splitlines())
    assert (record["id"], record["rows"], record["subject"]) == (answer.json["id"], 1, "visitor-2")
    assert record["output"] == answer.json["output"]
    assert record["input"]["age"] == asked["age"]
    kept = np.array([[item[name] for name in NUMBERS] for item in record["input"]["items"]])
    sent = np.array([[item[name] for name in NUMBERS] for item in asked["items"]])
    assert (kept == sent.astype("float32")).all(), "what is kept is what the model read"
    size = stored_bytes(server.home, answer)
    numbers = PRODUCTS * len(NUMBERS)
    assert size < 10 * 1024 + 4 * numbers
    evidence(
        "a ranking of 200 products with 30 numbers each is one inference, under 10 KB plus 4 bytes per number",
        "1 call",
        f"{size:,} bytes stored: {size - 4 * numbers:,} beside its {numbers:,} numbers",
    )


def test_too_many_products_are_a_mistake(server: Server) -> None:
    answer = server.predict("ranking", call(PRODUCTS + 1))
    assert answer.status == 422
    assert answer.json["faults"][0]["pointer"].startswith("/input/items")


def test_products_of_one_score_stay_in_the_order_they_came(server: Server) -> None:
    stocks = {"p3": 1, "p1": 2, "p2": 1, "p5": 2, "p4": 1}
    items = [{"sku": name, "stock": stock} for name, stock in stocks.items()]
    ranked = server.predict("by-stock", {"items": items}).json["output"]
    assert [found["sku"] for found in ranked] == ["p1", "p5", "p3", "p2", "p4"]
