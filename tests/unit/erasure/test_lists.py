"""A list has every line that was added, whatever befell the one before."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloche.erasure.backups import Backups
from cloche.erasure.exports import Exports


@contextmanager
def full_after(size):
    """Let no file of this process become longer, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_the_power_cut_short_hides_no_other(tmp_path):
    list_of_exports = tmp_path / "exports.jsonl"
    exports = Exports(list_of_exports, None)
    exports.note(Path("/srv/one.csv"))
    with list_of_exports.open("ab") as file:
        file.write(b'{"path":"/srv/tw')
    assert exports._paths() == [Path("/srv/one.csv")]
    exports.note(Path("/srv/three.csv"))
    assert exports._paths() == [Path("/srv/one.csv"), Path("/srv/three.csv")]


def test_a_line_that_a_full_disk_does_not_take_whole_is_not_there(tmp_path):
    backups = Backups(tmp_path / "backups.jsonl", None, None)
    backups.note("s3://one")
    before = (tmp_path / "backups.jsonl").read_bytes()
    with full_after(len(before) + 10), pytest.raises(OSError, match="No space left"):
        backups.note("s3://two")
    assert (tmp_path / "backups.jsonl").read_bytes() == before
    backups.note("s3://three")
    assert backups.urls() == ["s3://one", "s3://three"]


def test_a_name_that_no_list_can_keep_is_refused_as_what_the_disk_does_not_take(tmp_path):
    exports = Exports(tmp_path / "exports.jsonl", None)
    with pytest.raises(OSError, match="no UTF-8"):
        exports.note(Path("/srv/\udcff.csv"))
    assert exports._paths() == []
