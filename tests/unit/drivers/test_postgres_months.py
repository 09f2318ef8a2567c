"""Records of a month are in tables of their own, which are there in time."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers.postgres import PostgresReader, months
from cloche.drivers.postgres.address import Address
from cloche.drivers.postgres.months import Month
from cloche.ports import Filter
from cloche.testing import make_record
from postgres import asked, kept, opened

MONTH_US = 31 * 86_400_000_000


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_moment_is_in_one_month(time_us):
    month = Month.of_day(time_us // months.DAY_US)
    assert month.start_us is None or month.start_us <= time_us
    assert month.end_us is None or time_us < month.end_us
    assert month.following.start_us in (month.end_us, month.start_us)


def test_months_are_those_of_the_calendar():
    day = datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp() // 86400
    month = Month.of_day(int(day))
    assert month.name == "2028_02"
    assert (month.end_us - month.start_us) // months.DAY_US == 29
    assert month.following.name == "2028_03"


async def test_a_record_of_any_month_finds_its_table_and_the_next_one_is_made_ahead(database):
    times = [-1, 0, 253_370_764_799_999_999, 253_370_764_800_000_000, 2**63 - 1]
    records = [make_record(number, time_us=time_us) for number, time_us in enumerate(times)]
    async with opened(database) as sink:
        assert await sink.write(records) == len(times)
    assert await kept(database) == records
    tables = "select relname from pg_class where relkind = 'r' and relname like 'inference_%' order by 1"
    names = ["1970_01", "1970_02", "9998_12", "after_9998", "before_1970"]
    assert [name for (name,) in asked(database, tables)] == [f"inference_{name}" for name in names]


async def test_a_month_is_made_while_somebody_reads_the_others(database):
    async with opened(database) as sink:
        await sink.write([make_record(number) for number in range(500)])
        scan = PostgresReader(Address.from_url(database)).scan(Filter())
        await anext(scan)
        assert await sink.write([make_record(1, time_us=make_record().time_us + 5 * MONTH_US)]) == 1
        await scan.aclose()
