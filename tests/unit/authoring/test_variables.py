"""Environment variables that a model reads and that a server may not have."""

import textwrap

import pytest
from drafts import draft

from cloche.authoring.preparing import prepare
from cloche.authoring.variables import Variables, about_variables


def found_in(source):
    found = Variables()
    found.look(compile(textwrap.dedent(source), "source", "exec"))
    return found


def test_the_names_that_code_spells_out():
    found = found_in(
        """
        import os
        from os import environ, getenv
        AT_THE_TOP = os.environ["TOP"]
        os.environ["SET"] = "1"
        class A:
            def f(self, row, name):
                os.environ.setdefault("PERHAPS", "1")
                os.environ["ADDED"] += "x"
                del os.environ["GONE"]
                print(os.environ, "no name", row["no variable"], getenv(name), environ[name], environ.get(name))
                return lambda: (environ["PLAIN"], os.environ.get("GOT", "eu"), os.getenv("ASKED"), getenv("DIRECT", 1))
        """
    )
    assert found.read == {"TOP", "ADDED", "PLAIN", "GOT", "ASKED", "DIRECT"}
    assert found.written == {"SET", "PERHAPS"}


@pytest.mark.parametrize("value", ["3", "postgresql://ada:lovelace@db/prices"])
def test_those_that_workers_get_and_that_not_every_machine_has_are_told(monkeypatch, value):
    everywhere = {"HOME", "PATH", "TMPDIR", "LC_ALL", "OMP_NUM_THREADS", "PYTHONPATH", "CUDA_VISIBLE_DEVICES"}
    for name in (*everywhere, "FLOWERS", "ZOO_API_KEY", "WRITTEN"):
        monkeypatch.setenv(name, value)
    one = Variables({*everywhere, "FLOWERS", "ZOO_API_KEY", "WRITTEN", "NOT_SET"})
    told = about_variables(one, Variables(set(), {"WRITTEN"}))
    assert [notice.split(",")[0] for notice in told] == (["The model reads FLOWERS"] if value == "3" else [])


def test_publishing_tells_of_them(author, monkeypatch):
    for name in ("FLOWERS", "REGION", "UNREAD", "UNREACHED", "QUIETLY"):
        monkeypatch.setenv(name, "3")
    author(
        {
            "florist/__init__.py": "",
            "florist/rates.py": "import os\nos.environ['QUIETLY'] = '1'\ndef region(): return os.environ.get('REGION')",
            "florist/train.py": "import os\nFOLDER = os.environ['UNREACHED']",
        },
        "florist.rates",
    )
    source = """
        import os
        from florist.rates import region
        def price(row): return float(os.environ["FLOWERS"]) + float(os.environ["QUIETLY"]) + row["a"] + len(region())
    """
    namespace = {"__name__": "__main__"}
    exec(textwrap.dedent(source), namespace)
    told = [notice for notice in prepare(draft(namespace["price"], [{"a": 1.0}])).notices if "variable" in notice]
    assert told == [
        f"The model reads {name}, an environment variable that is set here and that no version takes along. Set it "
        f"where the server runs, too; or publish its value with files={{'{name}': …}}, and ask for "
        f"bundle.text('{name}') in load()."
        for name in ("FLOWERS", "REGION")
    ]
