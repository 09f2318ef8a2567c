"""What a model can do to the machine around it: workers that try."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloche.errors import DoesNotLoad
from cloche.runtimes.confinement import Confinement
from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.logfile import tail
from cloche.values import NO_INFERENCE, CallContext

from .conftest import MakeBundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is kept from models is Linux's")

CLOSED = Confinement(network=False, writable=())

Start = Callable[..., WorkerProcess]


@pytest.fixture
def start(make_bundle: MakeBundle) -> Iterator[Start]:
    """Start a worker whose model answers what the source of a function `tried` returns."""
    started: list[WorkerProcess] = []

    def begin(source: str, confinement: Confinement = CLOSED, top: str = "") -> WorkerProcess:
        code = f"import os, socket, tempfile\n{top}\ndef tried():\n    {source}\n"
        code += "class M:\n    def predict_one(self, row):\n        return tried()\n"
        worker = WorkerProcess.start(make_bundle(code), confinement=confinement)
        started.append(worker)
        worker.wait_loaded(60)
        return worker

    yield begin
    for worker in started:
        worker.stop(1)


def answer(worker: WorkerProcess) -> object:
    found = worker.predict(b"[{}]", 1, False, CallContext(id=NO_INFERENCE, now_us=0))
    return json.loads(found.outputs)[0]


ATTEMPT = """
def attempt(act):
    try:
        eval(act)
    except OSError as error:
        return str(error)
    return "done"
"""


def raised(kind: str, source: str) -> str:
    """Source that returns what a failure says, or `done`."""
    return f"try:\n        {source}\n    except {kind} as error:\n        return str(error)\n    return 'done'"


def test_a_model_writes_to_its_own_folder_and_nowhere_else(start: Start, tmp_path: Path) -> None:
    own = "with tempfile.TemporaryFile() as file:\n        return file.write(b'four')"
    assert answer(start(own)) == 4
    place = tmp_path / "elsewhere"
    assert "Permission denied" in str(answer(start(raised("OSError", f"open({str(place)!r}, 'w')"))))
    assert not place.exists()


def test_files_of_others_can_neither_be_changed_nor_removed_nor_replaced(start: Start, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("as it was")
    acts = ("open({0!r}, 'w')", "os.truncate({0!r}, 0)", "os.remove({0!r})", "os.rename({0!r}, {0!r} + '2')")
    asked = [act.format(str(theirs)) for act in acts]
    found = answer(start(f"return [attempt(act) for act in {asked!r}]", top=ATTEMPT))
    assert isinstance(found, list)
    assert ["Permission denied" in said for said in found] == [True] * len(acts)
    assert theirs.read_text() == "as it was"


def test_what_it_starts_is_held_to_the_same(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    shell = f"return __import__('subprocess').run(['sh', '-c', 'echo x > {place}'], stderr=-3).returncode"
    assert answer(start(shell)) != 0
    assert not place.exists()


def test_folders_may_be_opened_to_it(start: Start, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    act = f"return open({str(shared / 'kept')!r}, 'w').write('four')"
    assert answer(start(act, Confinement(network=False, writable=(str(shared),)))) == 4
    assert answer(start(act, Confinement(writable=("/",)))) == 4


def test_its_folder_goes_with_it(start: Start) -> None:
    worker = start("return tempfile.gettempdir()")
    folder = Path(str(answer(worker)))
    assert folder.is_dir()
    worker.stop(5)
    assert not folder.exists()


def test_its_folder_goes_when_it_is_killed(make_bundle: MakeBundle) -> None:
    code = "import tempfile\nclass M:\n    def predict_one(self, row):\n        return tempfile.mkstemp()[1]\n"
    with WorkerProcess.start(make_bundle(code), confinement=CLOSED) as worker:
        worker.wait_loaded(60)
        folder = Path(str(answer(worker))).parent
        os.kill(worker.pid, 9)
    assert not folder.exists()


def test_the_usual_ways_of_working_in_parallel_still_work(start: Start) -> None:
    pool = "with __import__('multiprocessing').get_context('fork').Pool(2) as pool:\n        return pool.map(abs, [-1])"
    assert answer(start(pool)) == [1]


NETWORK = {
    "tcp": "socket.create_connection(('127.0.0.1', 9))",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "ipv6": "socket.socket(socket.AF_INET6)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "name": "socket.getaddrinfo('cloche.example', 80)",
    "http": "__import__('urllib.request').request.urlopen('http://127.0.0.1:9')",
}


def test_the_network_is_refused_with_the_reason(start: Start) -> None:
    found = answer(start(f"return {{name: attempt(act) for name, act in {NETWORK!r}.items()}}", top=ATTEMPT))
    assert isinstance(found, dict)
    assert found.keys() == NETWORK.keys()
    for said in found.values():
        assert 'models have no network here: workers.network is "deny"' in said


def test_code_outside_of_python_has_no_network_either(start: Start) -> None:
    """Nor by the ways around: another family, and the ring that makes sockets without the call."""
    top = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)"
    act = "return [libc.socket(family, 1, 0) for family in (2, 10, 40)] + [libc.syscall(425, 8, 0), ctypes.get_errno()]"
    assert answer(start(act, top=top)) == [-1, -1, -1, -1, errno.ENOSYS]


def test_local_sockets_and_an_open_network_work(start: Start) -> None:
    assert answer(start("return len(socket.socketpair())")) == 2
    open_ = Confinement(network=True, writable=())
    assert answer(start("return socket.create_server(('127.0.0.1', 0)).fileno() > 0", open_)) is True


def test_other_processes_are_out_of_reach(start: Start) -> None:
    parent = os.getpid()
    acts = [f"os.kill({parent}, 0)", f"open('/proc/{parent}/environ', 'rb').read()"]
    found = answer(start(f"return [attempt(act) for act in {acts!r}]", top=ATTEMPT))
    assert found == ["[Errno 1] Operation not permitted", f"[Errno 13] Permission denied: '/proc/{parent}/environ'"]


@pytest.mark.parametrize("confinement", [CLOSED, Confinement(network=True, writable=("/",))], ids=["closed", "open"])
def test_no_other_process_can_be_given_a_limit_that_ends_it(start: Start, confinement: Confinement) -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU)
    own = "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    acts = [f"resource.prlimit({os.getpid()}, resource.RLIMIT_CPU, (99_999, 99_999))", own]
    source = f"return [attempt(act) for act in {acts!r}]"
    assert answer(start(source, confinement, f"import resource{ATTEMPT}")) == [
        "[Errno 1] Operation not permitted",
        "done",
    ]
    assert resource.getrlimit(resource.RLIMIT_CPU) == before


def test_what_it_has_started_ends_with_it(start: Start) -> None:
    """Also where the model leaves it to itself, and the worker ends of its own accord."""
    worker = start("return __import__('subprocess').Popen(['sleep', '600']).pid")
    child = int(str(answer(worker)))
    watched = os.pidfd_open(child)
    worker.stop(5)
    assert select.select([watched], [], [], 5)[0], "it goes on"
    os.close(watched)


def test_a_model_that_can_not_load_so_says_why(make_bundle: MakeBundle, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'x')!r}, 'w')\nclass M:\n    pass\n"
    said = pytest.raises(DoesNotLoad, match=r"Permission denied: .*\n.*tempfile.gettempdir.*workers.writable")
    with WorkerProcess.start(make_bundle(code), confinement=CLOSED) as worker, said:
        worker.wait_loaded(60)


def test_it_can_not_be_undone(start: Start, tmp_path: Path) -> None:
    """A model that does what the worker did, with more allowed, is held to both."""
    again = "from cloche.runtimes.worker.confinement import confine\nconfine({'network': True, 'writable': ['/']})"
    place = tmp_path / "elsewhere"
    assert "denied" in str(answer(start(raised("OSError", f"open({str(place)!r}, 'w')"), top=again)))
    assert "no network" in str(answer(start(raised("OSError", "socket.socket()"), top=again)))


def test_nothing_is_left_of_workers_in_the_temporary_folder(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "tmp"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    worker = start("return 1")
    assert len(list(own.iterdir())) == 2
    worker.stop(5)
    assert list(own.iterdir()) == []


PLANT = """
import os
def refused(act):
    try:
        act()
    except OSError:
        return True
    return False
def plant(theirs, log):
    os.remove(log)
    found = [refused(lambda: open(theirs, "a")), refused(lambda: os.link(theirs, log))]
    os.symlink(theirs, log)
    os.mkfifo(log + ".1")
    return found
"""


def test_a_link_in_the_place_of_its_log_does_not_lead_what_the_next_worker_says_there(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    theirs, log = tmp_path / "profile", tmp_path / "logs" / "toy-1.0.0" / "output.log"
    theirs.write_text("# mine")
    code = f"{PLANT}\nprint('evil', flush=True)\nclass M:\n    def predict_one(self, row):\n"
    bundle = make_bundle(f"{code}        return plant({str(theirs)!r}, {str(log)!r})\n")
    with WorkerProcess.start(bundle, log=log, confinement=CLOSED) as worker:
        worker.wait_loaded(60)
        found = answer(worker)
    if found != [True, True]:
        pytest.skip("this kernel keeps no model from writing")
    assert log.is_symlink(), "it may do in its own folder what it likes"
    with WorkerProcess.start(bundle, log=log, confinement=CLOSED) as worker:
        worker.wait_loaded(60)
    assert theirs.read_text() == "# mine"
    assert "evil" in tail(log, 100)
