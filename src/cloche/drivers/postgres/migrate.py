"""Runs the migrations of the log. Imported only where a database is behind."""

from __future__ import annotations

import threading

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from cloche.drivers.postgres.address import Address, translated

MIGRATIONS = "cloche.drivers.postgres:migrations"

_one_thread = threading.Lock()
"""Alembic holds what it is at work on in its modules."""


def upgrade(address: Address, key: int, migrations: str = MIGRATIONS) -> None:
    """Bring a database to the newest revision, or leave it as it was.

    Args:
        address: the database.
        key: of the advisory lock that is held meanwhile.
        migrations: where they lie, as Alembic takes it.

    Raises:
        SinkUnavailable: it can't be done now.
    """
    config = Config()
    config.set_main_option("script_location", migrations)
    config.set_main_option("path_separator", "os")
    engine = create_engine("postgresql+psycopg://", poolclass=NullPool, creator=lambda: _connect(address))
    with _one_thread, translated(address):
        try:
            with engine.connect() as connection:
                config.attributes.update(connection=connection, key=key)
                command.upgrade(config, "head")
        except DBAPIError as error:
            raise error.orig or error from None


def _connect(address: Address) -> psycopg.Connection:
    return psycopg.connect(address.conninfo, prepare_threshold=None)
