from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from cloche.errors import DeadlineExceeded, DoesNotLoad, InvalidOutput, ModelFailed
from cloche.runtimes.confinement import Scratch
from cloche.runtimes.process import WorkerProcess, worker_environ
from cloche.runtimes.worker.wire import PROTOCOL, Channel
from cloche.values import CallContext, Prediction

CONTEXT = CallContext(id="c1", now_us=1_700_000_000_000_000, subject="ann", parameters={"currency": "EUR"})


def predicting(call: int) -> dict[str, Any]:
    """Return the header of a message with one call of one row."""
    return {"op": "predict", "calls": [{"call": call, "rows": 1, "many": False}]}


def ask(worker: WorkerProcess, *rows: dict[str, Any], many: bool = True, timeout_s: float = 30.0) -> Prediction:
    return worker.predict(json.dumps(rows).encode(), len(rows), many, CONTEXT, timeout_s)


DOUBLE = """
    from cloche import Model, Refusal
    class M(Model):
        def load(self, bundle):
            self.factor = int(bundle.text("factor.txt"))
        def predict(self, rows):
            print("asked", len(rows))
            odd = Refusal("odd", "no odd ones", path="/x")
            return [odd if row["x"] % 2 else row["x"] * self.factor for row in rows]
"""


def test_a_model_loads_once_and_answers_one_item_per_row(run: Any) -> None:
    worker = run(DOUBLE, files={"factor.txt": b"3"})
    found = ask(worker, {"x": 2}, {"x": 3}, {"x": 4})
    assert json.loads(found.outputs) == [6, None, 12]
    assert {row: json.loads(bytes(said)) for row, said in found.refusals.items()} == {
        1: {"code": "odd", "message": "no odd ones", "path": "/x"}
    }
    assert found.printed == "asked 3\n"
    assert json.loads(ask(worker, {"x": 10}, many=False).outputs) == [30]
    assert worker.pid != os.getpid()


def test_a_pickled_class_is_made_and_loaded_in_the_worker(run: Any) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    source = "import os\nfrom cloche import Model\nclass M(Model):\n def predict_one(self, row): return os.getpid()"
    exec(source, names)
    worker = run(files={"model.pkl": cloudpickle.dumps(names["M"])}, entry="files/model.pkl")
    assert json.loads(ask(worker, {}).outputs) == [worker.pid]


def test_a_canary_pickle_fires_in_the_worker_alone(make_bundle: Any, tmp_path: Path) -> None:
    marker = tmp_path / "canary"

    class Canary:
        def __reduce__(self) -> Any:
            return exec, (f"import os; open({str(marker)!r}, 'a').write(str(os.getpid()) + ' ')",)

    bundle = make_bundle(files={"model.pkl": cloudpickle.dumps(Canary())}, entry="files/model.pkl", flavor="heuristic")
    with WorkerProcess.start(bundle) as worker:
        worker.wait_loaded(30)
        assert marker.read_text().split() == [str(worker.pid)]


def test_call_info_reaches_the_model(run: Any) -> None:
    worker = run("""
        class M:
            def predict_one(self, row, info):
                return [info.id, info.now_us, info.subject, info.parameters]
    """)
    rest = [CONTEXT.now_us, "ann", {"currency": "EUR"}]
    assert json.loads(ask(worker, {}, {}).outputs) == [["c1.0", *rest], ["c1.1", *rest]]
    assert json.loads(ask(worker, {}, many=False).outputs) == [["c1", *rest]]


def test_the_authors_modules_come_first_and_the_platforms_do_not_count(run: Any) -> None:
    worker = run(
        "import wire\nimport cloche\nclass M:\n def predict_one(self, row): return [wire.OWN, cloche.__file__]",
        modules={"wire.py": "OWN = 'mine'"},
    )
    own, home = json.loads(ask(worker, {}).outputs)[0]
    assert own == "mine"
    assert Path(home).samefile(Path(__file__).parents[3] / "src/cloche/__init__.py")


def test_the_worker_does_not_lend_its_own_modules(make_bundle: Any) -> None:
    bundle = make_bundle("import ranking")
    with WorkerProcess.start(bundle) as worker, pytest.raises(DoesNotLoad, match="No module named 'ranking'"):
        worker.wait_loaded(30)


def test_load_failures_have_the_authors_traceback_alone(make_bundle: Any) -> None:
    bundle = make_bundle("class M:\n def load(self, bundle):\n  raise ValueError('no such table')")
    with WorkerProcess.start(bundle) as worker, pytest.raises(DoesNotLoad) as raised:
        worker.wait_loaded(30)
    text = raised.value.details["traceback"]
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: no such table\n")
    assert "runtimes/worker" not in text
    assert 'model.py", line 3, in load' in text


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("import os; os._exit(7)", "exited with status 7"),
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
        ("import sys; sys.exit(4)", "SystemExit: 4"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_module_that_ends_the_process_while_it_loads(make_bundle: Any, statement: str, told: str) -> None:
    with WorkerProcess.start(make_bundle(statement)) as worker, pytest.raises(DoesNotLoad, match=told):
        worker.wait_loaded(30)


def test_a_load_that_hangs_is_given_up_and_says_where_it_was(make_bundle: Any) -> None:
    bundle = make_bundle("import threading\ndef wait():\n threading.Event().wait()\nwait()")
    with WorkerProcess.start(bundle) as worker, pytest.raises(DoesNotLoad, match="within 1 s") as raised:
        worker.wait_loaded(1)
    assert "in wait" in str(raised.value)


def test_an_interpreter_that_is_not_there(make_bundle: Any) -> None:
    with pytest.raises(DoesNotLoad, match="can't be started"):
        WorkerProcess.start(make_bundle(), python="/nowhere/python")


FUSSY = """
    import sys
    class M:
        def predict(self, rows):
            sys.stderr.write("seen %d\\n" % len(rows))
            return [{"price": {"eur": self.price(row)}} for row in rows]
        def price(self, row):
            if row["x"] == "raise": raise ValueError("secret /home/ann \\ud800")
            if row["x"] == "exit": sys.exit("bye")
            return float(row["x"])
"""


@pytest.mark.parametrize(("x", "last"), [("raise", "ValueError: secret /home/ann ?"), ("exit", "SystemExit: bye")])
def test_an_exception_fails_the_call_names_the_row_and_spares_the_worker(run: Any, x: str, last: str) -> None:
    worker = run(FUSSY)
    with pytest.raises(ModelFailed) as raised:
        ask(worker, {"x": 1}, {"x": x}, {"x": 2})
    private = raised.value.private
    assert private["row"] == 1
    assert private["traceback"].endswith(last + "\n")
    assert "runtimes/worker" not in private["traceback"]
    assert private["printed"] == "seen 3\nseen 1\nseen 1\n"
    assert "secret" not in private["reason"]
    assert json.loads(ask(worker, {"x": 1}, {"x": 2}).outputs) == [{"price": {"eur": 1.0}}, {"price": {"eur": 2.0}}]


@pytest.mark.parametrize(("x", "what"), [("nan", "NaN"), ("-inf", "infinity")])
def test_nan_is_an_invalid_output_that_names_row_and_field(run: Any, x: str, what: str) -> None:
    worker = run(FUSSY)
    with pytest.raises(InvalidOutput, match=f"row 1: {what} at /price/eur"):
        ask(worker, {"x": 1}, {"x": x})
    with pytest.raises(InvalidOutput, match=f": {what} at /price/eur"):
        ask(worker, {"x": x}, many=False)


def test_a_wrong_number_of_items_is_told(run: Any) -> None:
    worker = run("class M:\n def predict(self, rows): return [1]")
    with pytest.raises(ModelFailed) as raised:
        ask(worker, {}, {})
    assert raised.value.private["reason"] == "the model returned 1 items for 2 rows; return one per row, in order"


def test_rows_that_only_fail_together_are_answered_one_by_one(run: Any) -> None:
    worker = run("""
        from cloche import Refusal
        class M:
            def predict(self, rows):
                if len(rows) > 1: raise MemoryError
                if rows[0]["x"] == 1: raise Refusal("one", "not one")
                return [rows[0]["x"]]
    """)
    found = ask(worker, {"x": 0}, {"x": 1}, {"x": 2})
    assert json.loads(found.outputs) == [0, None, 2]
    assert list(found.refusals) == [1]


RANKING = {"path": "/items", "item_id": "sku"}


@pytest.mark.parametrize(("order", "expected"), [("desc", ["b", "d", "a"]), ("asc", ["a", "b", "d"])])
def test_a_ranking_is_one_batch_and_one_ordered_list(run: Any, order: str, expected: list[str]) -> None:
    worker = run(
        """
        from cloche import Refusal
        class M:
            def predict(self, rows):
                print(len(rows))
                return [Refusal("out", "sold out") if row["sku"] == "c" else row["boost"] * row["p"] for row in rows]
        """,
        each=RANKING | {"order": order},
    )
    items = [{"sku": "a", "p": 1}, {"sku": "b", "p": 2}, {"sku": "c", "p": 9}, {"sku": "d", "p": 5, "boost": 2}]
    found = ask(worker, {"boost": 5, "items": items}, many=False)
    scores = {"a": 5, "b": 10, "d": 10}
    assert json.loads(found.outputs) == [[{"sku": sku, "score": scores[sku]} for sku in expected]]
    assert found.printed == "4\n"
    assert list(found.refusals) == [2]
    assert json.loads(ask(worker, {"items": []}, many=False).outputs) == [[]]


def test_a_heuristic_is_a_plain_function(run: Any) -> None:
    rows = run("def mean(rows): return [row['x'] / 2 for row in rows]", flavor="heuristic", entry="model:mean")
    row = run("def mean(row): return row['x'] / 2", flavor="heuristic", entry="model:mean", takes="row")
    assert ask(rows, {"x": 3}, {"x": 5}).outputs == ask(row, {"x": 3}, {"x": 5}).outputs == b"[1.5,2.5]"


def test_printed_text_is_kept_from_its_end(run: Any) -> None:
    worker = run("class M:\n def predict(self, rows):\n  print('é' * 100_000 + 'end')\n  return [1]")
    printed = ask(worker, {}).printed
    assert printed.endswith("éend\n")
    assert 9_990 < len(printed.encode()) <= 10_000


def test_a_late_answer_is_dropped_and_the_worker_goes_on(run: Any) -> None:
    worker = run("import time\nclass M:\n def predict_one(self, row): time.sleep(row['s']); return row['s']")
    with pytest.raises(DeadlineExceeded):
        ask(worker, {"s": 0.5}, timeout_s=0.1)
    assert json.loads(ask(worker, {"s": 0}).outputs) == [0]


def test_the_stack_of_a_busy_worker_can_be_seen(run: Any) -> None:
    worker = run("import time\nclass M:\n def predict_one(self, row): time.sleep(row['s']); return 1")
    with pytest.raises(DeadlineExceeded):
        ask(worker, {"s": 5}, timeout_s=0.2)
    assert "in predict_one" in worker.dump_stack()


def test_the_environment_names_what_was_imported_and_nothing_else(run: Any) -> None:
    worker = run(
        "import helper, iniconfig\nclass M:\n def predict_one(self, row):\n  import joblib\n  return 1",
        modules={"helper.py": "", "iniconfig.py": ""},
    )
    before = worker.describe()
    assert before.distributions == {}
    ask(worker, {})
    found = worker.describe()
    assert "joblib" in found.distributions
    assert not {"cloche", "pip", "setuptools", "msgspec", "pytest"} & set(found.distributions)
    assert found.python.startswith("3.")
    assert found.implementation == "cpython"


def test_secrets_stay_here(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_TOKEN", "s3cret")
    worker = run("import os\nclass M:\n def predict_one(self, row): return dict(os.environ)")
    seen = json.loads(ask(worker, {}).outputs)[0]
    assert "CLOCHE_TOKEN" not in seen
    assert seen["OMP_NUM_THREADS"] == "1"
    given = {
        "HOME": "/h",
        "AWS_ACCESS_KEY_ID": "x",
        "GITHUB_TOKEN": "x",
        "DB_PASSWORD": "x",
        "my_secret": "x",
        "STORE": "postgres://u:pw@host/db",
        "PACKAGES": "https://a-token@host/simple",
        "DATABASE_URL": "postgres://host/db?user=u&password=x",
        "STRIPE_KEY": "x",
        "MYSQL_PWD": "x",
        "SSH_AUTH_SOCK": "/run/agent",
        "PWD": "/h",
        "INDEX": "https://host/simple?team=a",
        "KEYBOARD": "qwerty",
        "PYTHONPATH": "src",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert set(worker_environ(given, 2)) - {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} == {
        "HOME",
        "INDEX",
        "KEYBOARD",
        "PWD",
        "TOKENIZERS_PARALLELISM",
    }


def test_a_worker_has_limits_and_is_ended_first_where_memory_runs_out(run: Any) -> None:
    code = """
    import resource
    from pathlib import Path
    class M:
        def predict_one(self, row):
            kinds = (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)
            return [resource.getrlimit(kind)[1] for kind in kinds] + [Path("/proc/self/oom_score_adj").read_text()]
    """
    core, files, adjusted = json.loads(ask(run(code), {}).outputs)[0]
    assert core == 0
    assert 64 <= files <= 4096
    assert int(adjusted) == 500


def test_a_worker_serves_without_a_folder_of_its_own(make_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scratch, "variables", lambda scratch: scratch.remove() or {})
    with WorkerProcess.start(make_bundle("class M:\n def predict_one(self, row): return 1")) as worker:
        worker.wait_loaded(60)
        assert json.loads(ask(worker, {}).outputs) == [1]


def test_connections_are_served_in_turn(run: Any) -> None:
    worker = run("class M:\n def predict_one(self, row): return row['x']")
    hungry, modest = Channel(worker.connect()), Channel(worker.connect())
    for number in range(50):
        hungry.send(predicting(number), b'[{"x":1}]')
    for number in range(3):
        modest.send(predicting(number), b'[{"x":2}]')
    for _ in range(3):
        assert modest.receive() is not None
    for number in range(50):
        message = hungry.receive()
        assert message is not None
        assert message[0]["calls"][0]["call"] == number
        assert message[1] == b"[1]"
    hungry.close()
    modest.close()


def test_a_gateway_that_does_not_read_holds_up_nobody_and_gets_no_further_call(run: Any) -> None:
    worker = run("""
        import itertools
        calls = itertools.count(1)
        class M:
            def predict_one(self, row): return [next(calls), "x" * 4_000_000]
    """)
    deaf = Channel(worker.connect())
    for number in range(3):
        deaf.send(predicting(number), b"[{}]")
    earlier = [json.loads(ask(worker, {}, timeout_s=20).outputs)[0][0] for _ in range(3)]
    assert earlier == [2, 3, 4]
    for expected in (1, 5, 6):
        message = deaf.receive()
        assert message is not None
        assert json.loads(message[1])[0][0] == expected
    deaf.close()


def test_nonsense_does_not_end_the_worker(run: Any) -> None:
    worker = run("class M:\n def predict_one(self, row): return 1")
    channel = Channel(worker.connect())
    channel.send({"op": "dance", "call": 5})
    refused = channel.receive()
    assert refused is not None
    assert refused[0] == {"event": "error", "reason": "no such op: dance"}
    for header, body in (
        (predicting(6), b"not json"),
        ({"op": "predict"}, b"[]"),
        ({"op": "predict", "calls": 3}, b"[]"),
        ({"op": "predict", "calls": [{"call": 1}]}, b"[{}]"),
        (predicting(7), b"[]"),
    ):
        channel.send(header, body)
        refused = channel.receive()
        assert refused is not None
        assert refused[0]["event"] == "error"
    channel.send({"op": "ping"})
    assert channel.receive() == ({"event": "pong"}, b"")
    channel.sock.sendall(b"\xff" * 64)
    assert channel.receive() is None
    channel.close()
    assert json.loads(ask(worker, {}).outputs) == [1]


def test_sigterm_lets_the_call_end(run: Any, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    worker = run(f"""
        import time
        class M:
            def predict_one(self, row):
                open({str(started)!r}, "w").close()
                time.sleep(0.4)
                return 1
    """)
    channel = Channel(worker.connect())
    channel.send(predicting(1), b"[{}]")
    started.read_text()
    os.kill(worker.pid, signal.SIGTERM)
    message = channel.receive()
    assert message is not None
    assert message[1] == b"[1]"
    assert channel.receive() is None
    assert worker._process.wait(10) == 0
    channel.close()


def test_a_model_that_leaves_threads_behind_still_ends(run: Any) -> None:
    worker = run("""
        import threading
        threading.Thread(target=threading.Event().wait).start()
        class M:
            def predict_one(self, row): return 1
    """)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker._process.wait(20) == 0


def test_an_orphan_answers_until_its_last_connection_is_gone(make_bundle: Any) -> None:
    worker = WorkerProcess.start(make_bundle("class M:\n def predict_one(self, row): return 1"))
    worker.wait_loaded(30)
    channel = Channel(worker.connect())
    worker._control.close()
    for call in range(3):
        channel.send(predicting(call), b"[{}]")
        message = channel.receive()
        assert message is not None
        assert message[1] == b"[1]"
    channel.close()
    assert worker._process.wait(10) == 0
    worker._log.discard()


def test_the_control_line_speaks_the_protocol(make_bundle: Any) -> None:
    worker = WorkerProcess.start(make_bundle("class M:\n def predict_one(self, row): return 1"))
    message = worker._control.receive()
    assert message is not None
    assert message[0]["event"] == "loaded"
    assert message[0]["protocol"] == PROTOCOL
    assert message[0]["pid"] == worker.pid
    worker.stop(5)
    assert isinstance(worker._control.sock, socket.socket)
