"""The same question to the same version: what comes out the same, what does not, and what can't be asked any more."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloche import Model, Refusal
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.hindsight.reproduce import Reproduction, exception_in
from cloche.home import Home
from cloche.insight.answers import PlaceDifference
from cloche.log.chain import SealedSink
from cloche.log.columns import pack_text
from cloche.log.subjects import Subjects
from cloche.pages import plain
from cloche.pages.reproduction import reproduction_page
from cloche.ports import Mark, Position
from cloche.values import Personal, Record, Tombstone
from past import Past, changed

ROW = {"age": 30.0, "do": "price"}
CALL = {"shop": "de", "items": [{"sku": "a", "stock": 2.5}, {"sku": "b", "stock": 7.1}, {"sku": "c", "stock": 0.3}]}


class Quote(Model):
    """Says what its row wants, with all that it is told of the call."""

    def predict(self, rows, calls):
        return [self.quote(row, call) for row, call in zip(rows, calls, strict=True)]

    def quote(self, row, call):
        if row["do"] == "refuse":
            return Refusal("too_old", "We do not insure this", path="/age")
        if row["do"] == "fail":
            raise ValueError(f"no table for {row['age']}: {object()}")
        if row["do"] == "wrong":
            return float("nan")
        loading = (call.parameters or {}).get("loading", 0.0)
        return {
            "price": row["age"] / 3 + loading,
            "told": [call.id, call.now_us, call.subject, len(call.subject or "")],
        }


class Ageing(Model):
    """Answers otherwise every time."""

    def load(self, bundle):
        self.asked = 0

    def predict_one(self, row):
        self.asked += 1
        return {"price": 1.0 + 1e-12 * self.asked, "was": {"asked": row["age"]}}


def by_stock(item):
    return item["stock"] / 3


def unlucky(row):
    if row["age"] > 50:
        raise ValueError("older than the table")
    return row["age"]


def cautious(row):
    return 2 * row["age"]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    past = Past(tmp_path_factory.mktemp("yesterday"))
    past.publish(Quote, "quote", [ROW], golden="schema")
    past.publish(Ageing, "ageing", [{"age": 1.0}], golden="schema")
    past.publish(by_stock, "ranking", [CALL], each="/items", item_id="sku")
    past.publish(cautious, "price", [{"age": 40.0}], version="0.1.0")
    past.publish(unlucky, "price", [{"age": 40.0}])
    yield past
    past.close()


def verdict(past: Past, record: Record, **options: Any) -> str:
    (found,) = past.reproduce(record, **options)
    return found.verdict


def test_it_is_told_all_that_it_was_told_then(past: Past):
    asked = [
        past.ask("quote", ROW, subject="ada", parameters={"loading": 0.1}),
        past.ask("quote", [ROW, ROW | {"do": "refuse"}], subject="ada"),
        past.ask("quote", ROW | {"do": "refuse"}),
        past.ask("quote", ROW | {"do": "fail"}),
        past.ask("quote", ROW | {"do": "wrong"}),
    ]
    assert [record.outcome for record in asked] == ["ok", "refused", "refused", "model_failed", "invalid_output"]
    assert [(found.verdict, found.places) for found in past.reproduce(*asked)] == [("same", [])] * len(asked)


def test_a_record_that_is_not_what_its_seal_says_is_not_asked_again(past: Past, tmp_path: Path):
    record, unsealed = (past.ask("quote", ROW, subject="ada") for _ in range(2))

    async def seal() -> None:
        sink = SqliteSink(tmp_path / "log.db")
        await SealedSink(sink).write([record], Mark("spool", Position(1, 1)))
        await sink.close()

    asyncio.run(seal())
    log = SqliteReader(tmp_path / "log.db")
    assert [verdict(past, each, log=log) for each in (record, unsealed)] == ["same", "same"]
    (found,) = past.reproduce(msgspec.structs.replace(record, reason="explicit"), log=log)
    assert (found.verdict, found.why) == ("impossible", "record_changed")


def test_another_answer_is_named_place_by_place(past: Past):
    record = past.ask("quote", ROW, subject="ada")
    answer = {"price": 9.5, "told": ["me"]}
    (found,) = past.reproduce(changed(record, output=pack_text(msgspec.json.encode([answer]))))
    assert found.verdict == "different"
    assert [(place.pointer, place.before) for place in found.places] == [
        ("/output/price", 9.5),
        ("/output/told/0", "me"),
        ("/output/told/1", None),
        ("/output/told/2", None),
        ("/output/told/3", None),
    ]
    assert found.places[0].after == 10.0


def test_a_refusal_or_a_failure_in_the_place_of_an_answer_is_another_answer(past: Past):
    refused, failed = past.ask("quote", ROW | {"do": "refuse"}), past.ask("quote", ROW | {"do": "fail"})
    other = changed(refused, refusals={0: pack_text(b'{"code":"too_old","message":"We do not","path":"/age"}')})
    texts = changed(failed, failure="Traceback\n  File \"x\", line 1\n    raise\nKeyError: 'ten'")
    kinds = [msgspec.structs.replace(failed, outcome="ok"), other, texts]
    places = [[place.pointer for place in found.places] for found in past.reproduce(*kinds)]
    assert places == [["/outcome", "/exception"], ["/refusal/message"], ["/exception"]]


def test_the_last_digits_count_unless_it_is_said_that_they_do_not(past: Past):
    record = past.ask("ageing", {"age": 1.0})
    (found,) = past.reproduce(past.ask("ageing", {"age": 1.0}))
    assert (found.verdict, [place.pointer for place in found.places]) == ("different", ["/output/price"])
    assert "--rtol 1e-09" in found.notes[0]
    assert verdict(past, record, rtol=1e-9) == "same"


def test_a_fallback_is_reproduced_from_the_member_that_answered(past: Past):
    row = {"age": 60.0}
    active = {"active": ["0.1.0", "1.0.0"], "default": "1.0.0"}
    past.apply({"price": active | {"fallback": {"chain": ["0.1.0", {"constant": 1.0}], "reserve_ms": 15}}})
    asked = [past.ask("price", row)]
    past.apply({"price": active | {"fallback": {"chain": [{"constant": 12.5}], "reserve_ms": 15}}})
    asked.append(past.ask("price", row))
    dear = {"when": {"market": ["ch"]}, "fallback": {"chain": [{"constant": 99.0}], "reserve_ms": 15}}
    market = {"attributes": {"market": "header:Market"}, "overrides": [dear]}
    past.apply({"price": active | market | {"fallback": {"chain": [{"constant": 12.5}], "reserve_ms": 15}}})
    asked.append(past.ask("price", row, headers={"Market": "ch"}))
    assert [(record.answered_by, record.fallback) for record in asked] == [
        ("0.1.0", "model_failed"),
        ("constant", "model_failed"),
        ("constant", "model_failed"),
    ]
    assert [found.verdict for found in past.reproduce(*asked)] == ["same"] * 3
    (other,) = past.reproduce(changed(asked[1], output=pack_text(b"[13.0]")))
    assert [(place.pointer, place.before, place.after) for place in other.places] == [("/output", 13.0, 12.5)]
    (gone,) = past.reproduce(msgspec.structs.replace(asked[0], release_digest="sha256:other"))
    assert gone.why == "release_missing"


def test_a_ranking_comes_out_in_its_order(past: Past):
    assert verdict(past, past.ask("ranking", CALL)) == "same"


def test_a_record_that_was_changed_is_told_from_an_answer_that_did(past: Past):
    record = past.ask("quote", ROW)
    price = msgspec.json.encode(10.0)
    assert price in record.personal
    (found,) = past.reproduce(
        msgspec.structs.replace(record, personal=record.personal.replace(price, b"11.0")),
        msgspec.structs.replace(record, personal=record.personal[:-3]),
    )[:1]
    assert (found.verdict, found.why) == ("impossible", "record_changed")
    assert "cloche log verify" in (found.reason or "")


def test_what_was_erased_is_said_with_who_and_why(past: Past):
    record = past.ask("quote", ROW)
    stone = msgspec.msgpack.encode(Tombstone(0, "ada", "she asked for it."))
    erased, empty = (msgspec.structs.replace(record, personal=left) for left in (stone, b""))
    found = past.reproduce(erased, empty)
    assert [each.why for each in found] == ["erased", "erased"]
    assert found[0].reason == (
        "What was asked and answered was erased at 1970-01-01T00:00:00.000000Z by ada: she asked for it."
    )


def test_a_question_that_was_redacted_is_none_and_an_answer_is_compared_as_far_as_it_goes(past: Past):
    record = past.ask("quote", ROW, subject="ada")
    question = changed(record, redacted=("/input/age",), input=pack_text(b'[{"age":"[redacted]","do":"price"}]'))
    absent = changed(record, redacted=("/input/name",))
    answer = msgspec.json.encode([{"price": 10.0, "told": "[redacted]"}])
    redacted = changed(record, redacted=("/output/told",), output=pack_text(answer))
    found = past.reproduce(question, absent, redacted)
    assert [(each.verdict, each.why) for each in found] == [("impossible", "redacted"), ("same", None), ("same", None)]
    assert "/input/age" in (found[0].reason or "")
    assert found[2].notes == ["What was redacted from the answer could not be compared."]


def test_a_subject_that_is_kept_as_an_hmac_is_the_reason_where_the_answer_depends_on_it(past: Past):
    record = past.ask("quote", ROW, subject="ada")
    hidden = changed(record, subject="hmac-sha256:00")
    (found,) = past.reproduce(hidden)
    assert (found.verdict, found.why) == ("impossible", "subject_hidden")
    refused = changed(past.ask("quote", ROW | {"do": "refuse"}, subject="ada"), subject="hmac-sha256:00")
    assert verdict(past, refused) == "same"


def test_who_names_the_subject_gets_the_answer_that_depends_on_it(past: Past):
    key = Subjects(b"key of the log")
    name = key.recorded("ada")
    record = past.ask("quote", ROW, subject="ada")
    (answer,) = msgspec.json.decode(
        msgspec.msgpack.decode(msgspec.msgpack.decode(record.personal, type=Personal).output)
    )
    answer["told"][2] = name
    hidden = changed(record, subject=name, output=pack_text(msgspec.json.encode([answer])))
    found = [past.reproduce(hidden, about=(said, key))[0] for said in ("ada", "bob")]
    assert [(each.verdict, each.why) for each in found] == [("same", None), ("impossible", "subject_hidden")]


@pytest.mark.parametrize("outcome", ["deadline_exceeded", "overloaded", "worker_crashed", "schema_mismatch"])
def test_what_the_moment_did_says_nothing_of_the_model(past: Past, outcome: str):
    record = msgspec.structs.replace(past.ask("quote", ROW), outcome=outcome)
    (found,) = past.reproduce(record)
    assert (found.verdict, found.why) == ("impossible", "not_an_answer")
    assert (found.reason or "").startswith(f"It ended with {outcome}: ")


def test_what_is_not_there_any_more_is_named(past: Past, tmp_path: Path):
    home = Home(tmp_path)
    shutil.copytree(past.home.registry, home.registry)
    first, second = past.ask("price", {"age": 1.0}, version="0.1.0"), past.ask("quote", ROW)
    elsewhere = msgspec.structs.replace(second, digest="sha256:" + "0" * 64)
    unknown = msgspec.structs.replace(second, version="9.0.0", digest="sha256:" + "1" * 64)
    for blob in (home.registry / "blobs").rglob("*"):
        if blob.is_file():
            blob.write_bytes(b"other")
    found = past.reproduce(first, elsewhere, unknown, home=home)
    assert [each.why for each in found] == ["bundle_damaged", "bundle_damaged", "version_missing"]


@pytest.mark.parametrize(
    ("traceback", "expected"),
    [
        ("", ""),
        ("ValueError: inline", "ValueError: inline"),
        (
            'Traceback (most recent call last):\n  File "m.py", line 3, in f\n    x\nValueError: a\nb\n',
            "ValueError: a\nb",
        ),
        (
            'The step gbm failed.\nTraceback (most …):\n  File "m.py", line 3, in f\n    x\n    ^\nE: <o at 0x7f3a>',
            "E: <o at 0x…>",
        ),
    ],
)
def test_an_exception_is_its_type_and_message(traceback: str, expected: str):
    assert exception_in(traceback) == expected


def test_a_page_shows_the_first_places_alone():
    places = [PlaceDifference(f"/outputs/{number}", number, None) for number in range(25)]
    facts = {"time": "", "model": "price", "version": "1.0.0", "digest": "", "answered_by": "0.1.0"}
    page = plain(reproduction_page(Reproduction(id="7", verdict="different", places=places, **facts)))
    assert "by price 1.0.0, 0.1.0 in its place" in page
    assert "/outputs/19  19        null\nAnd 5 more places; --json has all." in page
