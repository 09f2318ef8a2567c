"""Whichever way a call takes through the server, it gets the same bytes: all that is sent back, the date apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import PROVE
from twins import Twins, post, row

EXAMPLES = 5_000 if PROVE else 60
HOST = b"Host: 127.0.0.1\r\n"
TOKEN = b"Authorization: Bearer rosebud\r\n"


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    both = Twins(tmp_path_factory.mktemp("keys"), max_body_bytes=100_000)
    yield both
    both.close()


class Talk(NamedTuple):
    """What is sent, part by part, and how many answers are waited for after each. In the end nothing more comes."""

    parts: list[bytes]
    answers: list[int]


def one(packet: bytes, answers: int = 1) -> Talk:
    return Talk([packet], [answers])


def call(*headers: str) -> bytes:
    return post(row(), "/models/toy/predict", *headers)


def page(path: bytes, method: bytes = b"GET", more: bytes = b"") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s%s%s\r\n" % (method, path, HOST, TOKEN, more)


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    said = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return page(b"/models/toy/predict", b"POST", b"Transfer-Encoding: chunked\r\n") + said + b"0\r\n%s\r\n" % trailer


def bytewise(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def rows(count: int) -> bytes:
    return json.dumps({"inputs": [{"age": age + 0.5} for age in range(count)]}).encode()


CALL = call()
WAITS = post(row(wait=0.02))
KEY = "Idempotency-Key: "
WITHOUT_LENGTH = page(b"/models/toy/predict", b"POST")
OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAA")

TALKS = {
    # ordinary
    "one": one(CALL),
    "many, one after the other": Talk(
        [CALL, post(row(age=5)), post(b"{"), post(row(age="x")), CALL, CALL, post(b"{".ljust(len(row())))],
        [1, 2, 3, 4, 5, 6, 7],
    ),
    "many rows": one(post(rows(700))),
    "more rows than may be": one(post(rows(1001))),
    "a version": one(post(row(), "/models/toy/versions/1.0.0/predict")),
    "the model in the body": one(post(b'{"model": "toy", "input": {"age": 1}}', "/predict")),
    "the model and the version in the body": one(
        post(b'{"model": "toy", "version": "1.0.0", "input": {"age": 1}}', "/predict")
    ),
    "no model named": one(post(row(), "/predict")),
    "another model": one(post(b'{"input": {"width": 2, "height": 5}}', "/models/longer/predict")),
    "a failure": one(post(row(age=-1))),
    "an empty body": one(post(b"")),
    "no JSON": one(post(b"{")),
    "no JSON that is large": one(post(b"[" * 60_000)),
    "faults": one(post(b'{"inputs": [{"agee": 1}, {"age": "x", "wait": []}]}')),
    # headers
    "a subject and a deadline": one(call("Cloche-Subject: ann", "Cloche-Deadline-Ms: 60000")),
    "a subject of many letters": one(call("Cloche-Subject: Ann Ågren")),
    "a deadline that is over at once": one(call("Cloche-Deadline-Ms: 1")),
    "a deadline that is no number": one(call("Cloche-Deadline-Ms: soon")),
    "a subject twice": one(call("Cloche-Subject: a", "Cloche-Subject: b")),
    "a subject twice, in other letters": one(call("Cloche-Subject: a", "CLOCHE-SUBJECT: a")),
    "what a model looks at, twice": one(call("X-Market: de", "X-Market: at")),
    "what nobody looks at, twice": Talk([call("Accept: a", "Accept: b")] * 2, [1, 2]),
    "names in capitals": one(CALL.replace(b"Host", b"HOST").replace(b"Authorization", b"AUTHORIZATION")),
    "spaces around a value": one(CALL.replace(b": 127.0.0.1", b":  127.0.0.1  ")),
    "an empty header": one(call("X-Nothing:")),
    "a long header": one(call("X-Long: " + "x" * 30_000)),
    "a header that never ends": one(call("X-Long: " + "x" * 70_000)),
    "what it matters": one(call("Cloche-Criticality: sheddable")),
    "what it matters, in other words": one(call("Cloche-Criticality: very")),
    "no token": one(CALL.replace(TOKEN, b"")),
    "another token": one(CALL.replace(b"rosebud", b"tulip")),
    "a token twice": one(call("Authorization: Bearer rosebud")),
    "another host": one(CALL.replace(b"127.0.0.1", b"evil.example")),
    "two hosts": one(call("Host: 127.0.0.1")),
    "no host": one(CALL.replace(HOST, b"")),
    "another origin": one(call("Origin: http://evil.example")),
    "this origin": one(call("Origin: http://127.0.0.1")),
    "a content type of forms": one(call("Content-Type: application/x-www-form-urlencoded")),
    "gzip": one(call("Content-Encoding: gzip")),
    "an encoding that is none": one(call("Content-Encoding: identity")),
    # idempotency
    "a key": Talk([call(KEY + "one"), call(KEY + "one"), CALL], [1, 2, 3]),
    "a key with another call": Talk([call(KEY + "two"), post(row(age=5), "/models/toy/predict", KEY + "two")], [1, 2]),
    "a key with a failure": Talk([post(row(age=-1), "/models/toy/predict", KEY + "three")] * 2, [1, 2]),
    "a key that is none": one(call(KEY + "ä")),
    "a key twice": one(call(KEY + "a", KEY + "b")),
    # how it comes
    "in pieces": Talk([CALL[:40], CALL[40:90], CALL[90:]], [0, 0, 1]),
    "head and body": Talk([CALL[: -len(row())], row()], [0, 1]),
    "a byte at a time": Talk(bytewise(CALL + CALL), [0] * (len(CALL) - 1) + [1] + [1] * (len(CALL) - 1) + [2]),
    "two in one packet": one(CALL + post(row(age=5)), 2),
    "many in one packet": one((WAITS + CALL + post(b"{") + page(b"/live")) * 5, 20),
    "one and a half": Talk([CALL + CALL[:50], CALL[50:]], [1, 2]),
    "a second while the first runs": Talk([WAITS, CALL], [0, 2]),
    "more while the first runs": Talk([WAITS, CALL, post(b"{"), page(b"/live"), CALL + CALL], [0, 0, 0, 0, 6]),
    "a page between": Talk([CALL, page(b"/live"), CALL, page(b"/models/toy"), CALL], [1, 2, 3, 4, 5]),
    "empty lines before": Talk([b"\r\n" + CALL, b"\r\n\r\n" + CALL], [1, 2]),
    "the body after the answer": Talk([CALL.replace(b"rosebud", b"tulip")[: -len(row())], row() + CALL], [1, 2]),
    # what goes around the lane
    "chunks": one(chunked(row())),
    "chunks of a byte": one(chunked(*bytewise(row()))),
    "chunks of a byte, a byte at a time": Talk([chunked(*bytewise(row()))[:-1], b"\n"], [0, 1]),
    "trailers": one(chunked(row(), trailer=b"Cloche-Deadline-Ms: soon\r\n")),
    "expect": one(call("Expect: 100-continue"), 2),
    "expect, and wait": Talk([call("Expect: 100-continue")[: -len(row())], row()], [1, 2]),
    "an offer": one(call(*OFFER)),
    "an offer again and again": Talk([call(*OFFER)] * 3, [1, 2, 3]),
    "an offer that comes in pieces": Talk([call(*OFFER)[:30], call(*OFFER)[30:]], [0, 1]),
    "an offer without a body": Talk([page(b"/live", more=b"Connection: Upgrade\r\nUpgrade: x\r\n"), CALL], [1, 2]),
    "HTTP/1.0": one(CALL.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "HTTP/1.0 that would stay": one(call("Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")),
    "close": one(call("Connection: close")),
    "close, and more in the same packet": one(call("Connection: close") + CALL),
    "stay": Talk([call("Connection: keep-alive"), CALL], [1, 2]),
    "no length": one(WITHOUT_LENGTH),
    "an empty length": one(page(b"/models/toy/predict", b"POST", b"Content-Length: \r\n")),
    "a length with zeros before": one(post(row(), length=1).replace(b": 1\r\n", b": 000%d\r\n" % len(row()))),
    "large": one(post(row() + b" " * 90_000)),
    "as large as may be": one(post(row().ljust(100_000))),
    "too large": one(post(b" " * 100_001)),
    "a length that is too large, and no body": one(post(b"", length=1_000_000)),
    # addresses
    "an absolute address": one(post(row(), "http://127.0.0.1/models/toy/predict")),
    "a percent": one(post(row(), "/models/t%6fy/predict")),
    "an encoded slash": one(post(row(), "/models%2ftoy/predict")),
    "a query": one(post(row(), "/models/toy/predict?x=1")),
    "a fragment": one(post(row(), "/models/toy/predict#x")),
    "a slash at the end": one(post(row(), "/models/toy/predict/")),
    "two slashes": one(post(row(), "//models/toy/predict")),
    "dots": one(post(row(), "/models/../predict")),
    "no name": one(post(b'{"model": "toy", "input": {"age": 1}}', "/models//predict")),
    "no version": one(post(row(), "/models/toy/versions//predict")),
    "an unknown model": one(post(row(), "/models/nobody/predict")),
    "a long unknown model": one(post(row(), f"/models/{'a' * 20_000}/predict")),
    "an unknown version": one(post(row(), "/models/toy/versions/9.9.9/predict")),
    "an unknown path": one(post(row(), "/models/toy/ask")),
    "an asterisk": one(page(b"*", b"OPTIONS")),
    # methods
    **{method: one(page(b"/models/toy/predict", method.encode())) for method in ("GET", "PUT", "OPTIONS", "PURGE")},
    "HEAD": Talk([page(b"/models/toy/predict", b"HEAD") + page(b"/live", b"HEAD", b"Connection: close\r\n")], [2]),
    # what is cut short, or is no HTTP
    "half a head": Talk([CALL[:60]], [0]),
    "a head without its body": Talk([CALL[: -len(row())]], [0]),
    "half a body": Talk([CALL[:-5]], [0]),
    "half a body after an answer": Talk([CALL, CALL[:-5]], [1, 1]),
    "half a body, and a bad token": Talk([CALL.replace(b"rosebud", b"tulip")[:-5]], [1]),
    "half a body, and a bad header": Talk([call("Cloche-Deadline-Ms: soon")[:-5]], [1]),
    "half a body of chunks": Talk([chunked(row())[:-9]], [0]),
    "more than the length": one(CALL + b"XX\r\n\r\n", 2),
    "nonsense": one(b"\x00\x01\x02\r\n\r\n"),
    "nonsense after an answer": Talk([CALL, b"\x00\x01\x02\r\n\r\n"], [1, 2]),
    "nonsense while the first runs": Talk([WAITS, b"\x00\x01\x02\r\n\r\n", CALL], [0, 0, 2]),
    "nonsense behind two": one(WAITS + CALL + b"\x00\r\n\r\n", 3),
    "a header that never ends, behind one": Talk([WAITS, call("X-Long: " + "x" * 200_000)], [0, 2]),
    "a chunk that is none": one(chunked(row())[:-5] + b"nonsense\r\n"),
    "a chunk that is none, behind one": one(CALL + chunked(row())[:-5] + b"nonsense\r\n"),
    "two lengths": one(call("Content-Length: 1")),
    "a length and chunks": one(call("Transfer-Encoding: chunked")),
    "a length that is a word": one(CALL.replace(b"Length: %d" % len(row()), b"Length: ten")),
}


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_both_lanes_answer_with_the_same_bytes(twins: Twins, talk: Talk) -> None:
    for _ in range(2):  # the second time its head is known
        fast, plain = twins.hear(*talk)
        assert fast == plain
        assert len(re.findall(rb"HTTP/1.1 \d{3} ", fast)) == talk.answers[-1]


SAID = st.sampled_from(
    [
        *(CALL, post(row(age=5)), post(row(age=-1)), post(row(age="x")), post(b"{"), post(b""), post(rows(40)), WAITS),
        *(chunked(row()), chunked(*bytewise(row())), page(b"/live"), page(b"/models/toy/predict"), WITHOUT_LENGTH),
        *(call("Cloche-Subject: ann"), call("X-Market: de", "X-Market: at"), call("Cloche-Deadline-Ms: 1")),
        *(CALL.replace(b"rosebud", b"tulip"), post(row(), "/models/toy/predict?a=b"), post(b" " * 100_001)),
        *(call("Connection: keep-alive"), post(row() + b" " * 70_000), b"\r\n" + CALL),
    ]
)


@st.composite
def split(draw: st.DrawFn) -> Talk:
    """Requests in a row, as one stream that comes in packets of any size."""
    requests = draw(st.lists(SAID, min_size=1, max_size=8))
    stream = b"".join(requests)
    ends = [0]
    for request in requests:
        ends.append(ends[-1] + len(request))
    cuts = draw(st.sets(st.integers(1, len(stream) - 1) | st.sampled_from(ends[1:]), max_size=12))
    waits = draw(st.booleans())
    places = sorted({0, len(stream), *cuts})
    parts = [stream[start:end] for start, end in pairwise(places)]
    answers = [sum(end <= place for end in ends[1:]) if waits else 0 for place in places[1:]]
    return Talk(parts, [*answers[:-1], len(requests)])


def test_any_split_of_any_requests_gets_the_same_bytes(twins: Twins) -> None:
    seen = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(split())
    def same(talk: Talk) -> None:
        nonlocal seen
        fast, plain = twins.hear(*talk)
        assert fast == plain
        assert fast.count(b"HTTP/1.1 ") == talk.answers[-1]
        seen += len(twins.fast.lanes)
        twins.fast.lanes.clear()

    same()
    assert seen > EXAMPLES / 4, "hardly any went by the lane"
