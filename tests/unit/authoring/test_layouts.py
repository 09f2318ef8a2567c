"""How authors lay out their code: whatever it is, a fresh worker answers as their own process does."""

import json
import subprocess
import sys
import textwrap

import pytest
from drafts import draft, golden

from cloche.authoring.preparing import prepare

SCRIPTS = {
    "a folder without __init__": (
        {
            "lab/models/price.py": "from . import rate\ndef price(x): return rate.RATE * x",
            "lab/models/rate.py": "RATE = 2",
        },
        "from lab.models.price import price\nmodel = lambda row: price(row['x'])",
        {"lab/models/price.py", "lab/models/rate.py"},
    ),
    "one module under two names": (
        {
            "pkg/__init__.py": "",
            "pkg/rate.py": "RATE = 2",
            "pkg/price.py": "import rate\nfrom pkg import rate as other",
        },
        """
        sys.path.append("pkg")
        import rate
        from pkg import price
        assert price.rate is rate and price.other is not rate
        model = lambda row: price.rate.RATE * price.other.RATE * row["x"] / 2
        """,
        {"rate.py", "pkg/__init__.py", "pkg/rate.py", "pkg/price.py"},
    ),
    "a module that hides an installed one": (
        {"iniconfig.py": "def price(x): return 2 * x"},
        "import iniconfig\nmodel = lambda row: iniconfig.price(row['x'])",
        {"iniconfig.py"},
    ),
    "a function of a module that closes over what it was made with": (
        {
            "making.py": "import rate\ndef make(y):\n    return lambda row: rate.RATE * row['x'] * y",
            "rate.py": "RATE = 2",
        },
        "from making import make\nmodel = make(1)",
        {"rate.py"},
    ),
    "a module that is imported when it is asked, by a class of __main__": (
        {"late/__init__.py": "", "late/deep/__init__.py": "", "late/deep/rate.py": "RATE = 2"},
        """
        class Model:
            def predict_one(self, row):
                import late.deep.rate as rate
                return Model.scale(rate.RATE, row["x"])

            @staticmethod
            def scale(rate, x):
                return (lambda y: rate * y)(x)

        model = Model()
        """,
        {"late/__init__.py", "late/deep/__init__.py", "late/deep/rate.py"},
    ),
    "a class of __main__ above one of a module, with what both define": (
        {"above.py": "class Above:\n    factor = 1\n    def predict_one(self, row): return self.factor * row['x']"},
        """
        import enum
        from dataclasses import dataclass
        from above import Above

        class Kind(enum.Enum):
            CAR = 2

        @dataclass
        class Price:
            amount: float

        class Pricing(Above):
            factor = Kind.CAR.value

            def predict_one(self, row):
                assert row["kind"] in {"car", "van"} and isinstance(self, Pricing)
                return Price(super().predict_one(row)).amount

        model = Pricing()
        """,
        {"above.py"},
    ),
    "a partial of a function": (
        {"rate.py": "def price(row, rate): return rate * row['x']"},
        "import functools, rate\nmodel = functools.partial(rate.price, rate=2)",
        {"rate.py"},
    ),
}

PREPARE = """
from cloche.authoring.draft import Draft
from cloche.authoring.preparing import prepare
rows = [{"x": 3, "kind": "car"}, {"x": 4, "kind": "van"}]
prepared = prepare(Draft(model=model, name="m", version="1.0.0", examples=rows))
print(json.dumps({path: len(data) for path, data in prepared.contents.items() if path.startswith("code/")}))
print(prepared.contents["personal/golden.jsonl"].decode())
"""


@pytest.mark.parametrize("layout", SCRIPTS)
def test_a_layout(layout, tmp_path):
    files, script, packed = SCRIPTS[layout]
    for name, text in (files | {"main.py": f"import json, sys\n{textwrap.dedent(script)}{PREPARE}"}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, *cases = map(json.loads, done.stdout.split("\n")[:3])
    assert {path.removeprefix("code/") for path in code if "__main__" not in path} == packed
    assert [case["output"] for case in cases] == [6, 8]


def test_names_of_parameters_are_names_of_fields():
    def price(age, region="de"):
        return age * (2 if region == "de" else 3)

    class Detector:
        def detect(self, text):
            return len(text)

    rows = [{"age": 1, "region": "de"}, {"age": 2, "region": "at"}]
    for model, examples, options, outputs in (
        (price, rows, {}, [2, 6]),
        (price, [{"age": 1}, {"age": 4}], {}, [2, 8]),
        (Detector().detect, [{"text": "a"}, {"text": "bc"}], {}, [1, 2]),
        (Detector(), [{"text": "a"}, {"text": "bc"}], {"method": "detect"}, [1, 2]),
        (lambda **fields: fields["x"], [{"x": 1}, {"x": 2}], {"takes": "keywords"}, [1, 2]),
    ):
        prepared = prepare(draft(model, examples, **options))
        assert prepared.manifest.takes == "keywords"
        assert [case["output"] for case in golden(prepared)] == outputs
    assert prepare(draft(lambda row: row["x"], [{"x": 1}, {"x": 2}])).manifest.takes == "row"
