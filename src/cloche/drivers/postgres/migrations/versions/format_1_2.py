"""Rollups beside the log, and notes of which are due, whoever writes."""

from __future__ import annotations

from alembic import op

revision = "1.2"
down_revision = "1.1"

_ROLLUP = """
create table cloche.rollup (
    model text not null,
    grain text not null,
    start_us bigint not null,
    data bytea not null, -- MessagePack of cloche.insight.rollups
    primary key (model, grain, start_us)
)
"""
_DUE = """
create table cloche.rollup_due (
    id bigint generated always as identity primary key,
    grain text not null,
    start_us bigint not null
)
"""
_INDEX = "create index rollup_start on cloche.rollup (grain, start_us)"
_NOTE = """
create function cloche.note_due() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    insert into cloche.rollup_due (grain, start_us)
    select distinct 'minute', cast(floor(time_us / 60000000.0) as bigint) * 60000000 from written;
    return null;
end
$$
"""
_NOTING = """
create trigger note_due after insert on cloche.inference referencing new table as written
for each statement execute function cloche.note_due()
"""
"""A trigger, since processes that know nothing of rollups may write the same database for a while."""

_PAST = """
insert into cloche.rollup_due (grain, start_us)
select 'past', (max(time_us) / 60000000 + 1) * 60000000 from cloche.inference having max(time_us) is not null
"""


def upgrade() -> None:
    """Make the tables, and note that all of the past is to be counted."""
    for statement in (_ROLLUP, _DUE, _INDEX, _NOTE, _NOTING, _PAST):
        op.execute(statement)
