"""Folders of trials: gone with their publisher, however it ended, and never another's."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from cloche.authoring.scratch import scratch_folder

PUBLISHER = """
import sys
from cloche.authoring.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "bundle").mkdir()
    (folder / "bundle" / "model.pkl").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start():
    publisher = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return publisher, publisher.stdout.readline().strip()


def test_what_a_killed_publisher_left_goes_with_the_next(temporary):
    publisher, left = start()
    publisher.kill()
    publisher.communicate()
    assert os.path.exists(left)
    with scratch_folder() as folder:
        assert not os.path.exists(left)
        assert [path.name for path in temporary.iterdir()] == [folder.name]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_what_a_living_publisher_uses_stays(temporary):
    publisher, used = start()
    with scratch_folder(), scratch_folder():
        assert len(list(temporary.iterdir())) == 3
    assert os.path.exists(os.path.join(used, "bundle", "model.pkl"))
    publisher.send_signal(signal.SIGSTOP)
    with scratch_folder():
        assert os.path.exists(used)
    publisher.send_signal(signal.SIGCONT)
    publisher.communicate()
    assert list(temporary.iterdir()) == []


MANY = """
from cloche.authoring.scratch import scratch_folder
for _ in range(100):
    with scratch_folder() as folder:
        (folder / "model.pkl").write_bytes(b"x")
        assert (folder / "lock").exists()
"""


def test_publishers_that_begin_together_do_not_take_each_others_folders(temporary):
    publishers = [subprocess.Popen([sys.executable, "-c", MANY], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [publisher.communicate()[1] for publisher in publishers] == [""] * 4
    assert list(temporary.iterdir()) == []


def test_a_folder_whose_publisher_died_before_it_had_a_lock_goes_too(temporary):
    (temporary / "cloche-trial-empty").mkdir()
    (temporary / "cloche-trial-unlocked").mkdir()
    (temporary / "cloche-trial-unlocked" / "lock").touch()
    with scratch_folder() as folder:
        assert [path.name for path in temporary.iterdir()] == [folder.name]


def test_what_is_no_folder_of_this_user_stays(temporary):
    target = temporary / "target"
    target.mkdir()
    (target / "lock").write_bytes(b"")
    (temporary / "cloche-trial-link").symlink_to(target)
    (temporary / "cloche-trial-file").write_bytes(b"")
    others = temporary / "cloche-trial-others"
    others.mkdir()
    (others / "lock").write_bytes(b"")
    kept = ["cloche-trial-file", "cloche-trial-link", "target"]
    if os.getuid() == 0:
        os.chown(others, 65534, 65534)
        kept.append(others.name)
    with scratch_folder():
        pass
    assert sorted(path.name for path in temporary.iterdir()) == sorted(kept)
    assert (target / "lock").exists()
