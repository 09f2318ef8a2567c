"""A host that wants signatures: what nobody stands for never answers, and what answered goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shop
from cloche.errors import KeyUnusable
from serving import Server, cli, publish, run, until
from signers import make_key

POLICY = """
[signatures."*"]
require = "signed"

[signers.anna]
public_key = "anna.pub"
"""
ROW = {"width": 2.0, "height": 3.0}


def version_of(server: Server) -> str:
    return str(server.predict("area", ROW).json["version"])


def want(home: Path, version: str) -> None:
    """Say once more which version is wanted: a server that waits for one tries it again within minutes by itself."""
    cli(home, "models", "default", "area", "1.0.0")
    cli(home, "models", "default", "area", version)


def test_an_unsigned_version_never_goes_live_and_the_old_one_goes_on(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    make_key(tmp_path, "anna")
    make_key(tmp_path, "eve")
    (tmp_path / "cloche.toml").write_text(POLICY)
    with pytest.raises(KeyUnusable):
        publish(home, shop.area, "area", [ROW], sign=tmp_path / "anna.pub")
    assert json.loads(cli(home, "models", "ls", "--json")) == []
    publish(home, shop.area, "area", [ROW], sign=tmp_path / "anna.key")
    with Server(home) as server:
        assert version_of(server) == "1.0.0"
        publish(home, shop.twice_the_area, "area", [ROW], "2.0.0")
        cli(home, "models", "default", "area", "2.0.0")
        until(lambda: "area 2.0.0 is not loaded: unsigned" in server.said)
        assert server.predict("area", ROW).json["output"] == 6.0
        assert server.ask("POST", "/models/area/versions/2.0.0/predict", {"input": ROW}).status == 503
        assert "2.0.0 does not load" in json.dumps(server.health()["notices"])

        cli(home, "models", "sign", "area", "2.0.0", "--key", "eve.key")
        want(home, "2.0.0")
        until(lambda: "signer not known" in server.said)
        assert version_of(server) == "1.0.0"
        refused = run(home, "models", "try", "area", "2.0.0", "--input", json.dumps(ROW))
        assert refused.returncode == 1
        assert "signer not known" in refused.stderr

        cli(home, "models", "sign", "area", "2.0.0", "--key", "anna.key")
        want(home, "2.0.0")
        until(lambda: version_of(server) == "2.0.0")
        assert server.predict("area", ROW).json["output"] == 12.0
