"""Writes a report as a file of another format, by one call: `export(report, "srt", target)`.

`EXPORTS` is the list that the command line, the service and docs/exports.md share. Importing it costs milliseconds;
each format's libraries are imported when it is written. What no model has learned (random weights), what failed and
what was skipped is in no format but json, which says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.results import VideoReport

Writer = Callable[["VideoReport", Path, Path | None], None]
"""Writes a report to a path; the third is the video's file, for formats that hold it."""


@dataclass(frozen=True)
class Export:
    """One format.

    Args:
        name: what a user asks for.
        suffix: how the file's name ends; no two formats share one.
        media_type: the IANA media type, or the one in use where none is registered.
        about: what it is for, in a line.
        writer: writes it; `export` is the way to call it.
    """

    name: str
    suffix: str
    media_type: str
    about: str
    writer: Writer


def export(report: VideoReport, name: str, target: Path, medium: Path | None = None) -> Path:
    """Write a report in one format.

    Args:
        report: the document.
        name: one of `EXPORTS`.
        target: the file; replaced at once when it is complete, never left half written. Its folder exists.
        medium: the video's file. Only html holds it; without it the page has no player.

    Returns:
        `target`.

    Raises:
        UsageError: there is no such format.
        OSError: `target` cannot be written, or `medium` cannot be read.
    """
    chosen = export_named(name)
    part = target.with_name(f".{uuid4().hex}.part")
    try:
        chosen.writer(report, part, medium)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def export_named(name: str) -> Export:
    """One of `EXPORTS` by its name.

    Raises:
        UsageError: there is no such format; the message has the nearest one.
    """
    if name in EXPORTS:
        return EXPORTS[name]
    near = difflib.get_close_matches(name, EXPORTS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(EXPORTS)}"
    raise UsageError(f"there is no format {name!r}; {hint}")


def _json(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.document import write_json

    write_json(report, target)


def _html(report: VideoReport, target: Path, medium: Path | None) -> None:
    from serve_app.exports.document import write_page

    write_page(report, target, medium)


def _srt(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.subtitles import write_srt

    write_srt(report, target)


def _vtt(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.subtitles import write_vtt

    write_vtt(report, target)


def _csv(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.tables import write_csv

    write_csv(report, target)


def _parquet(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.tables import write_parquet

    write_parquet(report, target)


def _coco(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.coco import write_coco

    write_coco(report, target)


def _tsv(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.elan import write_tsv

    write_tsv(report, target)


def _eaf(report: VideoReport, target: Path, _: Path | None) -> None:
    from serve_app.exports.elan import write_eaf

    write_eaf(report, target)


EXPORTS: Final[dict[str, Export]] = {
    one.name: one
    for one in (
        Export("json", ".json", "application/json", "the whole report", _json),
        Export("html", ".html", "text/html", "one page with the video and its timeline, for any browser", _html),
        Export("srt", ".srt", "application/x-subrip", "subtitles of the speech, for players and editors", _srt),
        Export("vtt", ".vtt", "text/vtt", "subtitles of the speech with word times, for web players", _vtt),
        Export("csv", ".csv", "text/csv", "one row per segment of every analyzer, for spreadsheets", _csv),
        Export("parquet", ".parquet", "application/vnd.apache.parquet", "the same rows, typed, for pandas", _parquet),
        Export("coco", ".coco.json", "application/json", "boxes, faces and body keypoints by picture", _coco),
        Export("tsv", ".tsv", "text/tab-separated-values", "annotations by tier, for ELAN, Praat and R", _tsv),
        Export("eaf", ".eaf", "text/x-eaf+xml", "annotations by tier as an ELAN document", _eaf),
    )
}
"""Every format by its name."""
