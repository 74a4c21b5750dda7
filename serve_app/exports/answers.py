"""What a report says, ready to be written elsewhere: whose segments count, and values that every format can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from pipeline.results import VideoReport

Row = dict[str, Any]
"""A segment as it stands in the document."""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
UNWRITABLE: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""Not in XML 1.0 (2.2 Char and its note), or not in UTF-8: control characters, lone surrogates, non-characters."""


def answers(report: VideoReport) -> Iterator[tuple[str, list[Row]]]:
    """Name and segments of each analyzer that answered; random weights give no answer."""
    for name, result in report.analyzers.items():
        if result.status == "ok" and not result.is_random:
            yield name, (result.report or {}).get("segments") or []


def segments_of(report: VideoReport, name: str) -> list[Row] | None:
    """The segments of one analyzer; None if it gave no answer."""
    return next((rows for found, rows in answers(report) if found == name), None)


def clean(text: str) -> str:
    """The text with U+FFFD for each character that cannot be written."""
    return UNWRITABLE.sub(REPLACEMENT, text)


def one_line(text: str) -> str:
    """The clean text with every run of white space, line breaks included, as one space."""
    return " ".join(clean(text).split())


def plain(value: Any) -> Any:
    """The value with clean texts, and None for numbers that JSON does not know; other types stay as they are."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def writable(report: VideoReport) -> VideoReport:
    """The report with clean texts everywhere, file names that are no UTF-8 included."""
    return VideoReport.model_validate(plain(report.model_dump()))
