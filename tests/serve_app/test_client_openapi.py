"""What the client asks and expects is what docs/openapi.json describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pipeline.results import VideoReport
from serve_app.client import operations
from serve_app.schemas import AnalyzeRequest, EventType, Health, Job, JobList, ProblemBody, RerunRequest

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [value for value in vars(operations).values() if isinstance(value, operations.Operation)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_what_the_client_asks_is_in_the_document(operation: operations.Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    yes = {int(status): answer for status, answer in described["responses"].items() if status < "300"}
    # 206 answers a Range header, which the client does not send.
    assert set(yes) - {206} == set(operation.statuses)
    for status, answer in yes.items():
        content = answer.get("content", {})
        if isinstance(operation, operations.Typed) and status != 204:
            assert content["application/json"]["schema"]["$ref"].endswith(f"/{operation.model.__name__}")
        else:
            assert "application/json" not in content or len(content) > 1


@pytest.mark.parametrize("model", [Health, Job, JobList, VideoReport, ProblemBody, AnalyzeRequest, RerunRequest])
def test_the_document_describes_the_models_that_the_client_reads_and_writes(model: type[BaseModel]) -> None:
    mode = "validation" if model in (AnalyzeRequest, RerunRequest) else "serialization"
    ours = model.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    ours = {**ours.pop("$defs", {}), model.__name__: ours}
    for name, schema in ours.items():
        theirs = DOCUMENT["components"]["schemas"][name]
        assert set(schema["properties"]) == set(theirs["properties"]), name
        assert set(schema.get("required", ())) == set(theirs.get("required", ())), name


def test_the_events_that_the_client_knows_are_those_of_the_document() -> None:
    described = DOCUMENT["paths"]["/v1/jobs/{job_id}/events"]["get"]
    assert {one["name"].lower() for one in described["parameters"]} >= {"job_id", "last-event-id"}
    text = json.dumps(described)
    assert [kind for kind in get_args(EventType) if kind not in text] == []
