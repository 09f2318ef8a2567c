"""What a model author writes against. Standard library only: workers of any environment load this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Refusal(Exception):  # an answer, not an error
    """The model declines to answer a row, and says why. An answer like any other: the caller gets status 200.

    Return one in the place of a row's item, or raise it from `predict_one`.

        Refusal("unknown_vehicle", "We do not price a Trabant yet", path="/vehicle")

    Args:
        code: a stable snake_case word that programs can act on.
        message: a sentence for people.
        path: a JSON pointer to the field of the input it is about.
    """

    def __init__(self, code: str, message: str, path: str | None = None) -> None:
        super().__init__(code, message, path)
        self.code = code
        self.message = message
        self.path = path


@dataclass(frozen=True)
class CallInfo:
    """What a model may know of a call besides its row: the optional second argument of `predict`, one per row."""

    id: str
    """The id of the inference; `{id}.{row}` where a call has many rows."""
    now_us: int
    """The moment of the call in microseconds UTC since 1970. Recorded, and the same when the call is reproduced."""
    subject: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True)
class Command:
    """A program of any language, to be published as a model: it answers each line of JSON with a line of JSON.

        publish(Command(["Rscript", "score.R"]), files={"score.R": Path("score.R")}, name="price", …)

    It is started once in each worker, in the folder of its files, and reads rows until its standard input ends. A line
    `{"refusal": {"code": ..., "message": ...}}` is the refusal of a row. What it writes to its standard error goes to
    the worker's log.

    Args:
        words: the program and its arguments. The program is one of the files, or is found on the PATH.
    """

    words: Sequence[str]


class Bundle:
    """The files of a published version, as `Model.load` sees them."""

    def __init__(self, folder: Path, unpickle: Callable[[Path], Any]) -> None:
        self._folder = folder
        self._unpickle = unpickle

    def path(self, name: str) -> Path:
        """Return where the file `name` (as in `publish(files={name: ...})`) lies. It is read-only.

        Raises:
            FileNotFoundError: the version was published without such a file.
        """
        path = self._folder / "files" / name
        if not path.is_file():
            raise FileNotFoundError(f"this version has no file {name!r}; publish it with files={{{name!r}: ...}}")
        return path

    def bytes(self, name: str) -> bytes:
        """Return the content of the file `name`."""
        return self.path(name).read_bytes()

    def text(self, name: str) -> str:
        """Return the content of the file `name` as UTF-8 text."""
        return self.path(name).read_text(encoding="utf-8")

    def joblib(self, name: str) -> Any:
        """Return the object that was given to `publish(files={name: object})`, or any joblib or pickle file."""
        return self._unpickle(self.path(name))


class Model:
    """A model in plain Python. Write `predict`, or the simpler `predict_one`; `load` runs once in each worker.

    class Pricing(Model):
        def load(self, bundle):
            self.clf = bundle.joblib("clf.joblib")

        def predict(self, rows):
            return [self.clf.price(row) for row in rows]

    publish(Pricing, files={"clf.joblib": clf}, name="pricing", version="1.0.0", examples=rows)
    """

    def load(self, bundle: Bundle) -> None:
        """Read what the model needs from its files. Called once, before any call."""

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Answer rows of any callers together: one item per row, in order; an item may be a `Refusal`.

        Rows are dicts. With a type hint, `rows: Sequence[Quote]`, they are objects of that dataclass, TypedDict, Struct
        or pydantic model, which is the schema, too.

        Take a second argument to get a `CallInfo` per row. An exception fails the calls it was part of.
        """
        return [self.predict_one(row) for row in rows]

    def predict_one(self, row: Any) -> Any:
        """Answer one row, a dict or what its type hint says; may raise `Refusal`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method predict(rows) or predict_one(row)")
