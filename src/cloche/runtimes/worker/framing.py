"""Frames and arrays, for those who mostly have neither: numpy and pandas are imported when the first one is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloche.runtimes.worker.manifest import Column


def frame_builder(columns: Sequence[Column]) -> Callable[[Sequence[Mapping[str, Any]]], Any]:
    """Return what makes rows in JSON form a DataFrame of these columns; see `FrameBuilder.frame`."""
    from cloche.runtimes.worker.frames import FrameBuilder

    return FrameBuilder(columns).frame


def array_builder(columns: Sequence[Column]) -> Callable[[Sequence[Mapping[str, Any]]], Any]:
    """Return what makes rows in JSON form an array of these columns; see `FrameBuilder.array`."""
    from cloche.runtimes.worker.frames import FrameBuilder

    return FrameBuilder(columns).array


def describe_frame(data: Any, training: Any = None) -> dict[str, Any]:
    """Return the frame contract of a DataFrame or array in JSON form; see `frames.describe_frame`."""
    from cloche.runtimes.worker import frames

    return frames.describe_frame(data, training)


def rows_to_json(data: Any, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return each row of a DataFrame or array as a JSON object; see `frames.rows_to_json`."""
    from cloche.runtimes.worker import frames

    return frames.rows_to_json(data, columns)
