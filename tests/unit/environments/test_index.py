from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cloche.environments.index import pip_settings, read_pip_settings, uv_environ

LISTED = r"""
:env:.find-links='/env'
global.cert='/etc/ca.pem'
global.extra-index-url='https://one/simple\nhttps://two/simple'
global.index-url='https://general/simple'
install.index-url='https://of-install/simple'
list.format='columns'
"""


def test_what_pip_prints_is_read() -> None:
    assert read_pip_settings(LISTED) == {
        "cert": "/etc/ca.pem",
        "extra-index-url": "https://one/simple\nhttps://two/simple",
        "index-url": "https://of-install/simple",
    }


def test_what_pip_was_told_is_asked_of_pip_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://team/simple\ntimeout = 7\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    found = pip_settings()
    assert (found["index-url"], found["find-links"]) == ("https://team/simple", "/one /two")


def test_where_pip_is_not_installed_its_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert pip_settings({"PIP_INDEX_URL": "https://team/simple", "HOME": "/"}) == {"index-url": "https://team/simple"}


def test_pips_indexes_are_uvs() -> None:
    pip = {
        "index-url": "https://team/simple",
        "extra-index-url": "https://one/simple\nhttps://two/simple",
        "find-links": "/wheels https://more/",
        "cert": "/etc/ca.pem",
        "timeout": "7",
    }
    found = uv_environ({"PATH": "/bin"}, pip)
    assert found["UV_DEFAULT_INDEX"] == "https://team/simple"
    assert found["UV_INDEX"] == "https://one/simple https://two/simple"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-first-match"
    assert found["UV_FIND_LINKS"] == "/wheels,https://more/"
    assert found["SSL_CERT_FILE"] == "/etc/ca.pem"


def test_what_uv_was_told_goes_before_what_pip_was() -> None:
    found = uv_environ({"UV_DEFAULT_INDEX": "https://uv/simple"}, {"extra-index-url": "https://pip/simple"})
    assert found["UV_DEFAULT_INDEX"] == "https://uv/simple"
    assert "UV_INDEX" not in found


KEPT = ["UV_INDEX_TEAM_PASSWORD", "UV_OFFLINE", "UV_CACHE_DIR", "HTTPS_PROXY", "SSL_CERT_FILE", "HOME", "PATH"]
LEFT_OUT = ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_PRERELEASE", "UV_EXCLUDE_NEWER", "UV_RESOLUTION", "UV_CONFIG_FILE"]
OF_OTHERS = ["VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PIP_CONSTRAINT", "CLOCHE_TOKEN", "AWS_SECRET_ACCESS_KEY"]


@pytest.mark.parametrize("name", KEPT)
def test_how_packages_are_reached_is_kept(name: str) -> None:
    assert uv_environ({name: "said"}, {})[name] == "said"


@pytest.mark.parametrize("name", [*LEFT_OUT, *OF_OTHERS])
def test_what_would_change_an_environment_is_left_out(name: str) -> None:
    assert name not in uv_environ({name: "said"}, {})
