"""The report itself: as JSON, and as a page."""

from __future__ import annotations

from pathlib import Path

from pydantic_core import PydanticSerializationError

from pipeline.results import VideoReport
from serve_app.exports.answers import writable
from serve_app.html_report import write_html


def write_json(report: VideoReport, target: Path) -> None:
    """The document by its published schema (docs/schema/), indented by one, in UTF-8."""
    try:
        text = report.model_dump_json(indent=1)
    except PydanticSerializationError:  # a lone surrogate, which UTF-8 cannot hold
        text = writable(report).model_dump_json(indent=1)
    target.write_text(text + "\n", encoding="utf-8", newline="\n")


def write_page(report: VideoReport, target: Path, medium: Path | None) -> None:
    """The self-contained page of `serve_app.html_report`; without the video's file it has no player."""
    source = medium or Path()  # no file: the page says that the video was not there
    try:
        write_html(report, source, target)
    except UnicodeEncodeError:
        write_html(writable(report), source, target)
