"""The seals of the log."""

from __future__ import annotations

from alembic import op

revision = "1.1"
down_revision = "1.0"

_SEAL = """
create table cloche.seal (
    spool text not null,
    start bigint not null,
    "end" bigint not null,
    since_us bigint not null,
    until_us bigint not null,
    previous bytea not null,
    ids bytea not null,
    links bytea not null,
    format integer not null,
    primary key (spool, start)
)
"""
_STORAGE = "alter table cloche.seal alter ids set storage external, alter links set storage external"
"""Random bytes: to compress them is in vain."""
_INDEX = "create index seal_since on cloche.seal (since_us, start)"
_UNSEALED = """
insert into cloche.seal (spool, start, "end", since_us, until_us, previous, ids, links, format)
select '', 0, 0, min(time_us), max(time_us), '', '', '', 1 from cloche.inference having count(*) > 0
"""
"""What was there before there were seals."""


def upgrade() -> None:
    """Make their table."""
    for statement in (_SEAL, _STORAGE, _INDEX, _UNSEALED):
        op.execute(statement)
