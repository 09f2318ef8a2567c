"""Who keeps the promises of `cloche.ports`: one technology, one file.

The table says, for each URL scheme, which class keeps the promise and what to install for it. A driver is imported
when a URL first asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from cloche.errors import InvalidSetting, MissingExtra
from cloche.secrets import without_secrets
from cloche.upkeep.leading import AlwaysLeading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloche.ports import (
        Dumping,
        ErasingFile,
        IdempotencyStore,
        LogReader,
        ObjectStore,
        Signing,
        Sink,
        TableFile,
    )
    from cloche.upkeep.ports import Leadership


@dataclass(frozen=True)
class Driver:
    """A class that keeps a promise: where it is, and what it needs."""

    module: str
    name: str
    needs: str | None = None
    """The import that may be missing."""
    requirement: str = ""
    """What to give to `pip install` then."""
    parts: tuple[str, ...] = ()
    """Imports that come with it, where they may be missing, too."""

    def check(self, what: str) -> None:
        """See whether what it needs is installed, without importing it.

        Raises:
            MissingExtra: it is not.
        """
        if self.needs is not None and find_spec(self.needs) is None:
            raise MissingExtra(what=what, module=self.needs, requirement=self.requirement)

    def load(self, what: str) -> type:
        """Import the class.

        Raises:
            MissingExtra: what it needs is not installed.
        """
        try:
            found: type = getattr(import_module(self.module), self.name)
        except ModuleNotFoundError as error:
            if self.needs is None or error.name not in (self.needs, *self.parts):
                raise
            raise MissingExtra(what=what, module=error.name, requirement=self.requirement) from None
        return found


_FOLDER = Driver("cloche.drivers.folder", "FolderObjects")
_OBSTORE = Driver("cloche.drivers.objects", "ObstoreObjects", needs="obstore", requirement="obstore")

OBJECT_STORES: Mapping[str, Driver] = {
    "file": _FOLDER,
    "memory": _OBSTORE,
    "s3": _OBSTORE,
    "gs": _OBSTORE,
    "az": _OBSTORE,
}


def open_objects(url: str) -> ObjectStore:
    """Return the object store at `url`: `file:///folder`, `s3://bucket/prefix`, `memory:///`, …

    Raises:
        InvalidSetting: no driver is known for the URL, or it can't be used.
        MissingExtra: what the driver needs is not installed.
    """
    scheme = urlsplit(url).scheme
    driver = OBJECT_STORES.get(scheme)
    if driver is None:
        known = ", ".join(f"{name}://" for name in OBJECT_STORES)
        raise InvalidSetting(name="registry", source="its URL", reason=f"{scheme or url!r} is not one of {known}")
    return cast("ObjectStore", driver.load(f"{scheme}://").from_url(url))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SinkDrivers:
    """Who writes to the sinks of a scheme, and who reads them: a stream is read by others."""

    writer: Driver
    reader: Driver | None = None
    leadership: Driver | None = None
    """Who leads where several keepers write there; without it, one alone can."""
    dumping: Driver | None = None
    """Who copies it for backups, where it is in a database server."""


_SQLITE = SinkDrivers(
    Driver("cloche.drivers.sqlite", "SqliteSink"),
    Driver("cloche.drivers.sqlite", "SqliteReader"),
)
_POSTGRES_NEEDS = {"needs": "psycopg", "requirement": "cloche[postgres]"}
_POSTGRES = SinkDrivers(
    Driver("cloche.drivers.postgres", "PostgresSink", **_POSTGRES_NEEDS, parts=("alembic", "sqlalchemy")),
    Driver("cloche.drivers.postgres", "PostgresReader", **_POSTGRES_NEEDS, parts=("alembic", "sqlalchemy")),
    Driver("cloche.drivers.postgres", "PostgresLeadership", **_POSTGRES_NEEDS, parts=("alembic", "sqlalchemy")),
    Driver("cloche.drivers.postgres", "PostgresDumping", **_POSTGRES_NEEDS, parts=("alembic", "sqlalchemy")),
)
_REDIS = SinkDrivers(Driver("cloche.drivers.redis", "RedisSink", needs="redis", requirement="cloche[redis]"))
_PARQUET = SinkDrivers(
    Driver("cloche.drivers.parquet", "ParquetSink", needs="pyarrow", requirement="cloche[parquet]"),
    Driver("cloche.drivers.parquet", "ParquetReader", needs="pyarrow", requirement="cloche[parquet]"),
    Driver("cloche.drivers.parquet", "ParquetLeadership", needs="pyarrow", requirement="cloche[parquet]"),
)
_HTTP = SinkDrivers(Driver("cloche.drivers.http", "HttpSink", needs="urllib3", requirement="cloche[http]"))

SINKS: Mapping[str, SinkDrivers] = {
    "sqlite": _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    **{f"parquet+{scheme}": _PARQUET for scheme in ("file", "s3", "gs", "az")},
    "redis": _REDIS,
    "rediss": _REDIS,
    "http": _HTTP,
    "https": _HTTP,
}


def check_sinks(addresses: Sequence[str]) -> None:
    """See whether there is a driver for each sink, and whether the first can be the log.

    Raises:
        InvalidSetting: there is none, or nobody can read the first.
        MissingExtra: what a driver needs is not installed.
    """
    for address in addresses:
        drivers_of(address).writer.check(_kind(address))
    drivers = drivers_of(addresses[0])
    if drivers.reader is None:
        reason = (
            f"{without_secrets(addresses[0])} is a stream: it hands records on, and nobody can ask it for one again. "
            "Name a log before it, such as sqlite"
        )
        raise InvalidSetting(name="log.sinks", source="the settings", reason=reason)


def open_sink(address: str, folder: Path) -> Sink:
    """Return what writes to a sink: `sqlite`, `postgresql://…`, `redis://…`, `https://…`.

    Args:
        address: the sink's URL.
        folder: where a driver may keep files of this host.

    Raises:
        InvalidSetting: no driver is known for it, or it can't be used.
        MissingExtra: what the driver needs is not installed.
        LogInUse: another process writes there, where only one may.
    """
    writer = drivers_of(address).writer.load(_kind(address))
    return cast("Sink", writer.from_url(address, folder))  # type: ignore[attr-defined]


def open_reader(address: str, folder: Path, timeout_ms: int | None = None) -> LogReader:
    """Return what reads a log. See `open_sink`.

    Args:
        address: the URL of the sink.
        folder: where a driver may keep files of this host.
        timeout_ms: after which a query ends; None for never.

    Raises:
        InvalidSetting: no driver is known for it, or it is a stream.
        MissingExtra: what the driver needs is not installed.
    """
    check_sinks([address])
    reader = drivers_of(address).reader
    assert reader is not None
    return cast("LogReader", reader.load(_kind(address)).from_url(address, folder, timeout_ms))  # type: ignore[attr-defined]


def open_leadership(address: str, name: str) -> Leadership:
    """Return what says which of the keepers that share a log leads.

    Args:
        address: the URL of the log.
        name: of this keeper, the same after it was started again.

    Raises:
        InvalidSetting: no driver is known for it, or it can't be used.
        MissingExtra: what the driver needs is not installed.
    """
    driver = drivers_of(address).leadership
    if driver is None:
        return AlwaysLeading()
    return cast("Leadership", driver.load(_kind(address)).from_url(address, name))  # type: ignore[attr-defined]


def open_dumping(address: str) -> Dumping | None:
    """Return what copies a log that is in a database server; None for any other.

    Args:
        address: the URL of the log.

    Raises:
        InvalidSetting: no driver is known for it, or it can't be used.
        MissingExtra: what the driver needs is not installed.
    """
    driver = drivers_of(address).dumping
    return None if driver is None else cast("Dumping", driver.load(_kind(address)).from_url(address))  # type: ignore[attr-defined]


def drivers_of(address: str) -> SinkDrivers:
    """Return who writes to a sink and reads it.

    Raises:
        InvalidSetting: nobody is known.
    """
    scheme, separator, _ = address.partition("://")
    drivers = SINKS.get(scheme)
    if drivers is None or bool(separator) == (drivers is _SQLITE):
        known = ", ".join(kind if kind == "sqlite" else f"{kind}://…" for kind in SINKS)
        reason = f"{without_secrets(address)!r} is not one of {known}"
        raise InvalidSetting(name="log.sinks", source="the settings", reason=reason)
    return drivers


def _kind(address: str) -> str:
    """Return what kind of sink it is, for messages."""
    scheme, separator, _ = address.partition("://")
    return scheme + separator


_POSTGRES_KEYS = Driver("cloche.drivers.postgres", "PostgresKeys", **_POSTGRES_NEEDS, parts=("alembic", "sqlalchemy"))
_REDIS_KEYS = Driver("cloche.drivers.redis_keys", "RedisKeys", needs="redis", requirement="cloche[redis]")

IDEMPOTENCY: Mapping[str, Driver] = {
    "file": Driver("cloche.drivers.sqlite_keys", "SqliteKeys"),
    "postgresql": _POSTGRES_KEYS,
    "postgres": _POSTGRES_KEYS,
    "redis": _REDIS_KEYS,
    "rediss": _REDIS_KEYS,
}


def open_idempotency(url: str) -> IdempotencyStore:
    """Return what keeps idempotency keys at `url`. Nothing is made there before a key comes.

    Raises:
        InvalidSetting: no driver is known for the URL.
        MissingExtra: what the driver needs is not installed.
    """
    return cast("IdempotencyStore", _keys_of(url).load(_kind(url)).from_url(url))  # type: ignore[attr-defined]


def check_idempotency(url: str) -> None:
    """See whether there is a driver for the place of idempotency keys. Raises what `open_idempotency` raises."""
    _keys_of(url).check(_kind(url))


def _keys_of(url: str) -> Driver:
    driver = IDEMPOTENCY.get(_kind(url).removesuffix("://"))
    if driver is None:
        known = ", ".join(f"{name}://…" for name in IDEMPOTENCY)
        reason = f"{without_secrets(url)!r} is not one of {known}"
        raise InvalidSetting(name="idempotency", source="the settings", reason=reason)
    return driver


_SIGNING = Driver(
    "cloche.drivers.openssf",
    "OpenssfSigning",
    needs="model_signing",
    requirement="cloche[signing]",
    parts=("cryptography", "certifi", "OpenSSL", "sigstore"),
)


def open_signing(folder: Path) -> Signing:
    """Return what makes and checks signatures.

    Args:
        folder: what the files of signers are relative to.

    Raises:
        MissingExtra: the library is not installed.
    """
    return cast("Signing", _SIGNING.load("A signature")(folder))


TABLE_FILES: Mapping[str, Driver] = {
    ".jsonl": Driver("cloche.log.lines", "JsonLinesFile"),
    ".csv": Driver("cloche.log.lines", "CsvFile"),
    ".parquet": Driver("cloche.drivers.parquet", "ParquetFile", needs="pyarrow", requirement="cloche[parquet]"),
}
"""By how the name of a file ends."""


def erasing_file(suffix: str) -> ErasingFile:
    """Return what takes inferences out of a file of one of these kinds.

    Raises:
        MissingExtra: what the driver needs is not installed.
    """
    return cast("ErasingFile", TABLE_FILES[suffix].load(f"Writing {suffix}"))


def table_file(suffix: str) -> Callable[[Path], TableFile]:
    """Return what opens, in a folder, a file in the making of one of these kinds.

    Raises:
        MissingExtra: what the driver needs is not installed.
    """
    return cast("Callable[[Path], TableFile]", TABLE_FILES[suffix].load(f"Writing {suffix}"))
