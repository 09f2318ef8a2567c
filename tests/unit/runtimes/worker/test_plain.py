"""What a model may put in the place of a file is not opened, and nobody waits for it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloche.runtimes.worker.plain import NotPlain, open_plain

READING = os.O_RDONLY
ADDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def link_to_a_file(path: Path) -> None:
    aside = path.with_name("aside")
    aside.write_text("theirs")
    path.symlink_to(aside)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ELSE: dict[str, Callable[[Path], None]] = {
    "link": link_to_a_file,
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "socket": socket_at,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The present folder: the address of a socket is short."""
    monkeypatch.chdir(tmp_path)
    return Path()


@pytest.mark.parametrize("flags", [READING, ADDING], ids=["reading", "adding"])
@pytest.mark.parametrize("put", ELSE.values(), ids=ELSE)
def test_what_is_no_file_is_not_opened(put: Callable[[Path], None], flags: int, here: Path) -> None:
    put(here / "file")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(NotPlain, match="it is no file: 'file'"):
        open_plain(here / "file", flags)
    assert len(os.listdir("/dev/fd")) == before
    assert not (here / "nothing").exists()


def test_a_fifo_that_somebody_reads_is_no_file_either(here: Path) -> None:
    os.mkfifo(here / "file")
    reader = os.open(here / "file", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(NotPlain):
        open_plain(here / "file", ADDING)
    os.close(reader)


def test_a_file_is_opened_and_made_for_its_owner_alone(here: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_plain(here / "file", READING)
    for _ in range(2):
        opened = open_plain(here / "file", ADDING)
        os.write(opened, b"ours")
        assert not os.get_inheritable(opened)
        os.close(opened)
    assert (here / "file").read_bytes() == b"oursours"
    assert stat.S_IMODE((here / "file").stat().st_mode) == 0o600
