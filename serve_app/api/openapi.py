"""Publishes the interface: `python -m serve_app.api.openapi` writes docs/openapi.json and the table of problems in
docs/http.md, `--check` compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from serve_app.api.describe import DESCRIBED, SCHEMAS
from serve_app.problems import CODES

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
BEGIN: Final = "<!-- problems: written by `make schema` -->\n"
END: Final = "<!-- end of problems -->\n"


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an application, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _, definitions = models_json_schema(
            [(model, "validation") for model in DESCRIBED], ref_template=SCHEMAS + "{model}"
        )
        document["components"]["schemas"] |= definitions["$defs"]
        app.openapi_schema = document
    return app.openapi_schema


def problem_table() -> str:
    """Every code with its status and meaning, in Markdown."""
    rows = [f"| `{code}` | {status} | {title} |" for code, (status, title) in CODES.items()]
    return "\n".join(["| code | status | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def published() -> dict[Path, str]:
    """What the files have to hold."""
    from pipeline.settings import Settings
    from serve_app.api.application import build_app

    document = json.dumps(describe(build_app(Settings())), indent=1, sort_keys=True) + "\n"
    page = DOCS / "http.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {DOCS / "openapi.json": document, page: f"{before}{BEGIN}{problem_table()}{END}{after}"}


def main(arguments: list[str]) -> int:
    """Write or check."""
    wrong = 0
    for file, text in published().items():
        if arguments != ["--check"]:
            file.write_text(text, encoding="utf-8")
        elif not file.is_file() or file.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{file} is out of date; run `make schema`\n")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
