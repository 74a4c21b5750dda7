"""Subtitles, read back by parsers of their own and by FFmpeg."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.results import VideoReport
from serve_app.exports import export
from serve_app.exports.cues import CUE_S_MAX, CUE_S_MIN
from tests.serve_app.documents import document, result
from tests.serve_app.hostile import REPORTS, TEXTS, hostile, silent

TIME = r"(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})"


@dataclass
class Read:
    """A cue as a reader has it: milliseconds, lines without marks, times inside."""

    start: int
    end: int
    lines: list[str]
    times: list[int]


def milliseconds(text: str) -> int:
    found = re.fullmatch(TIME, text)
    assert found, text
    hours, minutes, seconds, rest = map(int, found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def read_vtt(path: Path) -> list[Read]:
    """By the standard's grammar, without its leniency: blocks between empty lines, each a cue."""
    text = path.read_text(encoding="utf-8")
    head, *blocks = re.split(r"\n{2,}", text.removesuffix("\n"))
    assert head == "WEBVTT"
    cues = []
    for block in blocks:
        timing, *lines = block.split("\n")
        start, arrow, end = timing.split(" ")
        assert arrow == "-->"
        assert lines and all(lines) and not any("-->" in line for line in lines)
        marks = re.findall(r"<([^>]*)>", "\n".join(lines))
        assert all(re.fullmatch(TIME, mark) for mark in marks), marks
        bare = [re.sub(r"<[^>]*>", "", line) for line in lines]
        assert not any("<" in line or re.search(r"&(?!(amp|lt|gt);)", line) for line in bare)
        cues.append(Read(milliseconds(start), milliseconds(end), [unescape(line) for line in bare], []))
        cues[-1].times = [milliseconds(mark) for mark in marks]
    return cues


def read_srt(path: Path) -> list[Read]:
    text = path.read_bytes().decode("utf-8")
    assert not re.search(r"(?<!\r)\n|\r(?!\n)", text), "every line ends with CRLF"
    cues = []
    for number, block in enumerate(text.split("\r\n\r\n")[:-1], 1):
        head, timing, *lines = block.split("\r\n")
        assert head == str(number)
        start, end = timing.split(" --> ")
        cues.append(Read(milliseconds(start), milliseconds(end), lines, []))
    return cues


def spoken(*segments: tuple[float, float, str], words: bool = True, duration_s: float = 60.0) -> VideoReport:
    """A report of speech; its words share a segment's time."""
    rows = []
    for start, end, text in segments:
        parts = text.split()
        step = (end - start) / max(len(parts), 1)
        times = [(round(start + i * step, 3), round(start + (i + 1) * step, 3)) for i in range(len(parts))]
        row: dict[str, Any] = {"start": start, "end": end, "text": text, "words": []}
        if words:
            row["words"] = [
                {"word": p, "start": a, "end": b, "score": 1} for p, (a, b) in zip(parts, times, strict=True)
            ]
        rows.append(row)
    return document(result("speech_transcription", rows), duration_s=duration_s)


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


LONG = (
    "When the bus came around the corner, nobody on the square had expected it, and the driver, who had been up since "
    "four, smiled. She opened both doors. Then everybody tried to get in at once, which of course did not work at all."
)
CHINESE = "今天我们要去北京的老胡同里走一走，看看那里的人们是怎么生活的，然后再去吃一碗地道的炸酱面。" * 3


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("text", [LONG, CHINESE, "x" * 200, "Aufenthaltsgenehmigungsverlängerungsantragsformular ja."])
def test_cues_fit_the_screen_and_lose_nothing(text: str, words: bool, tmp_path: Path) -> None:
    report = spoken((1.0, 17.0, text), words=words)
    for cues in (
        read_vtt(export(report, "vtt", tmp_path / "a.vtt")), read_srt(export(report, "srt", tmp_path / "a.srt")),
    ):  # fmt: skip
        assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == text.replace(" ", "")
        for cue in cues:
            assert 1 <= len(cue.lines) <= 2
            assert all(width(line) <= 42 for line in cue.lines), cue.lines
            assert CUE_S_MIN * 1000 - 90 <= cue.end - cue.start <= CUE_S_MAX * 1000
        assert all(one.end <= other.start for one, other in pairwise(cues))


@pytest.mark.parametrize("text", ["." * 300, "\u0301" * 300, "👩\u200d" * 60, "a" + "\u0336" * 100, "!? " * 200])
@pytest.mark.parametrize("words", [True, False])
def test_text_without_words_is_shown_whole(text: str, words: bool, tmp_path: Path) -> None:
    cues = read_vtt(export(spoken((1.0, 17.0, text), words=words), "vtt", tmp_path / "a.vtt"))
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == text.replace(" ", "")


def test_times_that_contradict_each_other_still_give_cues_in_order(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(50):
        rows = []
        for _ in range(chance.randrange(1, 6)):
            start = chance.uniform(0, 20)
            words = [
                {"word": "so" * chance.randrange(1, 40), "start": chance.uniform(0, 30), "end": chance.uniform(0, 30)}
                for _ in range(chance.randrange(30))
            ]
            text = " ".join(str(word["word"]) for word in words)
            rows.append(
                {"start": start, "end": start + chance.choice((0.0, 0.0004, 3.0, 40.0)), "text": text, "words": words}
            )
        report = document(result("speech_transcription", rows))
        cues = read_vtt(export(report, "vtt", tmp_path / "a.vtt"))
        assert all(cue.start < cue.end for cue in cues)
        assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)


def test_breaks_follow_sentences_and_clauses(tmp_path: Path) -> None:
    cues = read_vtt(export(spoken((1.0, 17.0, LONG)), "vtt", tmp_path / "a.vtt"))
    ends = [cue.lines[-1][-1] for cue in cues]
    assert all(end in ".," for end in ends), [cue.lines for cue in cues]
    assert cues[0].lines == [
        "When the bus came around the corner,",
        "nobody on the square had expected it,",
    ]


def test_closing_punctuation_never_begins_a_line(tmp_path: Path) -> None:
    cues = read_vtt(export(spoken((1.0, 30.0, CHINESE), words=False), "vtt", tmp_path / "a.vtt"))
    assert not [line for cue in cues for line in cue.lines if line[0] in "，。"]


def test_a_short_cue_stays_for_reading_where_nobody_speaks(tmp_path: Path) -> None:
    report = spoken((1.0, 1.2, "Well, look who is there!"), (5.0, 5.2, "Me"), (5.5, 6.0, "again"), (59.9, 60.0, "End"))
    first, second, third, last = read_srt(export(report, "srt", tmp_path / "a.srt"))
    assert first.end - first.start == pytest.approx(24 / 17 * 1000, abs=2)
    assert second.end == third.start - 80, "two frames before the next one"
    assert third.end == 6333
    assert last.end == 60_000, "no cue outlasts the video"


def test_a_pause_ends_a_cue(tmp_path: Path) -> None:
    words = [
        {"word": "And", "start": 1.0, "end": 1.3, "score": 1},
        {"word": "the winner is", "start": 1.3, "end": 2.0, "score": 1},
        {"word": "Anna", "start": 4.0, "end": 4.5, "score": 1},
    ]
    row = {"start": 1.0, "end": 4.5, "text": "And the winner is Anna", "words": words}
    cues = read_srt(export(document(result("speech_transcription", [row])), "srt", tmp_path / "a.srt"))
    assert [cue.lines for cue in cues] == [["And the winner is"], ["Anna"]]


def test_words_carry_their_times_inside_their_cue_and_in_order(tmp_path: Path) -> None:
    report = spoken((1.2, 2.0, "one two three four"))
    path = export(report, "vtt", tmp_path / "a.vtt")
    assert "one <00:00:01.400>two <00:00:01.600>three <00:00:01.800>four" in path.read_text()
    for cue in read_vtt(export(hostile(), "vtt", tmp_path / "b.vtt")):
        inside = [cue.start, *cue.times, cue.end]
        assert inside == sorted(set(inside))


def test_text_of_scripts_without_spaces_keeps_none(tmp_path: Path) -> None:
    words = [{"word": sign, "start": i / 4, "end": (i + 1) / 4, "score": 1} for i, sign in enumerate("你好世界")]
    row = {"start": 0.0, "end": 1.0, "text": "你好世界", "words": words}
    cues = read_vtt(export(document(result("speech_transcription", [row])), "vtt", tmp_path / "a.vtt"))
    assert cues[0].lines == ["你好世界"]


def test_no_text_can_begin_a_cue_a_tag_or_a_style(tmp_path: Path) -> None:
    report = hostile()
    vtt = read_vtt(export(report, "vtt", tmp_path / "a.vtt"))
    assert len(vtt) == len(TEXTS)
    said = " ".join(" ".join(cue.lines) for cue in vtt)
    assert "</c><b>bold</b> <i>& STYLE ::cue{color:red}" in said, "shown as it was said"
    srt = read_srt(export(report, "srt", tmp_path / "a.srt"))
    assert len(srt) == len(TEXTS)
    assert not [sign for cue in srt for line in cue.lines for sign in line if sign in "<>{}\\"]


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_ffmpeg_reads_the_same_cues(name: str, tmp_path: Path) -> None:
    path = export(hostile(), name, tmp_path / f"a.{name}")
    cues = (read_srt if name == "srt" else read_vtt)(path)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux() if packet.size]
        assert [(packet.pts, packet.pts + packet.duration) for packet in packets] == [(c.start, c.end) for c in cues]
        shown = [subtitle.dialogue.decode() for packet in packets for subtitle in packet.decode()]
    if name == "srt":
        assert [text.split("\n") for text in shown] == [cue.lines for cue in cues], "nothing was taken for a tag"


@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_gives_subtitles_that_can_be_read(kind: str, tmp_path: Path) -> None:
    vtt = read_vtt(export(REPORTS[kind](), "vtt", tmp_path / "a.vtt"))
    srt = read_srt(export(REPORTS[kind](), "srt", tmp_path / "a.srt"))
    assert [(cue.start, cue.end) for cue in vtt] == [(cue.start, cue.end) for cue in srt]
    assert [cue.start for cue in vtt] == sorted(cue.start for cue in vtt)


def test_without_speech_the_file_is_valid_and_empty(tmp_path: Path) -> None:
    assert export(silent(), "vtt", tmp_path / "a.vtt").read_text() == "WEBVTT\n"
    assert export(silent(), "srt", tmp_path / "a.srt").read_text() == ""


def test_speakers_who_overlap_and_hours_are_written(tmp_path: Path) -> None:
    report = spoken((362_000.0, 362_003.0, "one speaks"), (362_001.0, 362_004.0, "another too"), duration_s=362_010.0)
    cues = read_vtt(export(report, "vtt", tmp_path / "a.vtt"))
    assert [(cue.start, cue.end) for cue in cues] == [(362_000_000, 362_001_000), (362_001_000, 362_004_000)]
    assert "100:33:20.000 --> " in (tmp_path / "a.vtt").read_text()
