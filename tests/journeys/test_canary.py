"""A pickle that writes down who opens it: never the publisher, the command line, the supervisor, gateway or keeper."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import canary
import cloudpickle

from serving import CLOCHE, Server, environ, publish

ROWS = [{"x": 1.0}, {"x": 2.0}]


def test_only_workers_open_pickles(tmp_path: Path, monkeypatch, evidence) -> None:
    monkeypatch.setenv("CLOCHE_WORKERS_WRITABLE", str(tmp_path))
    home, seen = tmp_path / ".cloche", tmp_path / "seen"
    publish(home, canary.Canary(str(seen)), "object", ROWS)
    by_publishing = openers(seen)
    cli_pid = publish_file(tmp_path, home, seen)
    by_publishing_a_file = openers(seen) - by_publishing
    assert by_publishing
    assert by_publishing_a_file
    with Server(home) as server, server.caller() as caller:
        assert caller.predict("object", {"x": 4.0}).json["output"] == 8.0
        assert caller.predict("file", {"x": 4.0}).json["output"] == 8.0
        subprocess.run([*CLOCHE, "--home", str(home), "models", "ls"], env=environ(), check=True, capture_output=True)
        others = {os.getpid(), cli_pid, server.pid, server.gateway, server.keeper}
        workers = {server.worker("object"), server.worker("file")}
    found = openers(seen)
    assert workers <= found
    assert not others & found
    assert found - by_publishing - by_publishing_a_file == workers
    evidence(
        "a pickle is opened by workers alone: never by gateway, keeper, supervisor, CLI or publisher",
        "2 ways to publish, both served",
        f"opened by {len(found)} processes, all of them workers",
    )


def publish_file(folder: Path, home: Path, seen: Path) -> int:
    """Publish the canary as a file from the command line; return that process."""
    cloudpickle.register_pickle_by_value(canary)
    try:
        (folder / "canary.pkl").write_bytes(cloudpickle.dumps(canary.Canary(str(seen))))
    finally:
        cloudpickle.unregister_pickle_by_value(canary)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    command = [*CLOCHE, "--home", str(home), "models", "publish", "canary.pkl", "--examples", "rows.jsonl"]
    process = subprocess.Popen(
        [*command, "--name", "file", "--version", "1.0.0"], cwd=folder, env=environ(), stderr=subprocess.PIPE
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return process.pid


def openers(seen: Path) -> set[int]:
    return {int(line) for line in seen.read_text().splitlines()}
