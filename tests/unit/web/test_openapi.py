"""The OpenAPI document: whole, true to what is answered, and open to tools that read it strictly."""

from __future__ import annotations

import json

import jsonschema_rs
import msgspec
import pytest

from cloche.errors import Overloaded, SchemaMismatch
from cloche.registry.bundle import Column, Each
from cloche.schema import compile_schema, infer, infer_ranking
from cloche.web.openapi import Described, document
from cloche.web.problems import STATUS, problem

ROW = compile_schema(
    infer([Column("mean radius", "float64", "number", nullable=False), Column("at", "str", "datetime")])
).schema
EACH = Each("/items", "product_id", max_items=7)
RANKING = infer_ranking(
    [Column("visitor", "str", "string")], [Column("price", "float64", "number", nullable=False)], EACH
)
TREE = {
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "v": {"type": "number"}}}},
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/Node"}},
    "required": ["tree"],
}
MODELS = [
    Described(model="cancer", version="1.0.0", default=False, input_schema=ROW),
    Described(
        model="cancer",
        version="2.0.0-rc.1",
        default=True,
        input_schema=ROW,
        output_schema={"type": "object", "properties": {"label": {"type": "integer"}}, "required": ["label"]},
        description="Benign or not.",
    ),
    Described(
        model="ranking",
        version="1.0.0",
        default=True,
        input_schema=compile_schema(RANKING, each=EACH).schema,
        each=EACH,
    ),
    Described(model="tree", version="0.1.0", default=True, input_schema=TREE),
]


@pytest.fixture(scope="module")
def page():
    return document(MODELS, "1.2.3")


def walk(node):
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


def resolved(page, reference):
    for part in reference.removeprefix("#/").split("/"):
        page = page[part]
    return page


def validator(page, schema):
    return jsonschema_rs.validator_for({"components": page["components"], **schema}, validate_formats=True)


def request_of(page, address):
    return page["paths"][address]["post"]["requestBody"]["content"]["application/json"]


def answer_of(page, address):
    return page["paths"][address]["post"]["responses"]["200"]["content"]["application/json"]["schema"]


def test_every_address_is_there(page):
    assert page["openapi"] == "3.1.0"
    assert page["info"]["version"] == "1.2.3"
    assert {f"{method} {address}" for address, methods in page["paths"].items() for method in methods} == {
        "post /models/cancer/predict",
        "post /models/cancer/versions/1.0.0/predict",
        "post /models/cancer/versions/2.0.0-rc.1/predict",
        "post /models/ranking/predict",
        "post /models/ranking/versions/1.0.0/predict",
        "post /models/tree/predict",
        "post /models/tree/versions/0.1.0/predict",
        "post /predict",
        "get /models",
        "get /models/{model}",
        "get /models/{model}/versions/{version}",
        "get /live",
        "get /ready",
        "get /metrics",
    }


def test_every_operation_is_told_apart(page):
    ids = [operation["operationId"] for methods in page["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(page):
    references = [node["$ref"] for node in walk(page) if isinstance(node, dict) and isinstance(node.get("$ref"), str)]
    assert len(references) > 50
    for reference in references:
        assert resolved(page, reference) is not None


def test_every_schema_is_one(page):
    schemas = [node["schema"] for node in walk(page["paths"]) if isinstance(node, dict) and "schema" in node]
    assert len(schemas) > 20
    for schema in [*schemas, *page["components"]["schemas"].values()]:
        validator(page, schema)


def test_every_problem_is_described_with_its_codes(page):
    responses = page["paths"]["/models/cancer/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "404", "409", "413", "415", "422", "500", "503", "504"}
    for status, response in responses.items():
        if status != "200":
            described = resolved(page, response["$ref"])
            assert list(described["content"]) == ["application/problem+json"]
            for error, known in STATUS.items():
                assert (error.code in described["description"]) == (str(known) == status)
    assert len(page["components"]["responses"]) == len(set(STATUS.values()))


@pytest.mark.parametrize(
    "error",
    [
        SchemaMismatch(model="m", version="1.0.0", faults=[{"pointer": "/input/a", "code": "type", "message": "no"}]),
        Overloaded(model="m", version="1.0.0"),
    ],
)
def test_problems_are_as_they_are_described(page, error):
    _, _, body = problem(error)
    assert validator(page, {"$ref": "#/components/schemas/Problem"}).is_valid(msgspec.json.decode(body))


@pytest.mark.parametrize("address", ["/models/cancer/predict", "/models/ranking/predict", "/models/tree/predict"])
def test_the_example_of_each_request_is_valid(page, address):
    request = request_of(page, address)
    assert validator(page, request["schema"]).is_valid(request["example"])


def test_requests_are_judged_as_the_gateway_does(page):
    judge = validator(page, request_of(page, "/models/cancer/predict")["schema"])
    row = {"mean radius": 1.5}
    for body in ({"input": row}, {"inputs": [row, row]}, {"input": row, "subject": "c", "parameters": {"a": 1}}):
        assert judge.is_valid(body)
        compile_schema(ROW).read(json.dumps(body).encode())
    for body in (
        {},
        {"input": row, "inputs": [row]},
        {"inputs": []},
        {"input": {}},
        {"input": row, "x": 1},
        {"input": row | {"y": 1}},
    ):
        assert not judge.is_valid(body)
        with pytest.raises(SchemaMismatch):
            compile_schema(ROW).read(json.dumps(body).encode())


def test_a_version_is_named_where_it_can_be(page):
    named = {"input": {"mean radius": 1.5}, "version": "1.0.0"}
    assert not validator(page, request_of(page, "/models/cancer/predict")["schema"]).is_valid(named)
    assert validator(page, request_of(page, "/models/cancer/versions/1.0.0/predict")["schema"]).is_valid(named)
    assert validator(page, request_of(page, "/predict")["schema"]).is_valid(named | {"model": "cancer"})


def test_a_schema_that_contains_itself_keeps_its_own_root(page):
    judge = validator(page, request_of(page, "/models/tree/predict")["schema"])
    assert judge.is_valid({"input": {"tree": {"next": {"v": 1}}}})
    assert not judge.is_valid({"input": {"tree": {"next": {"v": "x"}}}})


HEAD = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "model": "cancer",
    "version": "2.0.0-rc.1",
    "release": 3,
    "variant": None,
}


@pytest.mark.parametrize(
    ("more", "valid"),
    [
        ({"output": {"label": 1}}, True),
        ({"outputs": [{"label": 1}, None], "refusals": [{"row": 1, "code": "x", "message": "y"}]}, True),
        ({"output": None, "refusal": {"code": "x", "message": "y", "path": "/a"}}, True),
        ({"output": {"label": 1}, "fallback": {"reason": "deadline_exceeded", "answered_by": "1.0.0"}}, True),
        ({"output": {"label": "1"}}, False),
        ({}, False),
        ({"output": {"label": 1}, "outputs": []}, False),
        ({"output": {"label": 1}, "version": "1.0.0"}, False),
        ({"output": None, "refusal": {"message": "y"}}, False),
    ],
)
def test_answers_are_as_they_are_described(page, more, valid):
    assert validator(page, answer_of(page, "/models/cancer/predict")).is_valid(HEAD | more) == valid
    assert validator(page, answer_of(page, "/predict")).is_valid(HEAD | {"output": 1})


def test_a_ranking_answers_its_items_in_order(page):
    head = HEAD | {"model": "ranking", "version": "1.0.0"}
    judge = validator(page, answer_of(page, "/models/ranking/predict"))
    assert judge.is_valid(head | {"output": [{"product_id": 5, "score": 0.5}, {"product_id": "x", "score": None}]})
    assert not judge.is_valid(head | {"output": [{"score": 0.5}]})
    items = page["components"]["schemas"]["ranking-1.0.0.input"]["properties"]["items"]
    assert items["maxItems"] == 7


def test_a_token_is_asked_for_where_one_is_set(page):
    assert "securitySchemes" not in page["components"]
    secured = document(MODELS, "1.2.3", secured=True)
    assert secured["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    for address, methods in secured["paths"].items():
        for operation in methods.values():
            needed = address not in ("/live", "/ready")
            assert ("security" in operation) == needed
            assert ("401" in operation["responses"]) == needed


def test_nothing_live_is_a_document_too():
    assert "/predict" in document([], "1.2.3")["paths"]
