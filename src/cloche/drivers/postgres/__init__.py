"""The inference log in PostgreSQL, through psycopg: one table by month for envelopes, one for personal parts.

Everything that a connection is told holds for one transaction, as poolers want it.
"""

from __future__ import annotations

from cloche.drivers.postgres.dumping import PostgresDumping
from cloche.drivers.postgres.keys import PostgresKeys
from cloche.drivers.postgres.leading import PostgresLeadership
from cloche.drivers.postgres.reader import PostgresReader
from cloche.drivers.postgres.sink import PostgresSink

__all__ = ["PostgresDumping", "PostgresKeys", "PostgresLeadership", "PostgresReader", "PostgresSink"]
