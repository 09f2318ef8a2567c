import enum
import subprocess
import sys
import textwrap

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
        def price(self, row):
            return Price(row["x"] * FACTOR), Color.RED, Pricing, "0123456789abcdef0123456789abcdef"

    FACTOR = 2
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
    made, color, same, text = pricing().price({"x": 4})
    assert type(made) is type(price), "one class, though it came in two pickles"
    assert same is pricing and color.value == 1 and made.amount == 8
    assert text == "0123456789abcdef0123456789abcdef"
    print(typed.__code__.co_filename)
    """
)


def test_each_process_writes_the_same_bytes(tmp_path):
    for process in ("1", "22"):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, process, tmp_path / f"a{process}", tmp_path / f"b{process}"], check=True
        )
    assert (tmp_path / "a1").read_bytes() == (tmp_path / "a22").read_bytes()
    assert (tmp_path / "b1").read_bytes() == (tmp_path / "b22").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", READER, tmp_path / "a1", tmp_path / "b22"], capture_output=True, text=True
    )
    assert done.stdout == "<cell 123>\n", done.stderr


def test_another_class_of_the_same_name_has_another_number():
    def make(value):
        return enum.Enum("Local", {"A": value})

    one, other = make(1), make(2)
    one.__module__ = other.__module__ = "__main__"
    pickles = Pickles()
    assert pickles.dumps(one) != pickles.dumps(other)
