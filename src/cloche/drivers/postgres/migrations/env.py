"""Alembic runs this: it brings the database of a connection to the revision that was asked for."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

_ALONE = text("select set_config('lock_timeout', '5s', true), pg_advisory_xact_lock(:key)")
_HAS_SCHEMA = text("select to_regnamespace('cloche') is not null")


def _run(connection: Connection, key: int) -> None:
    """Migrate in one transaction, while nobody else does."""
    context.configure(connection=connection, version_table_schema="cloche")
    with context.begin_transaction():
        connection.execute(_ALONE, {"key": key})
        if not connection.execute(_HAS_SCHEMA).scalar_one():
            connection.execute(text("create schema cloche"))
        context.run_migrations()


_run(context.config.attributes["connection"], context.config.attributes["key"])
