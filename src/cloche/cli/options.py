"""Commands that share their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def command_with(*options: Decorator) -> Callable[[Callable[..., Any]], click.Command]:
    """Return what makes a command of a function, with these options in this order before its own."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for option in reversed(options):
            function = option(function)
        return click.command(function)

    return decorate
