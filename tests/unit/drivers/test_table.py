"""The table of drivers: which address finds which, and what is said where none does."""

from __future__ import annotations

import sys

import pytest

from cloche.drivers import SINKS, check_sinks, open_reader, open_sink
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.errors import InvalidSetting, MissingExtra


async def test_sqlite_is_the_file_of_the_home(tmp_path):
    sink = open_sink("sqlite", tmp_path)
    assert isinstance(sink, SqliteSink)
    assert isinstance(open_reader("sqlite", tmp_path), SqliteReader)
    assert (tmp_path / "inferences.db").exists()
    await sink.close()


@pytest.mark.parametrize("address", ["mysql://ann:rosebud@db/log", "sqlite:///somewhere", "", "postgresql", "ftp:x"])
def test_an_address_that_nobody_knows_is_refused_with_those_that_are(tmp_path, address):
    for ask in (lambda: check_sinks([address]), lambda: open_sink(address, tmp_path)):
        with pytest.raises(InvalidSetting, match="postgresql://…") as refused:
            ask()
        assert "rosebud" not in str(refused.value)


@pytest.mark.parametrize("address", [f"{scheme}://there/0" for scheme, drivers in SINKS.items() if not drivers.reader])
def test_a_stream_is_no_log(tmp_path, address):
    check_sinks(["sqlite", address])
    with pytest.raises(InvalidSetting, match=r"is a stream.*Name a log before it"):
        check_sinks([address])
    with pytest.raises(InvalidSetting, match="is a stream"):
        open_reader(address, tmp_path)


class Missing:
    """Finds nothing of one package, as where it is not installed."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


@pytest.mark.parametrize(
    ("address", "module", "extra"), [("redis://there/0", "redis", "redis"), ("https://there", "urllib3", "http")]
)
def test_what_is_not_installed_is_said_with_the_command_to_install_it(tmp_path, monkeypatch, address, module, extra):
    for name in [*sys.modules]:
        if name.partition(".")[0] == module or name == f"cloche.drivers.{extra}":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(module), *sys.meta_path])
    monkeypatch.setattr("cloche.drivers.find_spec", lambda name: None)
    for ask in (lambda: check_sinks(["sqlite", address]), lambda: open_sink(address, tmp_path)):
        with pytest.raises(MissingExtra, match=rf"cloche\[{extra}\]"):
            ask()
