"""The API page: every live model with its fields, a call to paste, and a form to try it. It needs no other host."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import cloche
from cloche.web.fields import tables_of

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = ("docs.css", "docs.js")

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""For the page and its files. Nothing inline, nothing from elsewhere, and no script can turn text into HTML."""

_TYPES = {"css": "text/css", "js": "text/javascript"}


def page(models: list[dict[str, Any]], secured: bool = False) -> str:
    """Return the page for models as `cloche.web.describe` gives them.

    Args:
        models: those that are live.
        secured: whether calls need a token, for which there is a field then.
    """
    return _render(models=models, secured=secured, locked=False)


def locked_page() -> str:
    """Return what a secured server shows without its token: a field for it, and nothing of the models.

    Its script asks for the page again with the token, since a browser can't send one when it follows a link.
    """
    return _render(models=[], secured=True, locked=True)


def asset(name: str) -> tuple[bytes, str]:
    """Return a file of the page and its media type."""
    return files("cloche.web").joinpath("pages", name).read_bytes(), _TYPES[name.rpartition(".")[2]]


def _render(**context: Any) -> str:
    return _environment().get_template("docs.html").render(**context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cloche.web", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"release": cloche.__version__, "tables_of": tables_of}
    environment.filters["pretty"] = _pretty
    return environment


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
