import sys

import cloudpickle
import pytest

from cloche.authoring.modules import own_modules


@pytest.fixture
def author(tmp_path, monkeypatch):
    """Return a function that writes the author's files and imports a module of them."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(files, module):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        __import__(module)
        return sys.modules[module]

    yield make
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_package_goes_in_whole_and_without_what_is_nobodys_business(author):
    files = {
        "zoo/__init__.py": "",
        "zoo/cage/__init__.py": "from zoo.cage.lock import Lock",
        "zoo/cage/lock.py": "class Lock: pass",
        "zoo/never_imported.py": "",
        "zoo/tests/test_cage.py": "",
        "zoo/conftest.py": "",
        "zoo/test_zoo.py": "",
        "zoo/.env": "A=1",
        "zoo/.git/hook.py": "",
        "zoo/client_secrets.py": "",
        "zoo/server.pem": "",
        "zoo/visitors.csv": "",
        "zoo/__pycache__/lock.cpython-311.pyc": "",
        "elsewhere.py": "",
    }
    module = author(files, "zoo.cage")
    assert set(own_modules([cloudpickle.dumps(module.Lock())])) == {
        "zoo/__init__.py",
        "zoo/cage/__init__.py",
        "zoo/cage/lock.py",
        "zoo/never_imported.py",
    }


def test_what_a_module_imports_goes_in_too(author):
    files = {
        "top.py": "import json, numpy\nfrom middle import helper\nclass Top: pass",
        "middle.py": "def helper():\n    import bottom\n    return bottom",
        "bottom.py": "import top",
        "unrelated.py": "",
    }
    module = author(files, "top")
    __import__("unrelated")
    __import__("bottom")
    assert set(own_modules([cloudpickle.dumps(module.Top)])) == {"top.py", "middle.py", "bottom.py"}


def test_relative_imports_and_folders_without_init(author):
    files = {
        "lab/models/first.py": "from . import second\nfrom .second import B\nclass A(B): pass",
        "lab/models/second.py": "class B: pass",
        "lab/models/third.py": "",
    }
    module = author(files, "lab.models.first")
    assert set(own_modules([cloudpickle.dumps(module.A)])) == {"lab/models/first.py", "lab/models/second.py"}


def test_what_is_installed_or_of_the_standard_library_stays_where_it_is():
    import decimal

    import sklearn.linear_model

    assert own_modules([cloudpickle.dumps([decimal.Decimal(1), sklearn.linear_model.LogisticRegression()])]) == {}


def test_a_function_by_value_refers_to_modules(author):
    module = author({"rates.py": "RATE = 2"}, "rates")
    namespace = {"__name__": "__main__", "rates": module}
    exec("def price(row): return rates.RATE * row", namespace)
    assert own_modules([cloudpickle.dumps(namespace["price"])]) == {"rates.py": b"RATE = 2"}


def test_what_is_no_pickle_says_nothing():
    assert own_modules([b"\x78\x9c compressed", b""]) == {}
