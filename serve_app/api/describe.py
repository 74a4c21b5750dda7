"""How the OpenAPI document tells bodies, answers and problems; nothing here runs when a request comes."""

from __future__ import annotations

from typing import Any, Final

from serve_app.api.problems import MEDIA_TYPE
from serve_app.problems import CODES
from serve_app.schemas import AnalyzeRequest, ProblemBody, RerunRequest, SessionRequest

DESCRIBED: Final = (AnalyzeRequest, RerunRequest, SessionRequest, ProblemBody)
"""Models that the document needs although FastAPI does not see them."""
SCHEMAS: Final = "#/components/schemas/"
ALWAYS: Final = ("forbidden_origin", "internal")
WITH_CALLER: Final = ("unauthorized", "rate_limited")
WITH_JSON_BODY: Final = ("bad_header", "invalid_request", "unsupported_media_type", "too_large", "too_slow")
VIDEO: Final = ("media_missing", "media_unreadable", "media_limit", "decoder_crashed")
POST: Final = tuple(code for code in CODES if code.startswith(("post_", "host_", "fetch_", "extractor_", "address_")))
DETAILS: Final = {
    "bad_header": "Idempotency-Key is 1 to 255 visible ASCII characters",
    "busy": "100 jobs wait, the limit is 100 (setting serve.waiting_max)",
    "forbidden_origin": "this service does not answer to that Host; add the name to setting serve.allowed_hosts",
    "idempotency_conflict": "this Idempotency-Key belongs to another request",
    "internal": "an unexpected error; the service's log has it under this request's id",
    "invalid_request": "body: Value error, give exactly one of video_path and tiktok_url",
    "job_not_done": "job 01JD3K2V8XW6 is running",
    "not_found": "there is no job 01JD3K2V8XW6",
    "path_not_allowed": "there is no such file below the service's media roots (setting media_roots)",
    "rate_limited": "600 requests a minute are allowed (setting access.keys.alice.requests_per_minute)",
    "too_large": "the body has 70000 bytes, the limit is 65536 (setting serve.body_bytes_max)",
    "unauthorized": "send an API key as Authorization: Bearer KEY or as X-API-Key: KEY",
    "unknown_analyzer": "there is no analyzer 'cut_analisys'; did you mean 'cut_analysis'?",
}
"""What the examples say; where there is none, the code's title."""

JOB: Final[dict[str, Any]] = {
    "id": "01JD3K2V8XW6",
    "state": "running",
    "source_kind": "upload",
    "source": "clip.mp4",
    "created_at": "2026-11-21T12:00:00Z",
    "started_at": "2026-11-21T12:00:01Z",
    "duration_s": 12.5,
    "wanted": ["cut_analysis"],
    "analyzers": {"cut_analysis": {"done_s": 4.0, "status": None}},
    "attempts": 1,
    "media_kept": True,
    "from_store": False,
    "request_id": "3f0c8a52b0a44d0a9f4a6f9f3a6c1a11",
    "links": {
        "self": "/v1/jobs/01JD3K2V8XW6",
        "events": "/v1/jobs/01JD3K2V8XW6/events",
        "result": "/v1/jobs/01JD3K2V8XW6/result",
        "media": "/v1/jobs/01JD3K2V8XW6/media",
        "page": "/jobs/01JD3K2V8XW6",
    },
}
HEALTH: Final[dict[str, Any]] = {
    "status": "ok",
    "version": "0.1.0",
    "profile": "embedded",
    "analyzers": {"cut_analysis": {"state": "ready", "model": "content, dissolve and fade detectors"}},
    "gpus": [],
    "jobs": {"queued": 0, "fetching": 0, "running": 1},
    "limits": {"limits.bytes_max": 2147483648},
}
LIVE: Final = {"status": "ok"}
REPORT: Final[dict[str, Any]] = {
    "schema_version": "1.0",
    "created_at": "2026-11-21T12:00:09Z",
    "profile": "embedded",
    "video": {
        "source": "clip.mp4",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 1843200,
        "duration_s": 12.5,
        "width": 1080,
        "height": 1920,
        "fps": 30.0,
        "frames": 375,
        "video_codec": "h264",
    },
    "analyzers": {
        "cut_analysis": {
            "name": "cut_analysis",
            "version": "1",
            "status": "ok",
            "report": {"segments": [{"start": 0.0, "end": 5.2}], "summary": {"cuts": []}},
        }
    },
    "run": {
        "wall_s": 7.9,
        "rtf": 0.63,
        "speed_x": 1.58,
        "decode_s": 2.1,
        "decode_passes": 1,
        "overlap": 0.9,
        "host": {"cores": 2},
        "versions": {"reelscope": "0.1.0"},
    },
}
SOURCES: Final[dict[str, Any]] = {
    "file": {"summary": "a file on the server", "value": {"video_path": "/srv/media/clip.mp4"}},
    "post": {
        "summary": "a post, and what to run",
        "value": {
            "tiktok_url": "https://www.tiktok.com/@someone/video/7300000000000000000",
            "analyzers": ["cut_analysis", "speech_transcription"],
        },
    },
}


def reference(name: str) -> dict[str, str]:
    """A model of the document's components."""
    return {"$ref": SCHEMAS + name}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can tell these problems, by status, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, *ALWAYS):
        status, title = CODES[code]
        entry = responses.setdefault(status, {"description": "", "content": {MEDIA_TYPE: {}}})
        entry["description"] += f"{'; ' if entry['description'] else ''}`{code}`: {title}"
        content = entry["content"][MEDIA_TYPE]
        content["schema"] = reference("ProblemBody")
        content.setdefault("examples", {})[code] = {"value": _example(code, status, title)}
        if status in (429, 503):
            entry["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return responses


def answer(description: str, content: dict[str, Any], *, location: bool = False) -> dict[str, Any]:
    """One entry of `responses` for what goes well."""
    entry: dict[str, Any] = {"description": description, "content": content}
    if location:
        entry["headers"] = {"Location": {"description": "the job", "schema": {"type": "string"}}}
    return entry


def json_content(model: str, example: Any) -> dict[str, Any]:
    """JSON of a model of the components."""
    return {"application/json": {"schema": reference(model), "example": example}}


def text_content(*media_types: str) -> dict[str, Any]:
    """Text and files, which have no JSON schema."""
    return {media_type: {"schema": {"type": "string"}} for media_type in media_types}


def stream_content(media_type: str, example: str) -> dict[str, Any]:
    """A stream: OpenAPI 3.1 has no words for what comes piece by piece, so an example has to do."""
    return {media_type: {"example": example}}


def body(*contents: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "content": {name: c for kind in contents for name, c in kind.items()}}}


def json_body_content(model: str, examples: dict[str, Any]) -> dict[str, Any]:
    """A JSON body of a model of the components, with named examples."""
    return {"application/json": {"schema": reference(model), "examples": examples}}


UPLOAD_CONTENT: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "additionalProperties": False,
            "properties": {
                "file": {
                    "type": "string",
                    "contentMediaType": "application/octet-stream",
                    "minLength": 1,
                    "description": "the video",
                },
                "analyzers": {"type": "string", "description": "names, separated by commas; the part may repeat"},
                "webhook_url": {"type": "string", "description": "is told when the job has ended"},
            },
        },
        "example": {"file": "(the video's bytes)", "analyzers": "cut_analysis,color_analysis"},
    }
}


def _example(code: str, status: int, title: str) -> dict[str, Any]:
    example = {
        "type": f"urn:reelscope:problem:{code}",
        "title": title,
        "status": status,
        "detail": DETAILS.get(code, title),
        "code": code,
        "request_id": "3f0c8a52b0a44d0a9f4a6f9f3a6c1a11",
    }
    if code == "invalid_request":
        return {**example, "errors": [{"field": "body", "message": DETAILS[code], "type": "value_error"}]}
    return example
