"""The one bridge from blocking code to asynchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def wait_for(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and return its result. In a notebook a loop runs already, so it gets a thread of its own."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="cloche") as thread:
        return thread.submit(asyncio.run, coroutine).result()
