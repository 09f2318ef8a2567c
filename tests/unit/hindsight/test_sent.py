"""What callers have sent: the newest first, without what can't be read any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cloche.assembly.log import open_log
from cloche.hindsight.sent import sent_to
from cloche.home import Home
from cloche.registry.bundle import Each
from past import Past

CALLS = {"age": 30.0, "items": [{"id": "a", "price": 1.0}, {"id": "b", "price": 2.0}]}


def doubled(row):
    return row["x"] * 2


def priced(row):
    return row["price"]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    past = Past(tmp_path_factory.mktemp("sent"))
    past.publish(doubled, "double", [{"x": 1.0}])
    for number in range(5):
        past.ask("double", {"x": float(number)})
    past.ask("double", [{"x": 10.0}, {"x": 11.0}, {"x": 12.0}])
    past.keep(msgspec.structs.replace(past.ask("double", {"x": 99.0}), personal=b""))
    past.publish(priced, "ranking", [CALLS], each="/items", item_id="id")
    past.ask("ranking", CALLS)
    past.keep()
    yield past
    past.close()


async def test_the_newest_rows_come_first_and_what_was_erased_does_not(past: Past) -> None:
    sent = await sent_to(open_log(past.home), "double", None, 100)
    assert [row["x"] for row in sent.rows] == [10.0, 11.0, 12.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    assert list(sent.sizes) == [3, 1, 1, 1, 1, 1]


async def test_no_more_than_is_wanted(past: Past) -> None:
    assert len((await sent_to(open_log(past.home), "double", None, 2)).rows) == 2


async def test_of_a_ranking_the_items_are_counted(past: Past) -> None:
    sent = await sent_to(open_log(past.home), "ranking", Each("/items", "id"), 10)
    assert (list(sent.rows), list(sent.sizes)) == ([CALLS], [2])


async def test_a_home_without_a_log_knows_nothing(tmp_path: Path) -> None:
    sent = await sent_to(open_log(Home(tmp_path / ".cloche")), "double", None, 10)
    assert (list(sent.rows), list(sent.sizes)) == ([], [])
