"""The tables of the log, by month, and how far each spool has been shipped."""

from __future__ import annotations

from alembic import op

revision = "1.0"
down_revision = None

_INFERENCE = """
create table cloche.inference (
    id uuid not null,
    time_us bigint not null,
    format integer not null,
    model text not null,
    version text not null,
    digest text not null,
    release bigint not null,
    variant text,
    reason text not null,
    caller text not null,
    kind text not null,
    outcome text not null,
    fallback text,
    answered_by text,
    rows integer not null,
    timings_us bigint[] not null, -- in the order of cloche.values.Timings
    personal_digest bytea not null,
    many boolean not null,
    failed boolean not null, -- whether the model's traceback is in the personal part
    release_digest text,
    labels json,
    exposure json, -- an array in the order of cloche.values.Exposure
    shadows uuid,
    hurried boolean not null,
    primary key (id, time_us)
) partition by range (time_us)
"""
_PERSONAL = """
create table cloche.personal (
    id uuid not null,
    time_us bigint not null,
    subject text,
    data bytea not null, -- MessagePack of cloche.values.Personal
    primary key (id, time_us)
) partition by range (time_us)
"""
_POSITION = """
create table cloche.position (
    spool text primary key,
    segment bigint not null,
    "offset" bigint not null
)
"""
_INDEXES = (
    "create index inference_time on cloche.inference (time_us, id)",
    "create index inference_model_time on cloche.inference (model, time_us, id)",
    "create index inference_failed on cloche.inference (time_us, id) where failed",
    "create index inference_shadows on cloche.inference (shadows) where shadows is not null",
    "create index personal_subject on cloche.personal (subject, time_us, id) where subject is not null",
)


def upgrade() -> None:
    """Make them."""
    for statement in (_INFERENCE, _PERSONAL, _POSITION, *_INDEXES):
        op.execute(statement)
