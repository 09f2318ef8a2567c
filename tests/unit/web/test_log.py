"""The inference log on the keeper's port."""

from __future__ import annotations

import json
import time
import uuid

import httpx
import jsonschema_rs
import pytest

from cloche.assembly.keeper import KeeperParts
from cloche.drivers import open_objects
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.filters import ASKED
from cloche.log.reading import to_json
from cloche.registry.catalog import Registry
from cloche.settings import Log, Settings, Token
from cloche.testing import make_record
from cloche.values import Personal
from cloche.web import log as pages
from cloche.web.control import keeper_app

RECORDS = [
    *(make_record(number, model=f"m{number % 2}", labels={"market": "de", "n": str(number)}) for number in range(30)),
    make_record(40, Personal("ann", failure="Traceback …"), outcome="model_failed", hurried=True),
]


@pytest.fixture
async def client(tmp_path):
    """Return a function that opens the keeper of a log with `RECORDS`."""
    sink = SqliteSink(tmp_path / "log.db")
    await sink.write(RECORDS)
    await sink.close()
    clients = []

    def opened(settings=None, token=None):
        registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
        settings = settings or Settings()
        log = SqliteReader(tmp_path / "log.db", settings.log.query_timeout_ms)
        others = dict.fromkeys(KeeperParts.__dataclass_fields__)
        app = keeper_app(KeeperParts(**(others | {"registry": registry, "log": log})), settings)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002", headers=headers))
        return clients[-1]

    yield opened
    for each in clients:
        await each.aclose()


async def test_pages_lead_to_all_that_fits_newest_first(client):
    keeper = client()
    expected = [to_json(record) for record in RECORDS if record.model == "m1"][::-1]
    query = {"model": "m1", "since": "2026-01-01T00:00:00Z", "label": "market=de", "limit": "4"}
    found, address = [], f"/log?{httpx.QueryParams(query)}"
    while address:
        answer = await keeper.get(address)
        assert answer.status_code == 200
        assert answer.json()["stopped"] is None
        found += answer.json()["inferences"]
        address = answer.links["next"]["url"] if answer.json()["next"] else None
    assert found == expected
    after = (await keeper.get("/log", params=query)).json()["next"]
    assert (await keeper.get("/log", params={**query, "after": after})).json()["inferences"] == expected[4:8]


async def test_lines_for_programs(client):
    answer = await client().get("/log", params={"limit": 3}, headers={"accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in answer.text.splitlines()] == [to_json(record) for record in RECORDS[:-4:-1]]
    following = await client().get(answer.links["next"]["url"])
    assert following.json()["inferences"][0] == to_json(RECORDS[-4])


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"input": "/number<10"}, 10),
        ({"input": ["/number<10", "/number>=5"]}, 5),
        ({"input": "/number<10", "output": "/label=3"}, 1),
        ({"label": ["market=de", "n=7"]}, 1),
        ({"failed": "true"}, 1),
        ({"failed": "false"}, 31),
        ({"hurried": "true", "subject": "ann", "kind": "live", "release": "1"}, 1),
        ({"hurried": "false"}, 30),
        ({"min_ms": "0.015"}, 31),
        ({"max_ms": "0.015"}, 0),
        ({"since": "1s"}, 0),
        ({"since": "0001-01-01T00:00:00+23:59", "until": "9999-12-31T23:59:59-23:59"}, 31),
        ({"output": "/label=3", "model": "m0"}, 0),
    ],
)
async def test_filters(client, query, count):
    assert len((await client().get("/log", params={**query, "limit": "100"})).json()["inferences"]) == count


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"modle": "m"}, "did you mean model?"),
        ({"x" * 70: "m"}, "those known are model"),
        ({"since": "yesterday"}, "3d"),
        ({"since": "2026-01-01T00:00:00"}, "time zone"),
        ({"until": ""}, "no time"),
        ({"since": "2026-01-01T00:00:00 02:00"}, "%2B"),
        ({"limit": "0"}, "at least 1"),
        ({"limit": "many"}, "at least 1"),
        ({"after": "somewhere"}, "page before"),
        ({"input": "number=1"}, "did you mean /number?"),
        ({"label": "market"}, "market=de"),
        ({"kind": "dead"}, "live, shadow, history"),
        ({"failed": "yes"}, "neither true nor false"),
        ({"release": "one"}, "release"),
        ({"min_ms": "nan"}, "milliseconds"),
        ({"shadows": "1"}, "no id"),
        ({"model": ["a", "b"]}, "more than once"),
    ],
)
async def test_what_can_not_be_asked_for_is_said(client, query, said):
    answer = await client().get("/log", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert said in answer.json()["detail"]


async def test_one_by_its_id_or_that_of_a_row(client):
    keeper = client()
    name = str(uuid.UUID(bytes=RECORDS[3].id))
    for each in (name, f"{name}.0"):
        assert (await keeper.get(f"/log/{each}")).json() == to_json(RECORDS[3])
    missing = await keeper.get(f"/log/{uuid.uuid4()}")
    assert (missing.status_code, missing.json()["code"]) == (404, "inference_not_found")
    assert "/" not in missing.json()["detail"]
    assert (await keeper.get("/log/7")).status_code == 400


async def test_a_page_holds_no_more_than_an_answer_should(client, monkeypatch):
    monkeypatch.setattr(pages, "_PAGE_BYTES", 3 * len(RECORDS[0].personal) - 1)
    keeper = client()
    first = (await keeper.get("/log", params={"model": "m0"})).json()
    assert len(first["inferences"]) == 3
    second = (await keeper.get("/log", params={"model": "m0", "after": first["next"]})).json()
    assert second["inferences"][0] == to_json(RECORDS[22])


async def test_a_search_that_takes_too_long_says_how_far_it_came(client, monkeypatch):
    monkeypatch.setattr("cloche.log.search._PAGE", 10)
    keeper = client(Settings(log=Log(query_timeout_ms=1)))

    async def slow(self, wanted, limit, before=None):
        time.sleep(0.002)
        return await find(self, wanted, limit, before)

    find = SqliteReader.find
    monkeypatch.setattr(SqliteReader, "find", slow)
    page = (await keeper.get("/log", params={"input": "/number=0"})).json()
    assert (page["inferences"], page["stopped"]) == ([], to_json(RECORDS[-10])["time"])
    while page["next"]:
        page = (await keeper.get("/log", params={"input": "/number=0", "after": page["next"]})).json()
    assert [each["input"] for each in page["inferences"]] == [{"number": 0}]


async def test_the_log_needs_the_permission_to_look_back(client):
    tokens = {"ci": Token(secret="rose", may=("manage",)), "audit": Token(secret="tulip", may=("history",))}
    settings = Settings(tokens=tokens)
    for address in ("/log", "/log/x", "/log?limit=1"):
        refused = await client(settings, "rose").get(address)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await client(settings).get(address)).status_code == 401
    assert (await client(settings, "tulip").get("/log")).status_code == 200
    assert (await client(settings, "rose").get("/releases")).status_code == 200


async def test_the_description_knows_every_parameter_and_its_answers(client):
    keeper = client()
    document = (await keeper.get("/openapi.json")).json()
    operation = document["paths"]["/log"]["get"]
    assert [each["name"] for each in operation["parameters"]] == [*(each.name for each in ASKED), "limit", "after"]
    assert {"403", "422"} <= operation["responses"].keys()
    assert operation["responses"]["200"]["content"].keys() == {"application/json", "application/x-ndjson"}
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for(schema).validate((await keeper.get("/log", params={"limit": 2})).json())
