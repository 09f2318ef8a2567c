import enum
import os
import subprocess
import sys
import textwrap

import cloudpickle

from cloche.authoring.pickling import Pickles

SCRIPT = textwrap.dedent(
    """
    import dataclasses, enum, hashlib, sys
    from cloche.authoring.pickling import Pickles

    class Color(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Price:
        amount: float

    class Pricing:
        known = {"car", "van", "bike", "tram", "bus", "truck", "boat", "cart"}

        def price(self, row):
            assert row["kind"] in {"car", "van", "bike", "tram", "bus", "truck", "boat", "cart"}
            assert row["kind"] in KINDS and row["kind"] in self.known
            return Price(row["x"] * FACTOR), Color.RED, Pricing, "0123456789abcdef0123456789abcdef"

        def kinds(self):
            return KINDS

        def file(self):
            return __file__

    FACTOR = 2
    KINDS = frozenset({"car", "van", "bike", "tram", "bus", "truck", "boat", "cart"})
    __file__ = f"/somewhere/{sys.argv[1]}.py"
    cell = compile("def typed(x): return x", f"/tmp/ipykernel_{sys.argv[1]}/123.py", "exec")
    exec(cell)
    pickles = Pickles()
    first = pickles.dumps([Pricing, typed]), pickles.dumps(Price(3.0))
    again = Pickles().dumps([Pricing, typed]), Pickles().dumps(Price(3.0))
    assert first == again
    open(sys.argv[2], "wb").write(first[0])
    open(sys.argv[3], "wb").write(first[1])
    """
)

READER = textwrap.dedent(
    """
    import pickle, sys
    (pricing, typed), price = (pickle.load(open(path, "rb")) for path in sys.argv[1:])
    made, color, same, text = pricing().price({"x": 4, "kind": "car"})
    assert type(pricing.known) is set and pricing().kinds() is pricing.price.__globals__["KINDS"]
    assert "__file__" not in pricing.price.__globals__
    assert type(made) is type(price), "one class, though it came in two pickles"
    assert same is pricing and color.value == 1 and made.amount == 8
    assert text == "0123456789abcdef0123456789abcdef"
    print(typed.__code__.co_filename)
    """
)


def test_each_process_writes_the_same_bytes(tmp_path):
    for process in ("1", "22"):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, process, tmp_path / f"a{process}", tmp_path / f"b{process}"],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": process},
        )
    assert (tmp_path / "a1").read_bytes() == (tmp_path / "a22").read_bytes()
    assert (tmp_path / "b1").read_bytes() == (tmp_path / "b22").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", READER, tmp_path / "a1", tmp_path / "b22"], capture_output=True, text=True
    )
    assert done.stdout == "__main__/cell-123.py\n", done.stderr


def test_another_class_of_the_same_name_has_another_number():
    def make(value):
        return enum.Enum("Local", {"A": value})

    one, other = make(1), make(2)
    one.__module__ = other.__module__ = "__main__"
    pickles = Pickles()
    assert pickles.dumps(one) != pickles.dumps(other)


def test_a_set_stays_one_set_for_all_who_use_it():
    shared = {"a", "b"}
    namespace = {"__name__": "__main__", "shared": shared}
    exec("class Known: words = shared\ndef add(x): shared.add(x)", namespace)
    known, add = cloudpickle.loads(Pickles().dumps([namespace["Known"], namespace["add"]]))
    add("c")
    assert known.words == {"a", "b", "c"}


def test_what_functions_import_when_they_are_called_is_told():
    namespace = {"__name__": "__main__", "__package__": "lab"}
    exec("def f(row):\n from . import rates\n def g(): import zoo.cage\n return g", namespace)
    pickles = Pickles()
    pickles.dumps(namespace["f"])
    assert {"lab.rates", "zoo.cage"} <= pickles.told.imports
