"""Publishes the JSON schema of the document: `python -m pipeline.schema` writes it, `--check` compares it.

The file is the schema of `VideoReport`, with the report of each analyzer spelled out under
`properties.analyzers.properties.NAME`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.registry import discover
from pipeline.results import SCHEMA_VERSION, VideoReport

FILE = Path(__file__).resolve().parents[1] / "docs" / "schema" / f"video_report-{SCHEMA_VERSION}.json"


def build() -> dict[str, Any]:
    """The schema of the document with all analyzers that there are."""
    schema = VideoReport.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    definitions = schema.setdefault("$defs", {})
    analyzers = {}
    for name, analyzer_class in discover().items():
        report = analyzer_class.report_model.model_json_schema(
            mode="serialization", ref_template=f"#/$defs/{name}.{{model}}"
        )
        definitions |= {f"{name}.{key}": value for key, value in report.pop("$defs", {}).items()}
        definitions[f"{name}.report"] = report
        analyzers[name] = {
            "allOf": [{"$ref": "#/$defs/AnalyzerResult"}],
            "properties": {"report": {"anyOf": [{"$ref": f"#/$defs/{name}.report"}, {"type": "null"}]}},
        }
    schema["properties"]["analyzers"]["properties"] = analyzers
    return schema


def text() -> str:
    """The file's content."""
    return json.dumps(build(), indent=1, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check."""
    if arguments == ["--check"]:
        if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text():
            sys.stderr.write(f"{FILE} is out of date; run `make schema`\n")
            return 1
        return 0
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
