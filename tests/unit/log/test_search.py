from __future__ import annotations

import asyncio
import re

import pytest

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.errors import QueryTooSlow
from cloche.log import pages
from cloche.log import search as searching
from cloche.log.contents import read_condition
from cloche.log.search import Query, cursor_of, read_cursor, search, write_cursor
from cloche.ports import Cursor, Filter
from cloche.testing import make_record


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.db"
    records = [make_record(number, model=f"m{number % 2}") for number in range(1300)]

    async def fill():
        sink = SqliteSink(path)
        await sink.write(records)
        await sink.close()

    asyncio.run(fill())
    return SqliteReader(path), records


def at(condition):
    return (read_condition(condition),)


async def test_what_lies_inside_is_found_over_many_pages(log):
    reader, records = log
    query = Query(Filter(model="m1"), input=at("/number<40"), output=at("/label>=3"))
    expected = [record for number, record in enumerate(records) if 3 <= number < 40 and number % 2][::-1]
    found, place = [], None
    while True:
        page = await search(reader, query, 7, place)
        found += page.records
        assert not page.stopped
        if page.next is None:
            break
        place = read_cursor(write_cursor(page.next))
    assert found == expected


async def test_without_contents_a_page_says_where_the_next_begins(log):
    reader, records = log
    page = await search(reader, Query(), 1000)
    assert page.next == cursor_of(records[300])
    assert (await search(reader, Query(), 1000, page.next)).next is None


async def test_a_page_goes_on_where_the_size_of_its_records_has_cut_what_was_read(log, monkeypatch):
    reader, records = log
    size = len(records[-1].personal)
    monkeypatch.setattr(pages, "PAGE_BYTES", 10 * size)
    read = []

    class Watched(SqliteReader):
        async def find(self, wanted, limit, before=None):
            found = await super().find(wanted, limit, before)
            read.append(len(found))
            return found

    watched = Watched(reader._path)
    assert list((await search(watched, Query(), 100)).records) == records[:-101:-1]
    assert max(read) == 11
    assert len((await search(watched, Query(input=at("/number<100")), 500)).records) == 100
    page = await search(reader, Query(), 100, most_bytes=10 * size)
    assert list(page.records) == records[:-12:-1]
    assert page.next == cursor_of(page.records[-1])


async def test_a_search_that_takes_too_long_ends_with_what_it_found_and_goes_on(log):
    reader, records = log
    query = Query(input=(read_condition("/number=1299"), read_condition("/number!=3")))
    page = await search(reader, query, 10, timeout_ms=0)
    assert (list(page.records), page.stopped, page.next) == ([records[1299]], True, cursor_of(records[800]))
    page = await search(reader, query, 10, page.next, timeout_ms=0)
    assert (list(page.records), page.stopped, page.next) == ([], True, cursor_of(records[300]))
    page = await search(reader, query, 10, page.next, timeout_ms=0)
    assert (list(page.records), page.stopped, page.next) == ([], False, None)


async def test_a_store_that_is_slow_later_ends_the_page_and_one_that_is_slow_at_once_says_so(log):
    reader, records = log

    class Slow(SqliteReader):
        pages = 1

        async def find(self, wanted, limit, before=None):
            if self.pages == 0:
                raise QueryTooSlow(where="here", timeout_ms=1)
            self.pages -= 1
            return await super().find(wanted, limit, before)

    slow = Slow(reader._path)
    query = Query(input=at("/number<0"))
    page = await search(slow, query, 10)
    assert (page.stopped, page.next) == (True, cursor_of(records[1300 - searching._PAGE]))
    with pytest.raises(QueryTooSlow, match="model and since"):
        await search(slow, query, 10)


@pytest.mark.parametrize("text", ["", "abc", "ä", "AAAA", "=" * 32, "A" * 33])
def test_a_cursor_that_nobody_gave_is_refused(text):
    with pytest.raises(ValueError, match="page"):
        read_cursor(text)


def test_a_cursor_can_stand_in_an_address_and_in_a_command():
    cursor = Cursor(-1, b"\xff" * 16)
    assert read_cursor(write_cursor(cursor)) == cursor
    assert re.fullmatch(r"[\w-]+", write_cursor(cursor))
