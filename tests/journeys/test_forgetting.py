"""Somebody is forgotten: afterwards nobody finds a byte of them in anything that Cloche keeps, but for what is held."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from pathlib import Path

import psycopg
import pytest

import shop
import stores
from cloche.drivers import open_objects
from postgres import Postgres
from serving import PROVE, Answer, Caller, Server, publish, run

PEOPLE = 100 if PROVE else 4
ROOMS = ("erasures", "releases", "models", "blobs")
RECYCLED = "pg_wal"
"""What PostgreSQL writes over by itself, in its own time."""


class Person:
    """Somebody with a name and a secret that are nowhere else."""

    def __init__(self) -> None:
        self.name, self.secret = (f"{kind}-{secrets.token_hex(8)}" for kind in ("person", "secret"))

    @property
    def needles(self) -> tuple[bytes, bytes]:
        return self.name.encode(), self.secret.encode()

    def calls(self, caller: Caller) -> list[Answer]:
        """Be answered, also with a key; and fail, with a traceback and something printed that quote the secret."""
        key = f"key-{self.name}"
        return [
            caller.predict("obedient", shop.order(do="echo", note=self.secret), Cloche_Subject=self.name),
            caller.predict(
                "obedient", shop.order(do="echo", note=self.secret), Cloche_Subject=self.name, Idempotency_Key=key
            ),
            caller.predict("obedient", shop.order(do="fail", note=self.secret), Cloche_Subject=self.name),
            caller.predict("obedient", shop.order(do="mutter", note=self.secret), Cloche_Subject=self.name),
        ]


def files_with(needles: list[bytes], *roots: Path, but: str = "") -> list[str]:
    """Return the files below some folders in which one of these is, and which."""
    found = []
    for path in sorted(path for root in roots for path in root.rglob("*") if path.is_file()):
        if but not in path.parts:
            with contextlib.suppress(FileNotFoundError):  # what is gone by now has nobody in it
                data = path.read_bytes()
                found += [f"{path}: {needle.decode()}" for needle in needles if needle in data]
    return found


async def objects_with(url: str, needles: list[bytes]) -> list[str]:
    """Return the objects of a bucket in which one of these is."""
    store, found = open_objects(url), []
    for room in ROOMS:
        async for key in store.list(room):
            data = await store.get(key) or b""
            found += [key for needle in needles if needle in data or needle in key.encode()]
    return found


def forget(home: Path, subject: str, *more: str, **variables: str) -> tuple[int, dict]:
    done = run(
        home, "log", "forget", "--subject", subject, "--reason", "ticket 12", "--yes", "--json", *more, **variables
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def said(home: Path, *arguments: str, **variables: str) -> str:
    """Run a command that must succeed."""
    done = run(home, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_nothing_is_found_of_who_was_forgotten_but_what_is_held(
    tmp_path: Path, postgres: Postgres, s3: stores.S3, bucket: str, database: str, evidence
) -> None:
    home = tmp_path / ".cloche"
    address = tmp_path / "address"
    address.write_text(f"{database}?sslpassword=hush")
    (tmp_path / "cloche.toml").write_text(f'registry = "{bucket}"\n[log]\nsinks = ["file:{address}", "sqlite"]\n')
    variables = stores.variables(s3.port)
    everybody = [Person() for _ in range(PEOPLE + 2)]
    held, stays, *forgotten = everybody
    examples = [shop.OBEDIENT, shop.order(do="echo", note=forgotten[0].name)]
    publish(home, shop.Obedient, "obedient", examples, golden="schema")
    with Server(home, **variables) as server:
        with server.caller() as caller:
            answers = [answer for person in everybody for answer in person.calls(caller)]
        assert {answer.status for answer in answers} == {200, 500}
        exports = [tmp_path / f"all.{kind}" for kind in ("jsonl", "csv", "parquet")]
        for file in exports:
            assert run(home, "log", "export", "--out", str(file), **variables).returncode == 0
        needles = [needle for person in forgotten for needle in person.needles]
        before = files_with(needles[:2], tmp_path, postgres.folder)
        assert len(before) > len(exports) * 2 + 3, "it was there before"
        said(home, "log", "hold", "--subject", held.name, "--reason", "case 3", **variables)
        for person in forgotten:
            status, report = forget(home, person.name, **variables)
            assert (status, report["done"], report["erased"]) == (0, True, 4), report
            assert "VACUUM" not in str(report), report
        status, report = forget(home, held.name, **variables)
        assert (status, report["order"], report["held"][0]["reason"]) == (1, None, "case 3")
        with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
            connection.execute("checkpoint")
        assert files_with(needles, tmp_path, postgres.folder, but=RECYCLED) == []
        assert asyncio.run(objects_with(bucket, needles)) == []
        for person in (held, stays):
            lines = said(home, "log", "query", "--subject", person.name, "--json", **variables).splitlines()
            assert len(lines) == 4
            assert all(person.secret in line for line in lines)
        shown = said(home, "log", "show", answers[4 * 2].json["id"], **variables)
        assert "ticket 12" in shown
        assert json.loads(said(home, "log", "verify", "--json", **variables))["ok"]
    said(home, "registry", "verify", **variables)
    with Server(home, **variables) as again:
        assert again.predict("obedient", shop.OBEDIENT).status == 200, "it is loaded without its examples"
    evidence("forget: bytes of people found in home, PostgreSQL, exports and bucket", f"{len(forgotten)} people", "0")
