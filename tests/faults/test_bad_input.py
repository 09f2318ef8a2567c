"""Whatever is sent: the status that was promised, nothing shown of the server, and a server as well as before."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from bad_calls import BODIES, FINE, FRAMING, GOOD, HEADERS, NAMES, mutations
from bad_oracle import status_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import HEAD, Wire, around_the_lane, check, chunked, post

import shop
from serving import PROVE, Server, memory_mb, publish

PROPERTY_EXAMPLES = 20_000 if PROVE else 400
MUTATIONS = 60_000 if PROVE else 1_500
BROKEN_REQUESTS = 20_000 if PROVE else 300
DOORS = (b"/models/longer/predict", b"/models/longer/predict?a=b")
"""The second is left to ASGI by the fast lane."""

MEGABYTE = 1024 * 1024
GROWTH_MB = 24
PATIENCE_S = 0.02
"""How long a request that may never end is waited for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("bad") / ".cloche"
    publish(home, shop.longer, "longer", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}])
    with Server(home) as running:
        yield running
        assert "Traceback" not in running.said
        assert "not foreseen" not in running.said


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as connection:
        yield connection


@pytest.fixture(autouse=True)
def same_server(server: Server) -> Iterator[None]:
    """The same processes answer before and after, and have not grown."""
    before, memory = server.processes, memory_mb(server.gateway)
    yield
    with Wire(server.port) as wire:
        assert wire.ask(post(GOOD)).status == 200
    assert server.processes == before
    assert memory_mb(server.gateway) - memory < GROWTH_MB


CORPUS = [*BODIES, *NAMES, *HEADERS]


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"), [each[1:] for each in CORPUS], ids=[each[0] for each in CORPUS]
)
def test_a_mistake_gets_the_status_it_was_promised(wire: Wire, request_bytes: bytes, status: int, code: str) -> None:
    for sent in (request_bytes, around_the_lane(request_bytes)):
        said = wire.ask(sent)
        check(said)
        assert (said.status, said.code) == (status, code)
        if status == 431:
            return
        assert wire.ask(post(GOOD)).status == 200, "the connection is as good as before"


@pytest.mark.parametrize("request_bytes", [each[1] for each in FRAMING], ids=[each[0] for each in FRAMING])
def test_what_is_not_http_is_told_so_and_hung_up_on(wire: Wire, request_bytes: bytes) -> None:
    said = wire.ask(request_bytes)
    check(said)
    assert (said.status, said.code, said.headers["connection"]) == (400, "invalid_http", "close")
    assert wire.read() is None


@pytest.mark.parametrize("request_bytes", FINE.values(), ids=FINE)
def test_what_is_unusual_and_right_is_answered(wire: Wire, request_bytes: bytes) -> None:
    for sent in (request_bytes, around_the_lane(request_bytes)) * 2:
        said = wire.ask(sent)
        assert said is not None
        assert said.status == 200, said
        assert json.loads(said.body)["output"] == 5


def test_an_invalid_body_is_told_with_its_place(wire: Wire) -> None:
    said = wire.ask(post(b'{"input": {"width": 2, "height": five}}'))
    assert json.loads(said.body)["detail"] == "The body is not valid JSON at byte 33: expecting value."
    said = wire.ask(post(b'{"inputs": [{"width": 1, "height": 1}, {"widht": true, "height": "x"}]}'))
    faults = {(fault["pointer"], fault["code"]) for fault in json.loads(said.body)["faults"]}
    assert ("/inputs/1/height", "type") in faults
    assert {pointer for pointer, _ in faults} >= {"/inputs/1/widht", "/inputs/1/height"}


def test_requests_in_one_packet_are_answered_in_their_order(wire: Wire) -> None:
    calls = [(post(GOOD), 200), (post(b"{"), 400), (post(b"{}"), 422), (chunked(GOOD), 200), (post(GOOD, b"/x"), 404)]
    calls = random.Random(5).choices(calls, k=200)
    wire.send(b"".join(request for request, _ in calls))
    assert [wire.read().status for _ in calls] == [status for _, status in calls]


def test_a_body_byte_by_byte(wire: Wire) -> None:
    for byte in post(GOOD):
        wire.send(bytes([byte]))
    assert wire.read().status == 200


@pytest.mark.parametrize("part", [GOOD[:10], b""])
def test_a_length_that_promises_too_much_gets_no_answer_and_holds_nothing_up(server: Server, part: bytes) -> None:
    with Wire(server.port) as wire:
        wire.send(b"POST /models/longer/predict HTTP/1.1\r\n%sContent-Length: 50\r\n\r\n%s" % (HEAD, part))
        wire.finish()
        assert wire.read() is None


def test_a_length_that_promises_too_little_ends_the_connection(wire: Wire) -> None:
    wire.send(post(GOOD + b"XX").replace(b": %d\r\n\r\n" % (len(GOOD) + 2), b": %d\r\n\r\n" % (len(GOOD) - 1)))
    check(wire.read())
    wire.finish()
    while (said := wire.read()) is not None:
        check(said)


def test_100_mb_are_refused_without_being_kept(server: Server) -> None:
    block = b" " * MEGABYTE
    for _ in range(3):
        with Wire(server.port) as wire:
            wire.send(b"POST /models/longer/predict HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HEAD, 100 * MEGABYTE))
            said = wire.read()
            check(said)
            assert (said.status, said.code) == (413, "body_too_large"), "at once, before the body"
            for _ in range(100):
                wire.send(block)
        with Wire(server.port) as wire:
            wire.send(chunked()[: -len(b"0\r\n\r\n")])
            for _ in range(100):
                wire.send(b"%x\r\n%s\r\n" % (len(block), block))
            wire.send(b"0\r\n\r\n")
            said = wire.read()
            check(said)
            assert (said.status, said.code) == (413, "body_too_large")
    assert peak_mb(server.gateway) < 200


def test_connections_that_say_nothing_hold_nobody_up(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        for number, connection in enumerate(silent):
            connection.sendall(post(GOOD)[: number % 90])
        with Wire(server.port) as wire:
            assert wire.ask(post(GOOD)).status == 200
    finally:
        for connection in silent:
            connection.close()


# ── anything at all ──

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NUMBER = st.floats(-1e308, 1e308) | st.integers(-(2**64), 2**64) | st.none() | JSON
ROW = st.fixed_dictionaries({"width": NUMBER, "height": NUMBER}) | st.fixed_dictionaries(
    {}, optional={"width": NUMBER, "height": NUMBER, "depth": JSON}
)
GOOD_CALL = st.fixed_dictionaries({"inputs": st.lists(ROW, min_size=1, max_size=3)}) | st.fixed_dictionaries(
    {"input": ROW},
    optional={"subject": st.text(min_size=1, max_size=300), "parameters": st.dictionaries(st.text(), JSON)},
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "input": ROW | JSON,
        "inputs": st.lists(ROW, max_size=3) | JSON,
        "subject": st.text(max_size=300) | JSON,
        "parameters": JSON,
        "model": st.just("longer") | JSON,
        "other": JSON,
    },
)
BODY = (
    (CALL | GOOD_CALL | JSON).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
)


def test_any_body_is_judged_as_an_independent_reader_of_json_does(server: Server, evidence) -> None:
    seen = dict.fromkeys((200, 400, 422), 0)
    with Wire(server.port) as wire:

        @settings(
            max_examples=PROPERTY_EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(BODY, st.sampled_from(DOORS))
        def judge(body: bytes, door: bytes) -> None:
            said = wire.ask(post(body, door))
            check(said)
            assert said.status == status_of(body), (body, said)
            seen[said.status] += 1

        judge()
    report(evidence, "any body gets the status that an independent reader of JSON expects", seen)


def test_any_change_to_a_good_body_is_judged_so_too(server: Server, evidence) -> None:
    chance = random.Random(7)
    seen = dict.fromkeys((200, 400, 422), 0)
    with Wire(server.port) as wire:
        for body in islice(mutations(GOOD, chance), MUTATIONS):
            said = wire.ask(post(body, chance.choice(DOORS)))
            check(said)
            assert said.status == status_of(body), (body, said)
            seen[said.status] += 1
    report(evidence, "any change to the bytes of a good body, the same", seen)


def test_any_change_to_a_good_request_is_answered_or_hung_up_on(server: Server, evidence) -> None:
    chance = random.Random(8)
    good = post(GOOD, head=b"Cloche-Deadline-Ms: 900\r\nCloche-Subject: ann\r\nContent-Type: application/json\r\n")
    before = memory_mb(server.gateway)
    seen: dict[int, int] = {}
    changes = cycle([mutations(good, chance), mutations(around_the_lane(good), chance)])
    for _ in range(BROKEN_REQUESTS):
        with Wire(server.port) as wire:
            wire.send(next(next(changes)))
            if not wire.hears(PATIENCE_S):
                wire.finish()
            answers = 0
            while (said := wire.read()) is not None:
                check(said)
                wire.finish()
                answers += 1
                seen[said.status] = seen.get(said.status, 0) + 1
            seen[0] = seen.get(0, 0) + (answers == 0)
    report(evidence, "any change to the bytes of a good request is answered below 500, or hung up on (0)", seen)
    evidence(
        "the gateway's memory is flat under bad input",
        f"{BROKEN_REQUESTS:,} connections",
        f"{memory_mb(server.gateway) - before:+.1f} MB",
    )


def report(evidence: Callable[[str, str, str], None], claim: str, seen: dict[int, int]) -> None:
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(seen.items()) if count)
    evidence(claim, f"{sum(seen.values()):,} requests", answers)


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
