from __future__ import annotations

import contextlib
import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.siblings import cells as cells_module
from cloche.siblings.cells import CHUNK_BYTES, Cells, Name, read_cells, shared_memory

NAMES = st.tuples(st.sampled_from(["calls", "ärger", ""]), st.text(max_size=12)) | st.tuples()
COUNTED = st.tuples(NAMES, st.integers(1, 4))


@given(st.lists(st.lists(COUNTED, max_size=30), max_size=4))
def test_what_is_counted_outlives_who_counts_it(lives: list[list[tuple[Name, int]]]) -> None:
    """Each life is a process that counts in the memory which the one before it left."""
    file = shared_memory()
    counted: dict[Name, list[float]] = {}
    for life in lives:
        cells = Cells(file)
        for name, size in life:
            expected = counted.setdefault(name, [0.0] * size)
            cell = cells.take(name, size)
            cell[-1] += 1
            expected[-1] += 1
        assert read_cells(file) == {name: tuple(values) for name, values in counted.items()}
    os.close(file)


@given(st.lists(COUNTED, max_size=5), COUNTED, st.lists(COUNTED, min_size=1, max_size=5))
def test_one_who_is_killed_within_an_entry_leaves_nothing_to_who_comes_after(
    before: list[tuple[Name, int]], half: tuple[Name, int], after: list[tuple[Name, int]]
) -> None:
    file = shared_memory()
    cells = Cells(file)
    for name, size in before:
        cells.take(name, size)
    known = set(read_cells(file))
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(cells_module, "_HEAD", _Dying())
        with contextlib.suppress(_Killed):
            cells.take((*half[0], "a name that is quite long"), half[1])
    cells = Cells(file)
    for name, size in after:
        if name not in known:
            assert not any(cells.take(name, size))
        known.add(name)
        assert set(read_cells(file)) == known
    os.close(file)


class _Killed(BaseException):
    """Stands for SIGKILL."""


class _Dying:
    size = cells_module._HEAD.size

    def pack_into(self, *_: object) -> None:
        raise _Killed


def test_memory_grows_with_what_is_counted() -> None:
    file = shared_memory()
    cells = Cells(file)
    names = [("calls", "m" * 50, str(number)) for number in range(3000)]
    for number, name in enumerate(names):
        cells.take(name)[0] = number
    assert os.fstat(file).st_size > 3 * CHUNK_BYTES
    assert [cell for (cell,) in read_cells(file).values()] == list(range(3000))
    assert [name for name, _ in Cells(file)] == names
    os.close(file)


@pytest.mark.skipif(not hasattr(fcntl, "F_ADD_SEALS"), reason="the system has no memory that can't grow")
def test_what_there_is_no_room_for_is_counted_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    file = os.memfd_create("full", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    cells = Cells(file)
    cells.take(("calls",))[0] += 1
    cells.take(("calls",))[0] += 1
    assert cells.take(("calls",))[0] == 2
    assert "ends with it" in caplog.text
    assert read_cells(file) == {}
    os.close(file)


def test_a_name_beyond_measure_is_counted_apart() -> None:
    cells = Cells()
    cells.take(("x" * CHUNK_BYTES,), 2)[1] += 1
    assert list(cells.take(("x" * CHUNK_BYTES,))) == [0.0, 1.0]
