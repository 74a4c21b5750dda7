"""How right text_overlay reads: character error rate, times, kinds and places, on captions that we drew ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from analyzers.text_overlay import TextOverlay, TextReport, TextSegment
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media import text_clips
from tests.media.encode import Clip

NAME: Final = "text_overlay"
TIME_S: Final = 0.26
"""One sampled step of READ and a hundredth: a caption's bounds are known no better."""


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's: insertions, deletions and substitutions of characters."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def _shared_s(caption: dict[str, Any], segment: TextSegment) -> float:
    return min(float(caption["end"]), segment.end) - max(float(caption["start"]), segment.start)


def matched(
    captions: Sequence[dict[str, Any]], segments: Sequence[TextSegment]
) -> tuple[list[tuple[dict[str, Any], TextSegment | None]], list[TextSegment]]:
    """Each caption with the segment that says it best while it is on screen, and the segments left over."""
    left = list(segments)
    pairs: list[tuple[dict[str, Any], TextSegment | None]] = []
    for caption in captions:
        nearby = [s for s in left if _shared_s(caption, s) > 0]
        best = min(nearby, key=lambda s: edit_distance(caption["text"], s.text), default=None)
        if best is not None and edit_distance(caption["text"], best.text) < len(caption["text"]):
            left.remove(best)
            pairs.append((caption, best))
        else:
            pairs.append((caption, None))
    return pairs, left


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def measure() -> list[Figure]:
    """Read all caption clips, the clip without text and the one with a sign."""
    settings = load_settings()
    analyzer = TextOverlay()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def read(clip: Clip) -> TextReport:
        report = run_analyzer(analyzer, clip.path)
        assert isinstance(report, TextReport)
        return report

    errors = characters = umlaut_errors = timely = count = overlays = placed = 0
    words_read = staying_once = 0.0
    for make in text_clips.CLIPS:
        clip = make()
        spoken = [s for s in read(clip).segments if s.kind == "overlay"]
        pairs, extra = matched(clip.truth["captions"], spoken)
        if make is text_clips.word_by_word:
            words_read = sum(s is not None and s.text == c["text"] for c, s in pairs) / len(pairs)
        if make is text_clips.static_caption:
            whole = [s is not None and s.start == 0 and s.end >= clip.truth["seconds"] - TIME_S for _, s in pairs]
            staying_once = sum(whole) / len(pairs) if not extra else 0.0
        errors += sum(len(segment.text) for segment in extra)  # what is read and was not written counts in full
        for caption, segment in pairs:
            text = caption["text"]
            characters += len(text)
            count += 1
            if segment is None:
                errors += len(text)
                umlaut_errors += sum(letter in "äöüßÄÖÜ" for letter in text)
                continue
            errors += edit_distance(text, segment.text)
            umlaut_errors += sum(abs(text.count(letter) - segment.text.count(letter)) for letter in "äöüßÄÖÜ")
            overlays += 1
            timely += max(abs(segment.start - caption["start"]), abs(segment.end - caption["end"])) <= TIME_S
            placed += _iou(segment.box, caption["box"]) >= 0.5
    invented = sum(len(segment.text) for segment in read(text_clips.no_text()).segments)
    kinds = {segment.text: segment.kind for segment in read(text_clips.scene_text()).segments}
    right_kinds = (kinds.get("BAKERY") == "scene") + (kinds.get("best bread in town") == "overlay")
    return [
        Figure(NAME, "captions, character error rate", errors / characters, 0.05, at_most=True),
        Figure(NAME, "captions, umlauts misread", umlaut_errors, 0, at_most=True),
        Figure(NAME, "captions found and called overlay, share", overlays / count, 0.95),
        Figure(NAME, "captions with start and end within 0.25 s, share", timely / count, 0.9),
        Figure(NAME, "word by word, three a second, share of words read", words_read, 1.0),
        Figure(NAME, "captions that stay, share that are one segment from start to end", staying_once, 1.0),
        Figure(NAME, "captions with box at IoU 0.5, share", placed / count, 0.9),
        Figure(NAME, "clip without text, characters invented", invented, 0, at_most=True),
        Figure(NAME, "a moving sign is scene, a standing caption overlay, share", right_kinds / 2, 1.0),
    ]
