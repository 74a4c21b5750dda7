"""Subtitles of the speech: SubRip (.srt) and WebVTT (.vtt). On-screen text is in the picture already and not repeated.

WebVTT: W3C Candidate Recommendation, 4.1 Syntax; words carry their times (`<00:00:01.200>`), so that a player can
highlight what is being said. SubRip has no standard: numbered cues, commas in times, CRLF, UTF-8 without a byte order
mark. What is said is text: it cannot begin a cue, a tag or a style.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pipeline.results import VideoReport
from serve_app.exports.answers import segments_of
from serve_app.exports.cues import Cue, Token, cues

VTT_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
SRT_STANDINS: Final = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "＼"})
"""Players read `<b>`, `{\\an8}` and `\\N` as commands and SubRip has no escapes, so look-alikes stand for them."""


def write_srt(report: VideoReport, target: Path) -> None:
    """SubRip; without speech an empty file."""
    with target.open("w", encoding="utf-8", newline="\r\n") as file:
        for number, cue in enumerate(_cues(report), 1):
            lines = ["".join(_joined(token, place) for place, token in enumerate(line)) for line in cue.lines]
            text = "\n".join(lines).translate(SRT_STANDINS)
            start, end = _milliseconds(cue)
            file.write(f"{number}\n{timestamp(start, ',')} --> {timestamp(end, ',')}\n{text}\n\n")


def write_vtt(report: VideoReport, target: Path) -> None:
    """WebVTT; without speech its first line alone."""
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write("WEBVTT\n")
        for cue in _cues(report):
            start, end = _milliseconds(cue)
            text = "\n".join(_timed_lines(cue, start, end))
            file.write(f"\n{timestamp(start, '.')} --> {timestamp(end, '.')}\n{text}\n")


def timestamp(milliseconds: int, point: str) -> str:
    """`01:02:03.004` with the given decimal sign; hours have two digits or more."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _cues(report: VideoReport) -> list[Cue]:
    return cues(segments_of(report, "speech_transcription") or (), report.video.duration_s)


def _milliseconds(cue: Cue) -> tuple[int, int]:
    """Start and end, which both formats want to be later than the start."""
    start = max(0, round(cue.start * 1000))
    return start, max(round(cue.end * 1000), start + 1)


def _joined(token: Token, place: int, mark: str = "", spelled: Callable[[str], str] = str) -> str:
    """A token as it follows others in a line: its space, if it is not the first, a mark, its text."""
    return (token.glue if place else "") + mark + spelled(token.text)


def _timed_lines(cue: Cue, start: int, end: int) -> Iterator[str]:
    """The lines with a time before each word; a time must lie after the one before it and inside the cue."""
    last = start
    for line in cue.lines:
        text = ""
        for place, token in enumerate(line):
            at, mark = round(token.start * 1000), ""
            if token.timed and last < at < end:
                last, mark = at, f"<{timestamp(at, '.')}>"
            text += _joined(token, place, mark, lambda words: words.translate(VTT_ESCAPES))
        yield text
