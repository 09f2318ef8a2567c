from __future__ import annotations

import socket
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.worker.wire import LIMIT, Channel, Decoder, Message, ProtocolError, pack, receive_fds

headers = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=4)
messages = st.lists(st.tuples(headers, st.binary(max_size=300)), max_size=6)


@given(messages, st.lists(st.integers(0, 2000), max_size=30))
def test_any_chunking_gives_the_same_messages(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(pack(header, body) for header, body in sent)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder()
    found = [message for start, end in pairwise(edges) for message in decoder.feed(stream[start:end])]
    assert found == sent


@given(messages.filter(bool))
def test_byte_by_byte(sent: list[Message]) -> None:
    decoder = Decoder()
    stream = b"".join(pack(header, body) for header, body in sent)
    assert [message for byte in stream for message in decoder.feed(bytes([byte]))] == sent


@given(st.binary(min_size=1, max_size=200))
def test_noise_is_refused_or_waits_for_more(noise: bytes) -> None:
    try:
        for header, body in Decoder().feed(noise):
            assert isinstance(header, dict)
            assert isinstance(body, bytes)
    except ProtocolError:
        pass


@pytest.mark.parametrize("lengths", [(LIMIT, 1), (1, LIMIT), (2**32 - 1, 2**32 - 1)])
def test_absurd_lengths_are_refused_before_anything_is_kept(lengths: tuple[int, int]) -> None:
    with pytest.raises(ProtocolError, match="was announced"):
        Decoder().feed(struct.pack("<II", *lengths))


@pytest.mark.parametrize("head", [b"[]", b"1", b"{", b"\xff"])
def test_a_header_must_be_a_json_object(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(struct.pack("<II", len(head), 0) + head)


def test_the_format_never_changes() -> None:
    assert pack({"op": "ping"}, b"[]") == b"\x0d\0\0\0\x02\0\0\0" + b'{"op":"ping"}' + b"[]"


def test_a_channel_ends_where_the_other_end_does() -> None:
    left, right = (Channel(end) for end in socket.socketpair())
    left.send({"a": 1}, b"x" * 100_000)
    left.send({"b": 2})
    left.sock.sendall(b"\x05\0\0\0")
    left.close()
    assert right.receive() == ({"a": 1}, b"x" * 100_000)
    assert right.receive() == ({"b": 2}, b"")
    assert right.receive() is None
    right.close()


def test_a_connection_travels_with_its_message() -> None:
    ours, theirs = socket.socketpair()
    near, far = socket.socketpair()
    with ours, theirs, near, far:
        Channel(ours).send_fd({"op": "connect"}, far.fileno())
        data, fds = receive_fds(theirs)
        assert Decoder().feed(data) == [({"op": "connect"}, b"")]
        with socket.socket(fileno=fds[0]) as received:
            assert not received.get_inheritable()
            received.sendall(b"hello")
            assert near.recv(5) == b"hello"
