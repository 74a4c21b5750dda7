"""Turns what each analyzer reported about a stretch of time into phrases for one line of an editor's notes.

Each phrase restates one report, nothing else; a report that is not there, or says nothing here, gives no phrase.
Reports are read by the field names that docs/cross_analyzer_intelligence.md lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TEXT_MAX: Final = 60
"""Characters of a quoted text; longer ones are cut at a word."""
OBJECTS_MAX: Final = 3
"""Kinds of objects named in a line, the largest first."""
PRESENT: Final = 0.5
"""Share of a stretch from which something counts as there, and score from which a tag is believed."""
LARGE_AREA: Final = 0.6
"""A box this large fills the picture."""
DOMINANT_COLOR: Final = 0.5
"""Share of the picture from which one colour is worth a word."""
POOR_QUALITY: Final = 40.0
"""Score 0..100 below which the picture's faults are named."""
LOUD_STEP_DB: Final = 6.0
"""A rise or fall from one second to the next that one hears at once."""

_COUNT_WORDS: Final = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_PLURALS: Final = {
    "person": "people", "bus": "buses", "knife": "knives", "sheep": "sheep", "skis": "skis", "couch": "couches",
    "bench": "benches", "toothbrush": "toothbrushes", "wine glass": "wine glasses", "sandwich": "sandwiches",
    "scissors": "scissors", "mouse": "mice",
}  # fmt: skip
_CAMERA: Final = {
    "static": "static camera",
    "pan_left": "camera pans left",
    "pan_right": "camera pans right",
    "tilt_up": "camera tilts up",
    "tilt_down": "camera tilts down",
    "zoom_in": "camera zooms in",
    "zoom_out": "camera zooms out",
    "roll": "camera rolls",
    "handheld": "handheld camera",
}
_LANGUAGES: Final = {
    "en": "English", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "pl": "Polish", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian", "ar": "Arabic", "hi": "Hindi",
    "ja": "Japanese", "ko": "Korean", "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """One thing that analyzers say about a stretch, in words, with a rank for its place in the line (low is first)."""

    analyzers: tuple[str, ...]
    text: str
    rank: int


Stretch = tuple[float, float]


class Indexed:
    """A report whose segments are found by time without looking at all of them.

    Args:
        report: of any analyzer.
    """

    def __init__(self, report: Any) -> None:
        self.summary: Any = report.summary
        self.segments: list[Any] = list(report.segments)
        self._by_second: dict[int, list[Any]] = {}
        for segment in self.segments:
            for second in range(int(segment.start), int(segment.end) + 1):
                self._by_second.setdefault(second, []).append(segment)

    def near(self, stretch: Stretch) -> list[Any]:
        """Segments that may touch a stretch, in their order, each once."""
        seconds = range(int(stretch[0]), int(stretch[1]) + 1)
        found = {id(segment): segment for second in seconds for segment in self._by_second.get(second, ())}
        return list(found.values())


Reports = Mapping[str, Indexed]


def quoted(text: str) -> str:
    """A text from the video as a short quotation on one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) > TEXT_MAX:
        plain = plain[: TEXT_MAX + 1].rsplit(" ", 1)[0][:TEXT_MAX].rstrip() + "…"
    return "'" + plain.replace("'", "’") + "'"


def segments_in(report: Indexed, stretch: Stretch) -> Iterator[tuple[Any, float]]:
    """Segments that touch a stretch, each with the seconds it shares with it; momentary ones inside share a little."""
    for segment in report.near(stretch):
        start, end = float(segment.start), float(segment.end)
        shared_s = min(end, stretch[1]) - max(start, stretch[0])
        if shared_s > 0:
            yield segment, shared_s
        elif start == end and stretch[0] <= start < stretch[1]:
            yield segment, 1e-6


def longest_in(report: Indexed, stretch: Stretch) -> Any:
    """The segment that shares most with a stretch; None if none touches it."""
    return max(segments_in(report, stretch), key=lambda pair: pair[1], default=(None, 0.0))[0]


def phrases(reports: Reports, stretch: Stretch, beats: Sequence[float], beat_window_s: float) -> list[Phrase]:
    """What all reports say about a stretch, in the order of a line."""
    found = [
        Phrase((name,), text, rank)
        for rank, (name, speak) in enumerate(_SPEAKERS)
        if name in reports
        for text in speak(reports[name], stretch)
    ]
    if "cut_analysis" in reports:
        found += _cuts(reports["cut_analysis"], stretch, beats, beat_window_s)
    return sorted(found, key=lambda phrase: phrase.rank)


def _cuts(report: Indexed, stretch: Stretch, beats: Sequence[float], beat_window_s: float) -> Iterator[Phrase]:
    for cut in getattr(report.summary, "cuts", ()):
        if stretch[0] <= cut.time < stretch[1]:
            if cut.kind == "cut" and any(abs(cut.time - beat) <= beat_window_s for beat in beats):
                yield Phrase(("cut_analysis", "audio_analysis"), "cut on the beat", _CUT_RANK)
            else:
                yield Phrase(("cut_analysis",), str(cut.kind), _CUT_RANK)


def _objects(report: Indexed, stretch: Stretch) -> Iterator[str]:
    """A label's highest number at once, and where its largest box is on average."""
    at_once: dict[str, int] = {}
    largest: dict[str, list[tuple[float, float]]] = {}
    samples = [segment for segment, _ in segments_in(report, stretch)]
    for segment in samples:
        by_label: dict[str, list[Any]] = {}
        for thing in getattr(segment, "objects", ()):
            by_label.setdefault(thing.label, []).append(thing.box)
        for label, boxes in by_label.items():
            at_once[label] = max(at_once.get(label, 0), len(boxes))
            box = max(boxes, key=_area)
            largest.setdefault(label, []).append(((box[0] + box[2]) / 2, _area(box)))
    there = [label for label, seen in largest.items() if len(seen) >= PRESENT * len(samples)]
    areas = {label: sum(area for _, area in largest[label]) / len(largest[label]) for label in there}
    for label in sorted(there, key=lambda name: (-areas[name], name))[:OBJECTS_MAX]:
        if at_once[label] > 1:
            yield f"{_COUNT_WORDS.get(at_once[label], str(at_once[label]))} {_PLURALS.get(label, label + 's')}"
            continue
        middle = sum(x for x, _ in largest[label]) / len(largest[label])
        place = "at left" if middle < 1 / 3 else "at right" if middle > 2 / 3 else "in the middle"
        yield f"{_article(label)} {label} {'filling the picture' if areas[label] >= LARGE_AREA else place}"


def _area(box: Sequence[float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def _texts(report: Indexed, stretch: Stretch) -> Iterator[str]:
    for segment, _ in segments_in(report, stretch):
        yield f"{'caption' if segment.kind == 'overlay' else 'sign'} {quoted(segment.text)}"


def _speech(report: Indexed, stretch: Stretch) -> Iterator[str]:
    main = getattr(report.summary, "language", None)
    spoken: list[tuple[str, str]] = []
    for segment, _ in segments_in(report, stretch):
        words = [w.word for w in segment.words if stretch[0] <= (w.start + w.end) / 2 < stretch[1]]
        if words:
            spoken.append((getattr(segment, "language", main) or "", " ".join(words)))
    languages = dict.fromkeys(language for language, _ in spoken)
    several = len(getattr(report.summary, "languages", {}) or {}) > 1
    for language in languages:
        said = " ".join(words for spoken_in, words in spoken if spoken_in == language)
        name = f" in {_LANGUAGES.get(language, language)}" if several else ""
        yield f"voice says{name} {quoted(said)}"


def _sound(report: Indexed, stretch: Stretch) -> Iterator[str]:
    segment = longest_in(report, stretch)
    silent_s = sum(
        max(0.0, min(end, stretch[1]) - max(start, stretch[0]))
        for start, end in getattr(report.summary, "silences", ())
    )
    if silent_s > 0.8 * (stretch[1] - stretch[0]):
        yield "silence"
    elif segment is not None and getattr(segment, "music", 0.0) >= PRESENT:
        yield "music"


def _camera(report: Indexed, stretch: Stretch) -> Iterator[str]:
    segment = longest_in(report, stretch)
    if segment is not None and segment.motion in _CAMERA:
        yield _CAMERA[segment.motion]


def _effects(report: Indexed, stretch: Stretch) -> Iterator[str]:
    for kind in dict.fromkeys(segment.kind for segment, _ in segments_in(report, stretch)):
        yield f"{str(kind).replace('_', ' ')} effect"


def _sounds(report: Indexed, stretch: Stretch) -> Iterator[str]:
    for kind in dict.fromkeys(segment.kind for segment, _ in segments_in(report, stretch)):
        yield f"{_article(str(kind))} {str(kind).replace('_', ' ')} sound"


def _color(report: Indexed, stretch: Stretch) -> Iterator[str]:
    segment = longest_in(report, stretch)
    top = max(getattr(segment, "palette", None) or (), key=lambda color: color.share, default=None)
    if top is not None and top.share >= DOMINANT_COLOR:
        yield f"mostly {top.name}"


def _quality(report: Indexed, stretch: Stretch) -> Iterator[str]:
    segment = longest_in(report, stretch)
    causes = [str(cause).replace("_", " ") for cause in getattr(segment, "causes", None) or ()]
    if causes and getattr(segment, "score", 100.0) < POOR_QUALITY:
        yield f"poor picture ({', '.join(causes)})"


def _shot_size(report: Indexed, stretch: Stretch) -> Iterator[str]:
    size = getattr(longest_in(report, stretch), "shot_size", None)
    if size and size not in ("none", "unknown"):
        yield str(size).replace("_", " ")


def _gaze(report: Indexed, stretch: Stretch) -> Iterator[str]:
    looks = [face.eye_contact for segment, _ in segments_in(report, stretch) for face in getattr(segment, "faces", ())]
    if looks and sum(bool(look) for look in looks) >= PRESENT * len(looks):
        yield "looking into the camera"


def _posture(report: Indexed, stretch: Stretch) -> Iterator[str]:
    people = [person for segment, _ in segments_in(report, stretch) for person in getattr(segment, "persons", ())]
    postures = [str(p.posture) for p in people if getattr(p, "posture", None) not in (None, "", "unknown")]
    if postures:
        yield max(dict.fromkeys(postures), key=postures.count).replace("_", " ")


def _product(report: Indexed, stretch: Stretch) -> Iterator[str]:
    for segment, _ in segments_in(report, stretch):
        name = getattr(segment, "brand", None) or getattr(segment, "product", None)
        if name:
            yield f"{'brand' if getattr(segment, 'brand', None) else 'product'} {quoted(str(name))}"


def _environment(report: Indexed, stretch: Stretch) -> Iterator[str]:
    labels = getattr(longest_in(report, stretch), "labels", None) or ()
    top = max(labels, key=lambda label: label.score, default=None)
    if top is not None and top.score >= PRESENT:
        yield f"sounds like {top.name}"


def _described(report: Indexed, stretch: Stretch) -> Iterator[str]:
    description = getattr(longest_in(report, stretch), "description", None)
    if description:
        yield f"described as {quoted(str(description))}"


_SPEAKERS: Final[tuple[tuple[str, Callable[[Indexed, Stretch], Iterator[str]]], ...]] = (
    ("composition_analysis", _shot_size),
    ("object_detection", _objects),
    ("body_pose", _posture),
    ("eye_tracking", _gaze),
    ("product_detection", _product),
    ("text_overlay", _texts),
    ("camera_analysis", _camera),
    ("visual_effects", _effects),
    ("color_analysis", _color),
    ("content_quality", _quality),
    ("speech_transcription", _speech),
    ("audio_analysis", _sound),
    ("sound_effects", _sounds),
    ("audio_environment", _environment),
    ("qwen2_vl_temporal", _described),
    ("blip2", _described),
    ("video_llava", _described),
)
_CUT_RANK: Final = [name for name, _ in _SPEAKERS].index("camera_analysis")
