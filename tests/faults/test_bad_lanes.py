"""Whatever is wrong with a request, both ways through the server answer it with the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from bad_calls import BODIES, FINE, FRAMING, GOOD, HEADERS, NAMES, mutations
from raw_http import post

from serving import PROVE
from twins import Twins

MUTATIONS = 20_000 if PROVE else 300
CORPUS = {
    **{each[0]: each[1] for each in (*BODIES, *NAMES, *HEADERS, *FRAMING)},
    **FINE,
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    both = Twins(tmp_path_factory.mktemp("keys"), token=None)
    yield both
    both.close()


@pytest.mark.parametrize("request_bytes", CORPUS.values(), ids=CORPUS)
def test_a_mistake_gets_the_same_bytes_both_ways(twins: Twins, request_bytes: bytes) -> None:
    fast, plain = twins.hear([request_bytes], [1])
    assert fast == plain
    assert fast.startswith(b"HTTP/1.1 ")


def test_any_change_to_the_body_of_a_good_request_gets_the_same_bytes_both_ways(twins: Twins) -> None:
    changes = mutations(GOOD, random.Random(9))
    for _ in range(MUTATIONS // 20):
        requests = [post(next(changes)) for _ in range(20)]
        fast, plain = twins.hear(requests, list(range(1, 21)))
        assert fast == plain
