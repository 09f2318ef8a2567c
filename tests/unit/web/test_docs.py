from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise, product
from typing import Any
from urllib.parse import urlsplit

import live_models
import pytest

from cloche.web import describe, docs

BASE = "http://127.0.0.1:8000"
VOID = {"meta", "link", "input", "path", "circle", "br", "img"}
EVENT = re.compile(r"on[a-z]+")

MODELS = {
    "none": [],
    "table": [live_models.flights()],
    "ranking": [live_models.ranking()],
    "nested": [live_models.nested()],
    "wide": [live_models.wide()],
    "hostile": [live_models.hostile()],
    "all": [
        live_models.flights(),
        live_models.ranking(),
        live_models.nested(),
        live_models.wide(),
        live_models.hostile(),
    ],
}


class Parsed(HTMLParser):
    """The elements of a page in order, each with its text; fails where they are not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return ["".join(text) for name, _, text in self.elements if name == tag]

    def rows(self) -> list[list[str]]:
        """Return the cells of every row of fields."""
        found: list[list[str]] = []
        for tag, attributes, text in self.elements:
            if tag == "tr":
                found.append([])
            elif tag in ("th", "td") and attributes.get("scope") != "col":
                found[-1].append("".join(text))
        return [row for row in found if row]


def described(models: list[Any], secured: bool = False) -> list[dict[str, Any]]:
    return [describe.model(model, BASE, secured) for model in models]


def pages() -> dict[str, str]:
    made = {
        f"{name}{' secured' if secured else ''}": docs.page(described(models, secured), secured)
        for (name, models), secured in product(MODELS.items(), (False, True))
    }
    return {**made, "locked": docs.locked_page()}


PAGES = pages()
every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


# ── what others wrote stays text ──


def test_a_field_named_like_a_script_is_text() -> None:
    page = Parsed(PAGES["hostile"])
    assert [row[0] for row in page.rows()] == [live_models.SCRIPT, "'; alert(3) //", "x" * 300]
    assert page.rows()[0][5] == '"><img src=x onerror=alert(2)>{{ 7 * 7 }}'
    assert page.rows()[1][4] == 'one of "</textarea><script>alert(4)</script>"'
    assert page.rows()[2][5] == "</code></pre><script>alert(5)</script>"
    assert page.all("img") == []
    assert f"</p>{live_models.SCRIPT}" in page.texts("p")


def test_a_name_can_not_leave_its_attribute() -> None:
    (model,) = described([live_models.flights()])
    model["name"] = model["default"] = '"><script>alert(1)</script>'
    model["versions"][0]["version"] = "javascript:alert(1)/../.."
    page = Parsed(docs.page([model]))
    assert len(page.all("script")) == 1
    assert "models/%22%3E%3Cscript%3Ealert%281%29%3C/script%3E/predict" in [form["action"] for form in page.all("form")]


@every_page
def test_the_policy_finds_nothing_inline(page: str) -> None:
    elements = Parsed(page).elements
    scripts = [(attributes, "".join(text)) for tag, attributes, text in elements if tag == "script"]
    assert scripts == [({"src": "docs/docs.js", "defer": None}, "")]
    assert not [tag for tag, attributes, _ in elements if tag == "style" or "style" in attributes]
    assert not [name for _, attributes, _ in elements for name in attributes if EVENT.fullmatch(name)]


@every_page
def test_nothing_comes_from_elsewhere(page: str) -> None:
    for _, attributes, _ in Parsed(page).elements:
        for name in ("href", "src", "action", "data", "srcset"):
            parts = urlsplit(attributes.get(name) or "")
            assert parts.netloc == "", attributes
            assert parts.scheme in ("", "data"), attributes


def test_the_files_need_nothing_from_elsewhere() -> None:
    for name in docs.ASSETS:
        text = docs.asset(name)[0].decode()
        assert not re.search(r"//[a-z0-9]|@import|url\(", text), name


def test_the_script_never_makes_html_of_text() -> None:
    script = docs.asset("docs.js")[0].decode()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert sink not in script
    for kept in ("localStorage", "sessionStorage", "cookie", "indexedDB"):
        assert kept not in script


def test_the_policy_is_strict() -> None:
    policy = docs.HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert "unsafe" not in policy


# ── whoever reads it ──


@every_page
def test_every_label_has_its_field_and_every_field_its_label(page: str) -> None:
    elements = Parsed(page).elements
    labeled = [attributes["for"] for tag, attributes, _ in elements if tag == "label"]
    fields = [attributes["id"] for tag, attributes, _ in elements if tag in ("input", "textarea", "select")]
    assert sorted(labeled) == sorted(fields)


@every_page
def test_references_within_the_page_lead_somewhere(page: str) -> None:
    elements = Parsed(page).elements
    ids = [attributes["id"] for _, attributes, _ in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in elements:
        for name in ("aria-labelledby", "for", "data-copy", "data-find"):
            assert set((attributes.get(name) or "").split()) <= set(ids), attributes
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


@every_page
def test_headings_skip_no_level(page: str) -> None:
    levels = [int(tag[1]) for tag, _, _ in Parsed(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels))


@every_page
def test_what_needs_the_script_is_hidden_without_it(page: str) -> None:
    shown = [
        (tag, attributes)
        for tag, attributes, _ in Parsed(page).elements
        if tag == "form" or "data-find" in attributes or "data-copy" in attributes
    ]
    hidden = page.count("data-scripted hidden")
    assert len(shown) == hidden


def test_the_result_is_announced() -> None:
    form = PAGES["table"].split("<form data-send")[1].split("</form>")[0]
    assert form.index('role="status"') < form.index('class="result" hidden')


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colors_have_contrast(scheme: int) -> None:
    block = docs.asset("docs.css")[0].decode().split(":root {")[scheme + 1].split("}")[0]
    colors = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
    for paper, ink in product(("paper", "panel"), ("ink", "quiet", "green")):
        assert contrast(colors[paper], colors[ink]) >= 4.5, (paper, ink)
    assert contrast(colors["paper"], colors["edge"]) >= 3


# ── what it says ──


def test_a_model_is_shown_with_its_fields() -> None:
    page = Parsed(PAGES["table"])
    assert page.rows() == [
        ["carrier", "string", "required", "not null", "2 characters", "Two letters, as IATA gives them."],
        ["flight", "integer", "required", "not null", "64-bit", "Number of the flight."],
        ["origin", "string", "required", "not null", 'one of "EWR", "JFK", "LGA"', ""],
        ["distance", "number", "required", "not null", "> 0", "Miles."],
        ["dep_delay", "number", "optional", "null allowed", "", "Minutes; null before it has left."],
        ["scheduled", "date-time string", "required", "not null", "", ""],
    ]
    assert [option["value"] for option in page.all("option")] == [
        "models/flight-delay/predict",
        "models/flight-delay/versions/2.1.0/predict",
        "models/flight-delay/versions/2.0.0/predict",
    ]
    (body,) = page.texts("textarea")
    assert json.loads(body)["input"]["origin"] == "EWR"


def test_the_call_to_paste_is_the_one_that_is_described() -> None:
    (model,) = described([live_models.flights()], secured=True)
    assert model["curl"] in Parsed(PAGES["table secured"]).texts("pre")


def test_a_ranking_has_a_table_for_the_call_and_one_for_its_items() -> None:
    page = Parsed(PAGES["ranking"])
    assert [text for text in page.texts("h4") if text != "An answer"] == ["The call", "Each of items, at most 200"]
    assert [row[0] for row in page.rows()] == [
        "visitor",
        "visitor.id",
        "visitor.country",
        "month",
        "product_id",
        "price",
    ]
    (model,) = described([live_models.ranking()])
    assert model["answer"]["output"] == [{"product_id": "string", "score": 0.5}]


def test_objects_and_lists_are_followed_by_what_is_in_them() -> None:
    rows = {row[0]: row[1:] for row in Parsed(PAGES["nested"]).rows()}
    assert rows["vehicle"] == ["object", "required", "not null", "", ""]
    assert rows["vehicle.extras"] == ["list of string", "required", "not null", "", ""]
    assert rows["drivers"] == ["list of object", "required", "not null", "1 to 4 items", ""]
    assert rows["drivers[].born"] == ["date string", "required", "not null", "", ""]
    assert rows["voucher"] == ["string", "optional", "null allowed", "matches ^[A-Z]{4}[0-9]{4}$", ""]


def test_many_fields_can_be_searched() -> None:
    page = Parsed(PAGES["wide"])
    assert len(page.rows()) == 200
    assert [field["type"] for field in page.all("input")] == ["search"]
    assert Parsed(PAGES["table"]).all("input") == []


def test_with_no_model_it_says_how_to_publish_one() -> None:
    page = Parsed(PAGES["none"])
    assert page.texts("h1") == ["Nothing is live yet"]
    assert page.texts("pre")[0].startswith("from cloche import publish\n")
    assert page.all("article") == []


def test_only_a_secured_server_asks_for_a_token() -> None:
    for name, page in PAGES.items():
        asked = [field["id"] for field in Parsed(page).all("input") if field["type"] == "password"]
        assert asked == (["token"] if "secured" in name or name == "locked" else []), name


def test_the_locked_page_says_nothing_of_the_models() -> None:
    page = Parsed(PAGES["locked"])
    assert page.texts("h1") == ["This server asks for a token"]
    assert page.all("article") == page.all("pre") == []


@every_page
def test_the_other_addresses_are_named(page: str) -> None:
    links = [link["href"] for link in Parsed(page).all("a")]
    assert {"models", "openapi.json", "ready", "metrics"} <= set(links)


def test_every_file_the_page_asks_for_is_there() -> None:
    page = Parsed(PAGES["table"])
    asked = [page.all("script")[0]["src"], *[link["href"] for link in page.all("link") if link["rel"] == "stylesheet"]]
    assert sorted(asked) == sorted(f"docs/{name}" for name in docs.ASSETS)
    assert {docs.asset(name)[1] for name in docs.ASSETS} == {"text/css", "text/javascript"}
    assert all(docs.asset(name)[0] for name in docs.ASSETS)
