"""Files of one line an inference: JSON Lines and CSV. They grow at their end, and are cut back to go on."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from cloche.errors import ExportDamaged
from cloche.log.filters import read_moment
from cloche.log.reading import timestamp, to_json
from cloche.log.table import COLUMNS, PERSONAL, Column, row_of
from cloche.values import ExportedRow, Record

_encode = msgspec.json.Encoder().encode

_TAKEN_FOR_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARKED = (*_TAKEN_FOR_FORMULAS, "'")


class LinesFile:
    """Keeps the promise `TableFile`; a mark is a number of bytes. Derive from it, and say how records are lines."""

    head = b""
    """Before the first record."""

    def __init__(self, folder: Path) -> None:
        self.whole = folder / "lines"

    async def rewind(self, mark: int) -> None:
        """Cut it back.

        Raises:
            ExportDamaged: it is not that long.
        """
        await asyncio.to_thread(self._rewind, mark)

    async def add(self, records: Sequence[Record]) -> int:
        """Add lines; return the size."""
        return await asyncio.to_thread(self._add, self.lines(records))

    async def finish(self) -> None:
        """Leave it as it is."""

    def lines(self, records: Sequence[Record]) -> bytes:
        """Return records as lines."""
        raise NotImplementedError

    def _rewind(self, mark: int) -> None:
        with self.whole.open("ab") as file:
            if file.tell() < mark:
                raise ExportDamaged(folder=self.whole.parent)
            file.truncate(mark)
        if mark < len(self.head):
            self._add(self.head)

    def _add(self, lines: bytes) -> int:
        with self.whole.open("ab") as file:
            file.write(lines)
            _sync(file)
            return file.tell()


class JsonLinesFile(LinesFile):
    """One JSON object a line, as `cloche log query --json` prints it."""

    @staticmethod
    def erase(file: Path, draft: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        """Write a draft of a file with nothing but envelopes of the rows that are meant; return how many it had."""
        erased = 0
        with file.open("rb") as lines, draft.open("wb") as kept:
            for line in lines:
                row: dict[str, Any] = msgspec.json.decode(line)
                if not row.get("erased") and is_meant(_exported(row)):
                    erased += 1
                    row = {name: value for name, value in row.items() if name not in PERSONAL} | {"erased": True}
                    kept.write(_encode(row) + b"\n")
                else:
                    kept.write(line)
            _sync(kept)
        return erased

    def lines(self, records: Sequence[Record]) -> bytes:
        """Return records as lines."""
        return b"".join(_encode(to_json(record)) + b"\n" for record in records)


class CsvFile(LinesFile):
    """Comma-separated values in UTF-8 with a head: the columns of `cloche.log.table`, JSON text where one has parts.

    Callers choose what text begins with, and spreadsheets run what looks like a formula: such text has an apostrophe in
    front, and so has text that begins with one. Numbers and JSON need none. Lines end with CR LF, as RFC 4180 has it:
    the writer quotes no other line breaks than those it ends lines with.
    """

    head = (",".join(column.name for column in COLUMNS) + "\r\n").encode()

    @staticmethod
    def erase(file: Path, draft: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        """Write a draft of a file with nothing but envelopes of the rows that are meant; return how many it had."""
        erased = 0
        with _any_length(), file.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            with draft.open("w", newline="", encoding="utf-8") as kept:
                writer = csv.DictWriter(kept, rows.fieldnames or ())
                writer.writeheader()
                for row in rows:
                    meant = row["erased"] != "true" and is_meant(
                        _exported(row | {"subject": _unmarked(row["subject"])})
                    )
                    erased += meant
                    gone = dict.fromkeys(PERSONAL & row.keys(), "") | {"erased": "true"}
                    writer.writerow(row | gone if meant else row)
                _sync(kept)
        return erased

    def lines(self, records: Sequence[Record]) -> bytes:
        """Return records as lines."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        for record in records:
            row = row_of(record)
            writer.writerow([_cell(column, row[column.name]) for column in COLUMNS])
        return text.getvalue().encode()


@contextmanager
def _any_length() -> Iterator[None]:
    """Let a field be as long as a record may be; the reader of CSV has a limit for all who use it.

    Raises:
        ValueError: the file is no CSV.
    """
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    except csv.Error as error:
        raise ValueError(str(error)) from None
    finally:
        csv.field_size_limit(before)


def _exported(row: Mapping[str, Any]) -> ExportedRow:
    return ExportedRow(row["id"], row["model"], read_moment(row["time"]), row.get("subject") or None)


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _cell(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.kind == "time":
        return timestamp(value)
    if column.kind == "flag":
        return "true" if value else "false"
    if column.kind in ("labels", "exposure"):
        return _encode(value).decode() if value else None
    return _marked(value) if column.kind == "text" else value


def _marked(text: str) -> str:
    """Return text as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_MARKED) else text


def _unmarked(cell: str) -> str:
    """Return the text of a cell. In files of an earlier Cloche a name may begin with an apostrophe that is its own."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_MARKED) else cell
