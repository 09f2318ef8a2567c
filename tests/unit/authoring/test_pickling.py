import enum
import os
import subprocess
import sys
import textwrap

import cloudpickle
import msgspec

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

    class Zone:
        __slots__ = ("of",)

        def __init__(self):
            self.of = {"car", "van", "bike", "tram", "bus", "truck", "boat", "cart"}

    class Seen:
        def __init__(self):
            self.kinds = set(KINDS)
            self.zone = Zone()

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
    first = pickles.dumps([Pricing, typed, Seen()]), pickles.dumps(Price(3.0))
    again = Pickles().dumps([Pricing, typed, Seen()]), Pickles().dumps(Price(3.0))
    assert first == again
    open(sys.argv[2], "wb").write(first[0])
    open(sys.argv[3], "wb").write(first[1])
    """
)

READER = textwrap.dedent(
    """
    import pickle, sys
    (pricing, typed, seen), price = (pickle.load(open(path, "rb")) for path in sys.argv[1:])
    assert seen.kinds == seen.zone.of == pricing.known and type(seen.kinds) is set
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


def test_a_class_whose_fields_msgspec_has_read_is_pickled_as_before():
    namespace = {"__name__": "__main__"}
    exec("import dataclasses\n@dataclasses.dataclass\nclass Quote: value: float", namespace)
    before = Pickles().dumps(namespace["Quote"])
    msgspec.json.schema(namespace["Quote"])
    assert Pickles().dumps(namespace["Quote"]) == before


def test_a_class_that_was_merely_moved_is_pickled_as_before():
    def quote(source):
        namespace = {"__name__": "__main__"}
        exec(f"{source}import dataclasses\n@dataclasses.dataclass\nclass Quote: value: float", namespace)
        return namespace["Quote"]

    assert Pickles().dumps(quote("# A line more.\n")) == Pickles().dumps(quote(""))


def test_what_a_notebook_caches_goes_in_by_value_and_empty():
    source = """
    import functools

    @functools.lru_cache(maxsize=7)
    def sum_to(number):
        CALLS.append(number)
        return number + sum_to(number - 1) if number else 0

    class Rates:
        @functools.cached_property
        def base(self):
            return sum_to(3)

    CALLS = []
    """
    namespace = {"__name__": "__main__"}
    exec(textwrap.dedent(source), namespace)
    first = Pickles().dumps([namespace["sum_to"], namespace["Rates"]])
    assert namespace["Rates"]().base == 6
    namespace["CALLS"].clear()
    assert Pickles().dumps([namespace["sum_to"], namespace["Rates"]]) == first
    sum_to, rates = cloudpickle.loads(first)
    found = rates()
    assert (found.base, found.base) == (6, 6)
    assert sum_to is rates.base.func.__globals__["sum_to"]
    assert (sum_to.cache_info().maxsize, sum_to.cache_info().currsize, sum_to.__name__) == (7, 4, "sum_to")
    assert sum_to.__wrapped__.__globals__["CALLS"] == [3, 2, 1, 0]


def test_an_object_that_says_itself_how_it_is_pickled_does():
    class Known:
        def __init__(self):
            self.words = {"a", "b"}

        def __getstate__(self):
            return [1, {"a"}]

        def __setstate__(self, state):
            self.words = state

    assert cloudpickle.loads(Pickles().dumps(Known())).words == [1, {"a"}]


def test_what_functions_import_when_they_are_called_is_told():
    namespace = {"__name__": "__main__", "__package__": "lab"}
    exec("def f(row):\n from . import rates\n def g(): import zoo.cage\n return g", namespace)
    pickles = Pickles()
    pickles.dumps(namespace["f"])
    assert {"lab.rates", "zoo.cage"} <= pickles.told.imports
