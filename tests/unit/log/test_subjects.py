"""A log that names people by HMAC is asked by their plain names."""

from __future__ import annotations

import pytest

from cloche.assembly.log import open_log
from cloche.drivers.sqlite import SqliteSink
from cloche.errors import InvalidSetting
from cloche.home import Home
from cloche.log.columns import pack_text
from cloche.log.subjects import Subjects
from cloche.ports import Filter
from cloche.settings import load_settings
from cloche.testing import make_record
from cloche.values import Personal

SETTINGS = '[log]\nsubject = "hmac"\nsubject_key = "file:{}"\n'


@pytest.fixture
async def home(tmp_path):
    """A home whose log has Ann by HMAC."""
    made = Home(tmp_path / ".cloche")
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / "cloche.toml").write_text(SETTINGS.format(tmp_path / "key"))
    sink = SqliteSink(made.log)
    ann = Subjects(b"secret").recorded("ann")
    await sink.write([make_record(1, Personal(ann, pack_text(b"[1]"))), make_record(2)])
    await sink.close()
    return made


async def test_the_plain_name_finds_what_the_code_stands_for(home):
    log = open_log(home)
    (found,) = await log.find(Filter(subject="ann"), 10)
    assert [record async for record in log.scan(Filter(subject="ann"))] == [found]
    assert await log.get(found.id) == found
    assert (await log.count(Filter(subject="ann")), await log.count(Filter())) == (1, 2)
    assert (await log.positions(), list(await log.faults())) == ({}, [])


async def test_without_the_key_the_log_is_read_and_nobody_is_found(home, tmp_path):
    (tmp_path / "key").unlink()
    log = open_log(home)
    assert await log.count(Filter()) == 2
    with pytest.raises(InvalidSetting, match=r"log\.subject_key"):
        await log.find(Filter(subject="ann"), 10)


def test_a_key_is_needed_and_is_never_written_into_the_file(tmp_path):
    file = tmp_path / "cloche.toml"
    for text, said in (
        ('[log]\nsubject = "hmac"\n', "subject_key"),
        ('[log]\nsubject_key = "secret"\n', "env:NAME or file:PATH"),
        ('[log]\nsubject = "rot13"\n', "subject"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidSetting, match=said):
            load_settings(file, {})
