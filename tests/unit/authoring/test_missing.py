"""What a worker did not find is explained by what stayed behind."""

import pytest
from drafts import draft

from cloche.authoring.missing import how_to_bring
from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad

LEFT = {
    "zoo/secret_sauce.py": "its name is that of a secret",
    "zoo/plots/__init__.py": "exclude='zoo.plots' leaves it out",
    "zoo/visitors.csv": "it is no source",
}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "ModuleNotFoundError: No module named 'zoo.secret_sauce'",
            "zoo/secret_sauce.py stayed behind: its name is that of a secret. "
            "To take it along: include=['zoo.secret_sauce']",
        ),
        (
            "ModuleNotFoundError: No module named 'zoo.plots'",
            "zoo/plots/__init__.py stayed behind: exclude='zoo.plots' leaves it out.",
        ),
        (
            "ImportError: cannot import name 'plots' from 'zoo' (/tmp/x/bundle/code/zoo/__init__.py)",
            "zoo/plots/__init__.py stayed behind: exclude='zoo.plots' leaves it out.",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x/bundle/code/zoo/visitors.csv'",
            "zoo/visitors.csv stayed behind: it is no source. To take it along: include=['zoo/visitors.csv']",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x/bundle/code/rates.csv'",
            "To take a file along that lies beside your module: include=['rates.csv']",
        ),
        ("NameError: name '__file__' is not defined", "A class or function of a script or notebook has no file"),
        ("ModuleNotFoundError: No module named 'no_such_module'", None),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/home/ada/x.csv'", None),
        ("KeyError: 'zoo.plots'", None),
    ],
)
def test_what_is_missing_is_explained(said, advice):
    told = how_to_bring(f"Traceback (most recent call last):\n  File ...\n{said}\n", LEFT)
    assert told == advice if advice is None else told.startswith(advice)


def test_a_file_of_the_folder_that_it_is_published_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = "FileNotFoundError: [Errno 2] No such file or directory: 'rates.csv'"
    assert how_to_bring(said, LEFT) is None
    (tmp_path / "rates.csv").touch()
    told = how_to_bring(said, LEFT)
    assert told.startswith("rates.csv is in the folder that you publish from, and a worker has another one.")
    assert "files={'rates.csv': Path('rates.csv')}" in told


def test_a_variable_that_workers_are_not_given(monkeypatch):
    said = "KeyError: 'ZOO_API_KEY'"
    assert how_to_bring(said, LEFT) is None
    monkeypatch.setenv("ZOO_API_KEY", "s3cret")
    assert how_to_bring(said, LEFT).startswith("ZOO_API_KEY is set here, and its name is that of a secret")
    monkeypatch.setenv("ZOO_PLACE", "Berlin")
    assert how_to_bring("KeyError: 'ZOO_PLACE'", LEFT) is None, "workers have it"


def test_a_place_that_the_author_may_write_to_and_a_model_may_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("out.txt", str(tmp_path / "out.txt")):
        told = how_to_bring(f"PermissionError: [Errno 13] Permission denied: '{file}'", LEFT)
        assert told.startswith(f"You may write to {file}, and a model may not")
        assert "workers.writable" in told
    assert how_to_bring("PermissionError: [Errno 13] Permission denied: '/nowhere/at/all/out.txt'", LEFT) is None


def test_a_module_that_nothing_names(author):
    author({"hidden.py": ""})
    told = how_to_bring("ModuleNotFoundError: No module named 'hidden'", {})
    assert told == "hidden is a module of your own that nothing names. To take it along: include=['hidden']"


def failure(model, **options):
    with pytest.raises(DoesNotLoad) as caught:
        prepare(draft(model, [{"x": 1}], **options))
    return str(caught.value).strip()


def test_publishing_tells_what_a_fresh_worker_misses(author):
    folder = author(
        {
            "market/__init__.py": "",
            "market/credentials.py": "FACTOR = 2",
            "market/rates.csv": "1",
            "market/prices.py": """
                import importlib
                from pathlib import Path

                def secret(row):
                    from market import credentials
                    return credentials.FACTOR

                def data(row):
                    return len(Path(__file__).with_name("rates.csv").read_text())

                def hidden(row):
                    return importlib.import_module("hid" + "den").FACTOR
            """,
            "hidden.py": "FACTOR = 3",
        },
        "market.prices",
    )
    prices = __import__("market.prices").prices
    for model, name in ((prices.secret, "market.credentials"), (prices.data, "market/rates.csv")):
        assert failure(model).endswith(f"To take it along: include=['{name}']")
        prepare(draft(model, [{"x": 1}], include=[name]))
    assert failure(prices.hidden).endswith("To take it along: include=['hidden']")
    prepare(draft(prices.hidden, [{"x": 1}], include=["hidden"]))
    namespace = {"__name__": "__main__", "__file__": str(folder / "market" / "prices.py")}
    exec("def beside(row): return len(open(__file__).read())", namespace)
    assert "has no file in a worker. Publish what it reads with files=" in failure(namespace["beside"])


def test_a_module_that_publishes_when_it_is_imported(author):
    author(
        {
            "guarded.py": """
                from cloche import publish
                def price(row): return 1
                if __name__ == "__main__":
                    publish(price)
            """,
            "eager.py": """
                import sys
                from cloche import publish
                def price(row): return 1
                if "pytest" not in sys.modules:  # in the worker
                    publish(price)
            """,
        }
    )
    prepare(draft(__import__("guarded").price, [{"x": 1}]))
    assert "put publish(...) below: if __name__ == '__main__':" in failure(__import__("eager").price)
