"""Turns a report into what the HTML page draws: lanes, curves, boxes and lists on one clock, as plain JSON values.

Nothing here knows HTML. What only some analyzers have (a palette, words, beats) is left out where it is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pipeline.results import AnalyzerResult, VideoReport
from serve_app.report_figures import analyzer_rows, facts, figures
from serve_app.report_lanes import BARS_MAX, LANES, SAME_TIME_S, Row, box_layer, lane, rows_of, title_of
from serve_app.report_text import short

POINTS_MAX: Final = 1500
"""Points of one curve. More than that is finer than a screen shows and makes the page slow."""
TAG_CHARS_MAX: Final = 24
LINE_TIME: Final = re.compile(r"^\d+:\d\d ")
"""The time that a line begins with; the page writes it beside the line."""

# fmt: off
CURVES: Final[tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...]] = (
    ("Loudness", "dB", "audio_analysis", (("loudness", "rms_db"),)),
    ("Heard", "share", "audio_analysis", (("speech", "speech"), ("music", "music"))),
    ("Speech rate", "words/min", "speech_rate", (("words per minute", "words_per_minute"),)),
    ("Pitch", "Hz", "speech_transcription", (("pitch", "pitch_hz"),)),
    ("Voice", "", "speech_emotion", (("arousal", "arousal"), ("valence", "valence"))),
    ("Light", "", "color_analysis",
     (("brightness", "brightness"), ("saturation", "saturation"), ("contrast", "contrast"))),
    ("Quality", "of 100", "content_quality", (("score", "score"),)),
    ("Camera", "pictures/s", "camera_analysis", (("pan", "pan"), ("tilt", "tilt"))),
    ("Pace", "", "temporal_flow", (("pace", "pace"),)),
)
"""Title, unit, analyzer, and (name, field of a segment) of each line."""
# fmt: on


def page_data(report: VideoReport) -> dict[str, Any]:
    """Everything the page's script reads, as plain JSON values."""
    order = {name: place for place, name in enumerate(LANES)}
    results = sorted(map(shown, report.analyzers.values()), key=lambda result: order.get(result.name, len(order)))
    duration_s = max([report.video.duration_s, 0.001, *(row["end"] for result in results for row in rows_of(result))])
    rows = {result.name: rows_of(result) for result in results}
    summaries = {result.name: (result.report or {}).get("summary") or {} for result in results}
    cross = summaries.get("cross_analyzer_intelligence", {})
    return {
        "duration_s": duration_s,
        "frame_s": 1 / report.video.fps if report.video.fps > 0 else 0.04,
        "picture": [report.video.width, report.video.height] if report.video.has_video else None,
        "heard": report.video.has_audio,
        "lost": [list(span) for span in report.video.lost],
        "lanes": [lane(result, duration_s) for result in results],
        "curves": _curves(rows),
        "coverage": _coverage(report),
        "palette": _palette(rows.get("color_analysis", ())),
        "cuts": [[cut["time"], cut.get("kind", "cut")] for cut in summaries.get("cut_analysis", {}).get("cuts", ())],
        "beats": list(summaries.get("audio_analysis", {}).get("beats") or ()),
        "boxes": [layer for result in results if (layer := box_layer(result))],
        "transcript": _transcript(rows.get("speech_transcription", ())),
        "texts": [_on_screen(row) for row in rows.get("text_overlay", ())],
        "lines": [
            [
                row["start"],
                row["end"],
                LINE_TIME.sub("", row.get("line", "")),
                [title_of(name) for name in row.get("evidence") or ()],
            ]
            for row in rows.get("cross_analyzer_intelligence", ())
        ],
        "moments": {key: moments(cross.get(key)) for key in ("key_moments", "contradictions", "agreements")},
        "sync": short(cross.get("beat_cut_sync")),
        "facts": facts(report),
        "figures": figures(report),
        "analyzers": analyzer_rows(results, title_of),
        "statuses": {status: sum(r.status == status for r in results) for status in report.statuses()},
    }


def shown(result: AnalyzerResult) -> AnalyzerResult:
    """What a model that has learned nothing says is not shown, so that nobody takes it for an answer."""
    if not result.is_random:
        return result
    return result.model_copy(update={"status": "skipped", "reason": "random weights: no answer", "report": None})


def _curves(rows: dict[str, list[Row]]) -> list[dict[str, Any]]:
    curves = []
    for title, unit, analyzer, wanted in CURVES:
        series = [[name, *steps(rows.get(analyzer, ()), field)] for name, field in wanted]
        series = [one for one in series if any(value is not None for value in one[2])]
        if series:
            curves.append({"title": title, "unit": unit, "series": series})
    return curves


def steps(rows: Sequence[Row], field: str) -> tuple[list[float], list[float | None]]:
    """A field of segments as a line: times and values, with None where segments leave a gap or have no value."""
    every = -(-len(rows) // (POINTS_MAX // 2))
    times: list[float] = []
    values: list[float | None] = []
    for first in range(0, len(rows), max(every, 1)):
        some = rows[first : first + max(every, 1)]
        start, end = float(some[0]["start"]), float(some[-1]["end"])
        numbers = [float(row[field]) for row in some if isinstance(row.get(field), int | float)]
        if times and start - times[-1] > SAME_TIME_S:
            times.append(start)
            values.append(None)
        value = round(sum(numbers) / len(numbers), 4) if numbers else None
        times += [start, end]
        values += [value, value]
    return times, values


def _coverage(report: VideoReport) -> dict[str, Any] | None:
    if report.coverage is None or not report.coverage.per_second:
        return None
    parts = ("seen", "heard", "said", "described")
    seconds = report.coverage.per_second
    every = -(-len(seconds) // POINTS_MAX)
    return {
        "score": report.coverage.score,
        "parts": list(parts),
        "starts": [second.second for second in seconds[::every]],
        "values": [[getattr(second, part) for second in seconds[::every]] for part in parts],
    }


def _palette(rows: Sequence[Row]) -> list[list[Any]]:
    every = max(1, -(-len(rows) // BARS_MAX))
    return [
        [
            row["start"],
            rows[min(place * every + every, len(rows)) - 1]["end"],
            [[one.get("hex", ""), one.get("name", ""), one.get("share", 0)] for one in row.get("palette") or ()],
        ]
        for place, row in enumerate(rows[::every])
    ]


def _transcript(rows: Sequence[Row]) -> list[list[Any]]:
    return [
        [
            row["start"],
            row["end"],
            row.get("text", ""),
            [[word["word"], word["start"], word["end"], word.get("score", 1)] for word in row.get("words") or ()],
        ]
        for row in rows
    ]


def _on_screen(row: Row) -> list[Any]:
    marks = [str(row["kind"])] if row.get("kind") else []
    if row.get("in_safe_zone") is False and row.get("kind") != "scene":
        marks.append("under buttons of " + (", ".join(row.get("covered_by") or ()) or "an app"))
    return [row["start"], row["end"], row.get("text", ""), ", ".join(marks)]


def moments(items: Any) -> list[list[Any]]:
    """Findings of the whole video as `[time or None, text, analyzers]`, whatever their exact fields are."""
    found: list[list[Any]] = []
    for item in items if isinstance(items, list | tuple) else ():
        if not isinstance(item, dict):
            found.append([None, short(item), []])
            continue
        when = next(
            (item[key] for key in ("time", "at", "start", "second") if isinstance(item.get(key), int | float)), None
        )
        texts = [value for value in item.values() if isinstance(value, str) and value]
        sentence = max(texts, key=len, default="") or ", ".join(f"{key} {short(value)}" for key, value in item.items())
        tag = next((text for text in texts if text != sentence and len(text) <= TAG_CHARS_MAX), "")
        names = [title_of(name) for name in item.get("analyzers") or () if isinstance(name, str)]
        found.append([when, f"{tag.replace('_', ' ')}: {sentence}" if tag else sentence, names])
    return found
