"""The published document: what the service does is what it says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from pipeline.results import VideoReport
from pipeline.settings import Settings
from serve_app import schemas
from serve_app.api.application import build_app
from serve_app.api.openapi import published
from serve_app.exports import EXPORTS
from serve_app.problems import CODES
from tests.serve_app.api.fakes import World, make_world, with_keys

DOCUMENT = build_app(Settings()).openapi()
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
MODES = [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS] + [
    (method, path, GenerationMode.NEGATIVE)
    for method, path in OPERATIONS
    if {"parameters", "requestBody"} & set(DOCUMENT["paths"][path][method])  # others have nothing that could be wrong
]
EXAMPLES = 20
ALICE = {"X-API-Key": "rs_alice"}


@pytest.mark.parametrize("file", list(published()), ids=lambda path: path.name)
def test_the_checked_in_document_is_that_of_the_code(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == published()[file], "run `make schema`"


def test_the_service_publishes_the_same_document(world: World) -> None:
    with TestClient(world.app, base_url="http://localhost") as client:
        assert client.get("/openapi.json").json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_operation_is_described_for_people() -> None:
    for method, path in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        assert operation["description"] and operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    ids = [DOCUMENT["paths"][path][method]["operationId"] for method, path in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_every_answer_has_an_example_and_every_reference_leads_somewhere() -> None:
    components = DOCUMENT["components"]["schemas"]
    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in components
    for method, path in OPERATIONS:
        for status, answer in DOCUMENT["paths"][path][method]["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if kind in {"application/json", "application/problem+json"} and "$ref" in content["schema"]:
                    assert "example" in content or "examples" in content, (method, path, status, kind)


def references(node: Any) -> Iterator[str]:
    """All `$ref` in a document."""
    if isinstance(node, dict):
        yield from [node["$ref"]] if isinstance(node.get("$ref"), str) else ()
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_examples_are_valid() -> None:
    models = {name: getattr(schemas, name) for name in DOCUMENT["components"]["schemas"] if hasattr(schemas, name)}
    checked = 0
    for content in contents(DOCUMENT):
        model = models.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2])
        for example in [content.get("example"), *(one["value"] for one in content.get("examples", {}).values())]:
            if model is not None and example is not None:
                TypeAdapter(model).validate_python(example)
                checked += 1
    assert checked > 100
    report = DOCUMENT["paths"]["/analyze"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    VideoReport.model_validate(report)


def contents(node: Any) -> Iterator[dict[str, Any]]:
    """All media type objects of a document."""
    if isinstance(node, dict):
        for media_types in [node["content"]] if isinstance(node.get("content"), dict) else ():
            yield from media_types.values()
        for value in node.values():
            yield from contents(value)
    elif isinstance(node, list):
        for value in node:
            yield from contents(value)


def test_the_documented_problems_are_those_that_there_are() -> None:
    told = {
        code
        for content in contents(DOCUMENT)
        for code in content.get("examples", {})
        if content["schema"].get("$ref", "").endswith("/ProblemBody")
    }
    assert told <= set(CODES)
    assert set(CODES) - told <= {"method_not_allowed"}, "of no route's own"


def test_what_can_be_asked_for_is_what_there_is() -> None:
    parameters = DOCUMENT["paths"]["/v1/jobs/{job_id}/result"]["get"]["parameters"]
    (wanted,) = [parameter for parameter in parameters if parameter["name"] == "format"]
    assert wanted["schema"]["enum"] == list(EXPORTS)


@pytest.mark.parametrize(
    "body",
    [
        {"video_path": "a"},
        {"tiktok_url": "a", "video_path": None},
        {"video_path": "a", "tiktok_url": "b"},
        {},
        {"video_path": None},
        {"video_path": ""},
        {"video_path": "a", "analyzers": []},
        {"video_path": "a", "analyzers": ["A"]},
        {"video_path": "a", "more": 1},
    ],
)
def test_the_schema_of_a_request_says_what_the_code_says(body: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/AnalyzeRequest", "components": DOCUMENT["components"]}
    try:
        schemas.AnalyzeRequest.model_validate(body)
        is_good = True
    except ValidationError:
        is_good = False
    assert jsonschema_rs.validator_for(schema).is_valid(body) == is_good


@pytest.fixture(scope="module")
def alices(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Alice's world; her job1 has ended."""
    folder = tmp_path_factory.mktemp("alices")
    (folder / "clip.mp4").write_bytes(b"x" * 100)
    allowed = with_keys("alice", requests_per_minute=10**6)
    world = make_world(folder, media_roots=[folder], access=allowed)
    with TestClient(world.app, base_url="http://localhost", headers=ALICE) as client:
        client.post("/v1/jobs", json={"video_path": "clip.mp4"})
    return world


@pytest.fixture(scope="module")
def described(alices: World) -> Any:
    """What Schemathesis reads out of the document."""
    return schemathesis.openapi.from_asgi("/openapi.json", alices.app)


@pytest.mark.parametrize(("method", "path", "mode"), MODES, ids=lambda part: getattr(part, "name", part))
def test_whatever_is_sent_the_answer_is_a_documented_one(
    alices: World, described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    ended = alices.jobs.records["job1"]
    operation = described[path][method]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), exists=st.booleans())
    def check(case: Any, exists: bool) -> None:
        alices.jobs.records = {"job1": copy.copy(ended)}
        if exists and mode is GenerationMode.POSITIVE:
            if "job_id" in case.path_parameters:
                case.path_parameters["job_id"] = "job1"
            if isinstance(case.body, dict) and isinstance(case.body.get("video_path"), str):
                case.body["video_path"] = "clip.mp4"
        response = case.call(headers=ALICE)
        assert response.status_code < 500 or response.status_code in {503, 504}, response.text
        case.validate_response(response, checks=CHECKS)

    check()


@schemathesis.check
def problems_say_what_their_status_is(ctx: Any, response: Any, case: Any) -> None:
    if response.status_code >= 400:
        body = schemas.ProblemBody.model_validate(response.json())
        assert CODES[body.code] == (response.status_code, body.title)


CHECKS = [
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.negative_data_rejection,
    problems_say_what_their_status_is,
]
