"""What was typed into a script or a notebook has its lines wherever it runs."""

import linecache
import os
import subprocess
import sys
import textwrap

import pytest
from drafts import draft

from cloche.authoring.listings import Listings
from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad

SOURCE = textwrap.dedent(
    """
    PASSWORD = "hush"


    def price(row):
        rate = [
            lambda: 2,
            3,
        ]
        return (
            rate[0]()
            * row["x"]
        )


    def unused():
        return "unused"
    """
)


@pytest.fixture
def typed():
    """Return a function that makes functions as if they had been typed into a file, and returns one of them."""
    known = set(linecache.cache)

    def make(file, source=SOURCE):
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        namespace = {"__name__": "__main__"}
        exec(compile(source, file, "exec"), namespace)
        return namespace["price"]

    yield make
    for file in set(linecache.cache) - known:
        del linecache.cache[file]


def test_the_lines_of_a_function_and_no_others_keep_their_numbers(typed):
    listings = Listings()
    code = listings.renamed(typed("/tmp/ipykernel_77/4242.py").__code__)
    assert code.co_filename == "__main__/cell-4242.py"
    (content,) = listings.files().values()
    lines = content.decode().splitlines()
    assert lines[:4] == [""] * 4
    assert lines[4:12] == SOURCE.splitlines()[4:12]
    assert "hush" not in content.decode()
    assert "unused" not in content.decode()


def test_a_script_has_its_name_and_what_is_in_no_file_keeps_it(typed):
    listings = Listings()
    assert listings.renamed(typed("/home/ada/proj/train.py").__code__).co_filename == "__main__/train.py"
    assert listings.renamed(typed("<stdin>").__code__).co_filename == "<stdin>"
    assert set(listings.files()) == {"__main__/train.py"}


def test_an_installed_package_is_not_listed():
    listings = Listings()
    assert listings.renamed(textwrap.dedent.__code__).co_filename == "textwrap.py"
    assert listings.renamed(pytest.raises.__code__).co_filename == "_pytest/raises.py"
    assert listings.files() == {}


def test_a_traceback_of_a_worker_shows_them(typed):
    only_here = SOURCE.replace('* row["x"]', '* (1 if "pytest" in __import__("sys").modules else row["z"])')
    with pytest.raises(DoesNotLoad) as caught:
        prepare(draft(typed("/tmp/ipykernel_77/2.py", only_here), [{"x": 1}]))
    assert 'File "__main__/cell-2.py", line 12, in price\n    * (1 if' in str(caught.value)


def test_another_folder_makes_no_other_version(tmp_path):
    script = SOURCE + textwrap.dedent(
        """
        from cloche import publish
        print(publish(price, name="m", version="1.0.0", examples=[{"x": 1}], quiet=True).digest)
        """
    )
    digests = set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(script)
        environ = os.environ | {"CLOCHE_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "train.py"], cwd=tmp_path / folder, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
