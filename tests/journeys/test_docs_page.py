"""The API page in a real browser: what is seen, sent and refused there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import chromium
import live_models
import pytest
from prometheus_client import CollectorRegistry

from cloche.gateway.loaded import LoadedModel
from cloche.processes.http import http_server
from cloche.settings import Settings
from cloche.web.app import gateway_app
from cloche.web.health import HealthState

BROWSER = chromium.installed()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here: apt-get install chromium")

SENT = "!document.querySelector('.result').hidden"


@contextmanager
def serving(*models: LoadedModel, token: str | None = None) -> Iterator[str]:
    """Serve models from a thread and give the server's address."""
    settings = Settings(token=token)
    health = SimpleNamespace(state=lambda: HealthState(True, [], []))
    server = http_server(gateway_app(live_models.gateway(*models), health, CollectorRegistry(), settings), settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    assert BROWSER is not None
    started = chromium.Browser(BROWSER, tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


@pytest.fixture
def page(browser: chromium.Browser) -> Iterator[chromium.Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


@pytest.fixture
def show(page: chromium.Page) -> Iterator[Callable[..., str]]:
    """Return what serves models, opens their page and gives the server's address."""
    with ExitStack() as servers:

        def serve(*models: LoadedModel, token: str | None = None) -> str:
            base = servers.enter_context(serving(*models, token=token))
            page.open(f"{base}/docs")
            return base

        yield serve


def send(page: chromium.Page, body: str | None = None) -> str:
    """Send the first form, perhaps with another body, and return the answer as it is shown."""
    if body is not None:
        page.run(f"document.querySelector('[data-send] textarea').value = {json.dumps(body)}")
    page.run("document.querySelector('[data-send] button').click()")
    page.wait_for(SENT)
    shown: str = page.run("document.querySelector('.result code').textContent")
    return shown


def text(page: chromium.Page, selector: str) -> str:
    found: str = page.run(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


def test_a_call_is_sent_and_its_answer_shown(page: chromium.Page, show: Callable[..., str]) -> None:
    base = show(live_models.flights())
    shown = send(page)
    answer = json.loads(shown)
    assert answer["output"]["label"] == "on time"
    assert '"count": 9007199254740993' in shown  # which a number of JavaScript can't hold
    assert shown.startswith('{\n  "id": ')
    assert text(page, "[data-status]") == "200 OK"
    assert text(page, "[data-id]") == answer["id"]
    assert text(page, "[data-timing]").startswith("choose 0.")
    assert text(page, "[data-send] [role=status]").startswith("200 OK, after ")
    assert page.complaints == []
    assert {url.partition(":")[0] for url in page.requested if not url.startswith(base)} <= {"data"}


def test_the_version_that_is_picked_answers(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.flights())
    page.run("document.querySelector('[data-version]').selectedIndex = 2")
    assert json.loads(send(page))["version"] == "2.0.0"


def test_faults_are_shown_as_they_are_answered(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.flights())
    problem = json.loads(send(page, '{"input": {"carrier": "AA"'))
    assert problem["code"] == "invalid_json"
    assert text(page, "[data-status]").startswith("400 ")
    assert page.run("document.querySelector('.result').classList.contains('failed')")
    assert page.run("document.querySelector('[data-timing]').parentElement.hidden")


def test_a_server_that_is_gone_is_said(page: chromium.Page) -> None:
    with serving(live_models.flights()) as base:
        page.open(f"{base}/docs")
    page.run("document.querySelector('[data-send] button').click()")
    page.wait_for("document.querySelector('[data-send] [role=status]').textContent.startsWith('No answer')")


def test_what_others_wrote_is_never_run(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.hostile())
    assert page.run("document.scripts.length") == 1
    assert page.run("document.images.length") == 0
    assert json.loads(send(page))["output"] == live_models.SCRIPT
    assert page.run("document.scripts.length") == 1
    assert page.complaints == []


def test_the_policy_is_in_force(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.flights())
    style = "Object.assign(document.createElement('style'), {textContent: 'body {color: red}'})"
    page.run(f"document.body.append({style})")
    page.run("fetch('https://example.com/').catch(() => 0)")
    said = "\n".join(page.complaints)
    assert "Content Security Policy directive 'style-src 'self''" in said
    assert "https://example.com/. Refused to connect because it violates" in said
    html = "try { document.body.innerHTML = '<p>' } catch (error) { error.message }"
    assert "requires 'TrustedHTML'" in page.run(html)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 640, 1280])
def test_nothing_is_wider_than_the_window(
    page: chromium.Page, show: Callable[..., str], scheme: str, width: int
) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    makers = ("flights", "ranking", "nested", "wide", "hostile")
    show(*[getattr(live_models, make)() for make in makers])
    assert page.run("document.documentElement.scrollWidth") <= width
    beyond = "e => e.getBoundingClientRect().right > innerWidth"
    assert page.run(f"[...document.querySelectorAll('main *')].filter({beyond}).length") == 0
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(251, 250, 245)") is (scheme == "light")


def test_a_narrow_table_is_still_a_table(page: chromium.Page, show: Callable[..., str]) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=800, deviceScaleFactor=1, mobile=False)
    show(live_models.flights())
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
    assert roles.count("table") == 1
    assert roles.count("columnheader") == 6
    assert roles.count("rowheader") == 6
    assert roles.count("cell") == 30
    for node in nodes:
        if node.get("role", {}).get("value") in ("button", "textbox", "combobox", "link", "table", "article"):
            assert node["name"]["value"].strip(), node


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.flights())
    reached = []
    for _ in range(20):
        page.press_tab()
        reached.append(page.run("document.activeElement.localName"))
        style = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none" or reached[-1] == "body", reached
    assert {"a", "pre", "button", "select", "textarea"} <= set(reached)


def test_it_can_be_read_without_its_script(page: chromium.Page, show: Callable[..., str]) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    show(live_models.flights())
    visible = "[...document.querySelectorAll('{}')].filter(e => e.offsetParent).length"
    assert page.run(visible.format("table tbody tr")) == 6
    assert page.run(visible.format("pre")) == 2
    assert page.run(visible.format("form, button")) == 0
    assert page.run(visible.format("noscript")) == 1


def test_a_field_is_found_among_many(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.wide())
    page.run("document.querySelector('[data-find]').focus()")
    page.call("Input.insertText", text="FEATURE_19")
    assert page.run("[...document.querySelectorAll('tbody tr')].filter(e => e.offsetParent).length") == 10
    assert text(page, ".find [role=status]") == "10 of 200"


def test_the_call_is_copied(page: chromium.Page, show: Callable[..., str]) -> None:
    base = show(live_models.flights())
    page.grant(base, "clipboardReadWrite", "clipboardSanitizedWrite")
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    page.run("document.querySelector('[data-copy]').click()")
    page.wait_for("document.querySelector('.copy [role=status]').textContent")
    assert text(page, ".copy [role=status]") == "Copied"
    assert page.run("navigator.clipboard.readText()") == text(page, "pre")


def test_the_call_is_selected_where_it_can_not_be_copied(page: chromium.Page, show: Callable[..., str]) -> None:
    show(live_models.flights())
    page.run("navigator.clipboard.writeText = () => Promise.reject(new Error('http on another host'))")
    page.run("document.querySelector('[data-copy]').click()")
    page.wait_for("document.querySelector('.copy [role=status]').textContent.startsWith('Selected')")
    assert page.run("getSelection().toString()").strip() == text(page, "pre").strip()


def unlock(page: chromium.Page, token: str) -> None:
    page.run(f"document.querySelector('#token').value = {json.dumps(token)}")
    page.run("document.querySelector('[data-open] button').click()")


def test_a_secured_server_shows_its_models_for_the_token(page: chromium.Page, show: Callable[..., str]) -> None:
    base = show(live_models.flights(), token="rosebud")
    assert text(page, "h1") == "This server asks for a token"
    assert "flight-delay" not in page.run("document.documentElement.outerHTML")
    unlock(page, "rosebud")
    page.wait_for("document.querySelector('article')")
    assert text(page, "h1") == "One model is live"
    assert "Your token is read from CLOCHE_TOKEN" in text(page, "main")
    assert json.loads(send(page))["model"] == "flight-delay"
    page.open(f"{base}/docs")
    assert text(page, "h1") == "This server asks for a token"
    assert page.run("[document.querySelector('#token').value, localStorage.length, document.cookie]") == ["", 0, ""]


@pytest.mark.parametrize(
    ("token", "said"),
    [("tulip", "That token is not accepted."), ("rösebud\U0001f339", "A header can't hold that token.")],
)
def test_another_token_opens_nothing(page: chromium.Page, show: Callable[..., str], token: str, said: str) -> None:
    show(live_models.flights(), token="rosebud")
    unlock(page, token)
    page.wait_for(f"document.querySelector('.token [role=status]').textContent === {json.dumps(said)}")
    assert page.run("document.querySelectorAll('article').length") == 0
