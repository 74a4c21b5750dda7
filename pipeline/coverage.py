"""How much of each second the report can tell again, from the report alone. The formula is in docs/coverage.md.

Only what an analyzer whose status is ``ok`` found counts, and only content: a thing, a word, a sound, colours that
differ. That an analyzer looked at a black picture and says "static" is no content. Reports are read as the JSON that
they are in the document, by field names of the design; a field that is not there counts as nothing found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.results import AnalyzerResult, Coverage, SecondCoverage, Span, VideoFacts

FORMULA_VERSION: Final = "1"

PART_POINTS: Final = {"seen": 45, "heard": 20, "said": 20, "described": 15}
"""Points of the four parts in a second."""
SEEN_POINTS: Final = {
    "object_detection": 25, "color_analysis": 12, "camera_analysis": 12, "composition_analysis": 10, "text_overlay": 10,
    "body_pose": 8, "cut_analysis": 8, "eye_tracking": 7, "background_segmentation": 5, "scene_segmentation": 4,
    "age_estimation": 3, "visual_effects": 3, "product_detection": 3,
}  # fmt: skip
SEEN_IF_THERE: Final = frozenset(
    ("text_overlay", "body_pose", "eye_tracking", "age_estimation", "visual_effects", "product_detection")
)
"""Looks for what need not be there: where such an analyzer is ok and finds nothing, its points are not asked for."""
HEARD_POINTS: Final = {"audio_analysis": 4, "kind": 3, "audio_environment": 3, "sound_effects": 1}
SAID_POINTS: Final = {"speech_transcription": 7, "speech_emotion": 1, "speech_rate": 1, "speech_flow": 1}
DESCRIBED_POINTS: Final = {"qwen2_vl_temporal": 2, "video_llava": 1, "blip2": 1}

SCORE_MIN: Final = 0.3
"""What an analyzer itself doubts more than this is no evidence."""
COLOR_SHARE_MIN: Final = 0.05
"""A picture has content if a second colour takes this share of it,"""
LIGHT_STEP_MIN: Final = 0.02
"""or its contrast is above this."""
AUDIBLE_DB: Final = -60.0
"""A second below this level has nothing to tell."""
PRESENT: Final = 0.5
"""Share from which a second's sound is said to be speech or music."""
UNCOVERED: Final = 0.1
"""A second of which every part is below this is told by nothing."""

Segment = Mapping[str, Any]


class _Reports:
    """The reports that are ok and not from random weights, their segments found by second."""

    def __init__(self, results: Mapping[str, AnalyzerResult], count: int) -> None:
        self.ok = {name for name, result in results.items() if result.report is not None and not result.is_random}
        self._summaries: dict[str, Mapping[str, Any]] = {}
        self._by_second: dict[str, dict[int, list[Segment]]] = {}
        for name in self.ok:
            report = results[name].report or {}
            self._summaries[name] = report.get("summary") or {}
            found: dict[int, list[Segment]] = {}
            for segment in report.get("segments") or ():
                start, end = float(segment["start"]), float(segment["end"])
                last = min(count - 1, max(int(start), math.ceil(end) - 1))
                for second in range(max(0, int(start)), last + 1):
                    found.setdefault(second, []).append(segment)
            self._by_second[name] = found

    def at(self, name: str, second: int) -> list[Segment]:
        """Segments of an analyzer that touch a second; none if it is not ok."""
        return self._by_second.get(name, {}).get(second, [])

    def summary(self, name: str) -> Mapping[str, Any]:
        """An analyzer's summary; empty if it is not ok."""
        return self._summaries.get(name, {})


@dataclass
class _Points:
    """Points asked for and reached."""

    asked: float = 0.0
    reached: float = 0.0

    def add(self, points: float, value: float) -> None:
        self.asked += points
        self.reached += points * max(0.0, min(1.0, value))

    @property
    def share(self) -> float:
        return self.reached / self.asked if self.asked else 0.0


def measure(video: VideoFacts, results: Mapping[str, AnalyzerResult]) -> Coverage:
    """The coverage of a video's report.

    Args:
        video: its facts.
        results: of all analyzers that ran; one that did not run counts like one that failed.
    """
    count = max(1, math.ceil(video.duration_s - 1e-6)) if video.duration_s > 0 else 0
    reports = _Reports(results, count)
    per_second, told = [], 0.0
    for second in range(count):
        length = min(1.0, video.duration_s - second)
        parts = {
            "seen": _seen(reports, second) if video.has_video else (0.0, False),
            "heard": _heard(reports, second) if video.has_audio else (0.0, False),
            "said": _said(reports, second) if video.has_audio else (0.0, False),
            "described": _described(reports, second) if video.has_video else (0.0, False),
        }
        whole = _Points()
        for name, (value, asked) in parts.items():
            if asked:
                whole.add(PART_POINTS[name], value)
        told += whole.share * length
        per_second.append(SecondCoverage(second=second, **{name: value for name, (value, _) in parts.items()}))
    score = 100 * told / video.duration_s if count else 0.0
    return Coverage(
        score=min(100.0, score),
        formula_version=FORMULA_VERSION,
        per_second=per_second,
        uncovered=_uncovered(per_second, video.duration_s),
    )


def _uncovered(per_second: list[SecondCoverage], duration_s: float) -> list[Span]:
    spans: list[list[float]] = []
    for second in per_second:
        if max(second.seen, second.heard, second.said, second.described) >= UNCOVERED:
            continue
        if spans and spans[-1][1] == second.second:
            spans[-1][1] = second.second + 1.0
        else:
            spans.append([float(second.second), second.second + 1.0])
    return [(start, min(end, duration_s)) for start, end in spans]


# --- seen -------------------------------------------------------------------------------------------------------------


def _seen(reports: _Reports, second: int) -> tuple[float, bool]:
    """(share of the picture's points reached, whether there was a picture to tell of)."""
    found = {name: _content(name, reports.at(name, second)) for name in SEEN_POINTS if name in reports.ok}
    things = any(found.get(name, False) for name in ("object_detection", "text_overlay", "body_pose", "eye_tracking"))
    if "color_analysis" in reports.ok:
        visible = things or found["color_analysis"]
        plain = bool(reports.at("color_analysis", second)) and not visible
    else:
        visible, plain = things, False
    if not visible:
        return 0.0, not plain
    points = _Points()
    for name, worth in SEEN_POINTS.items():
        if not (name in SEEN_IF_THERE and name in reports.ok and not found[name]):
            points.add(worth, float(found.get(name, False)))
    return points.share, True


def _content(name: str, segments: list[Segment]) -> bool:
    return any(_CONTENT[name](segment) for segment in segments)


def _sure(things: Any, key: str = "score") -> bool:
    return any((thing.get(key) or 0.0) >= SCORE_MIN for thing in things or ())


def _colors(segment: Segment) -> bool:
    shares = sorted((color.get("share") or 0.0 for color in segment.get("palette") or ()), reverse=True)
    return (len(shares) > 1 and shares[1] >= COLOR_SHARE_MIN) or (segment.get("contrast") or 0.0) >= LIGHT_STEP_MIN


def _framing(segment: Segment) -> bool:
    return segment.get("shot_size") not in (None, "", "none", "unknown") or _sure(segment.get("labels"))


def _classes(segment: Segment) -> bool:
    areas = segment.get("classes") or {}
    return any(share >= COLOR_SHARE_MIN for name, share in areas.items() if name not in ("background", "unknown"))


_CONTENT: Final[Mapping[str, Callable[[Segment], bool]]] = {
    "object_detection": lambda s: _sure(s.get("objects")),
    "color_analysis": _colors,
    "camera_analysis": lambda s: bool(s.get("motion")),
    "composition_analysis": _framing,
    "text_overlay": lambda s: bool(s.get("text")) and (s.get("score") or 0.0) >= SCORE_MIN,
    "body_pose": lambda s: _sure(s.get("persons")),
    "cut_analysis": lambda s: True,
    "eye_tracking": lambda s: bool(s.get("faces")),
    "background_segmentation": _classes,
    "scene_segmentation": lambda s: True,
    "age_estimation": lambda s: any(face.get("age") is not None for face in s.get("faces") or ()),
    "visual_effects": lambda s: (s.get("score") or 0.0) >= SCORE_MIN,
    "product_detection": lambda s: (s.get("score") or 0.0) >= SCORE_MIN,
}


# --- heard and said ---------------------------------------------------------------------------------------------------


def _audible(reports: _Reports, second: int) -> bool:
    """Whether there is a sound in a second, as far as a report tells."""
    if "audio_analysis" in reports.ok:
        silent_s = sum(
            max(0.0, min(end, second + 1.0) - max(start, second))
            for start, end in reports.summary("audio_analysis").get("silences") or ()
        )
        levels = [s.get("rms_db") for s in reports.at("audio_analysis", second)]
        return silent_s < 0.95 and any(level is not None and level > AUDIBLE_DB for level in levels)
    return bool(_labels(reports, second) or reports.at("sound_effects", second) or _words(reports, second))


def _labels(reports: _Reports, second: int) -> bool:
    labels = [label for s in reports.at("audio_environment", second) for label in s.get("labels") or ()]
    return _sure([label for label in labels if label.get("name") not in ("silence", "unknown")])


def _heard(reports: _Reports, second: int) -> tuple[float, bool]:
    """(share of the sound's points reached, whether there was a sound to tell of)."""
    if not _audible(reports, second):
        known = "audio_analysis" in reports.ok and bool(reports.at("audio_analysis", second))
        return 0.0, not known
    sound = reports.at("audio_analysis", second)
    points = _Points()
    points.add(HEARD_POINTS["audio_analysis"], float(bool(sound)))
    kinds = [max(s.get("speech") or 0.0, s.get("music") or 0.0) >= PRESENT for s in sound]
    points.add(HEARD_POINTS["kind"], float(any(kinds)))
    points.add(HEARD_POINTS["audio_environment"], float(_labels(reports, second)))
    effects = reports.at("sound_effects", second)
    if effects or "sound_effects" not in reports.ok:
        points.add(HEARD_POINTS["sound_effects"], float(bool(effects)))
    return points.share, True


def _words(reports: _Reports, second: int) -> list[float]:
    """Scores of the words that touch a second."""
    words = [word for s in reports.at("speech_transcription", second) for word in s.get("words") or ()]
    return [float(w.get("score") or 0.0) for w in words if w["end"] > second and w["start"] < second + 1]


def _said(reports: _Reports, second: int) -> tuple[float, bool]:
    """(share of the speech's points reached, whether there was speech to tell of, as far as a report tells)."""
    scores = _words(reports, second)
    if not scores:
        sounds = any((s.get("speech") or 0.0) >= PRESENT for s in reports.at("audio_analysis", second))
        silent = "audio_analysis" in reports.ok and not _audible(reports, second)
        return 0.0, sounds or ("speech_transcription" not in reports.ok and not silent)
    points = _Points()
    points.add(SAID_POINTS["speech_transcription"], sum(scores) / len(scores))
    for name in ("speech_emotion", "speech_rate", "speech_flow"):
        points.add(SAID_POINTS[name], float(bool(reports.at(name, second))))
    return points.share, True


def _described(reports: _Reports, second: int) -> tuple[float, bool]:
    """(share of the describing models that say something about a second, true: every picture can be described)."""
    points = _Points()
    for name, worth in DESCRIBED_POINTS.items():
        points.add(worth, float(any(str(s.get("description") or "").strip() for s in reports.at(name, second))))
    return points.share, True
