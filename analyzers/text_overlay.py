"""Reads the text in the picture: what it says, where, from when to when, and whether it was laid over the video.

Networks: PP-OCRv6 small (analyzers/models/pp_ocr.py), or in the full profile EasyOCR (analyzers/models/easy_ocr.py).
What did not change is not looked at or read again (analyzers/models/read_changes.py). Chunks do not know each other:
the lead-in picture tells what changed since the chunk before, and `summarize` puts it all on one clock.

Overlay or scene: text that keeps its place while the picture around it moves is an overlay, text that moves with it
is part of the scene. Where nothing moves, or a text is seen in one sample only, letters decide: an overlay's are
filled with one even colour and stand out sharply, letters in a photo carry its light and blur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.methods.safe_zones import Margins, covering, safe_zones
from analyzers.models.hub import Precision
from analyzers.models.read_changes import Line, Look, TextEngine, overlap
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Box, ModelInfo, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import READ, AnalyzerSpec, FrameBatch, Item

MODEL: Final = "pp_ocr_v6_small"
NO_GPU_NOTE: Final = (
    'EasyOCR was not used: it is for GPUs, and takes many times as long as PP-OCR on a CPU; engine = "easyocr" insists'
)
REFRESH_CHUNKS: Final = 4
"""Every so many chunks the whole picture is looked at, for text that came too softly to be a change."""

SCORE_MIN: Final = 0.7
"""Measured: right readings are above 0.85, what is read into texture is below 0.6, cut-off words between."""
LONE_SCORE_MIN: Final = 0.9
"""Of a text that is seen in one sample only."""
HEIGHT_MAX: Final = 0.3
"""Share of the picture's height; what is taller is the picture itself taken for a character."""
SINGLE_SCORE_MIN: Final = 0.97
"""Of a single letter, which any cross of two edges may look like; it must be seen twice, too."""

SAME_TEXT: Final = 0.6
"""Likeness (2 x common letters / all letters) from which on two readings at one place are one text."""
SAME_MOVING_TEXT: Final = 0.75
"""The same for text that changed its place; at most `MOVE_MAX` heights of it per sample."""
MOVE_MAX: Final = 4.0
SAME_PLACE: Final = 0.5
"""Overlap from which on a new line replaces an old one."""
GAP_S: Final = 0.55
"""A text may be missed in one sample and go on."""
SURE_SCORE: Final = 0.97
"""Two readings of this score at one place that differ in a letter are two texts."""
SURE_NUMBER_SCORE: Final = 0.9
"""The same for readings that differ in a digit: "Tip 1" and "Tip 2" follow one another in many a video."""
EDGE: Final = 0.02
"""Text that ends nearer to the picture's side than this may be cut off by it."""
DRIFT_MAX: Final = 0.012
"""Shorter sides that a text may wander and still keep its place: two pixels of the detector's answer are 0.006."""
ALIGNED: Final = 0.03
"""Captions that follow one another are centred on one point, or begin at one, within this share of the sides."""
WHOLE_TEXT: Final = 0.75
"""Readings of less than this share of a text's letters say nothing of its place: it was cut off, or being typed."""
TALL: Final = 0.03
"""Share of the picture's height from which on a line, seen once and alone, is more likely a caption than a sign."""
MOTION_LEVELS: Final = 4.0
"""Mean change around a text from which on the picture moves there."""
GRID: Final = 8


class TextSegment(Segment):
    """One text while it is on screen.

    `box` is where it was most of the time. `in_safe_zone` says that no app covers it, `covered_by` names those that do,
    where the video is shown on a 9:16 screen (methods/safe_zones.json: tiktok, reels, shorts).
    """

    text: str
    score: Score
    box: Box
    kind: Literal["overlay", "scene"]
    in_safe_zone: bool
    covered_by: list[str]


class TextSummary(Summary):
    """`full_text`: everything in reading order (time, then top to bottom, then left to right), a text per line.

    `overlay_text`: the same of overlays alone. `overlay_share`: share of the time with an overlay on screen.
    `first_overlay_s`: when the first one appears. `covered`: how many overlays each app's own buttons would cover.
    """

    full_text: str
    overlay_text: str
    overlays: int
    scene_texts: int
    overlay_share: Score
    first_overlay_s: Seconds | None
    covered: dict[str, int]


class TextReport(Report[TextSegment, TextSummary]):
    """One segment per text and appearance."""


class TextOverlayOptions(Options):
    """Settings.

    Args:
        safe_zones: by app, the part of a 9:16 screen that it leaves free, `[x0, y0, x1, y1]` in 0..1.
        engine: who reads in the full profile; ``auto`` is EasyOCR on a GPU and RapidOCR's PP-OCR without one. The
            embedded profile always has the latter.
        languages: what EasyOCR shall read, by its own codes; other than English needs files that are fetched by hand
            (the error names them). PP-OCR reads all Latin letters with their accents, and Chinese, without being told.
        precision: of EasyOCR's networks.
    """

    safe_zones: dict[str, Margins] = Field(default_factory=lambda: dict(safe_zones()))
    engine: Literal["auto", "easyocr", "rapidocr"] = "auto"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    precision: Precision = "auto"


Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """One sampled picture.

    Args:
        pts_s: its time.
        rows: the rows (0..1 of the height) that were looked at; the rest is as in the sample before, for None all.
        lines: what was read there.
        motion: 8x8 bytes, the mean change of light since the picture before, in levels.
    """

    pts_s: float
    rows: tuple[float, float] | None
    lines: tuple[Line, ...]
    motion: bytes


@dataclass(frozen=True)
class TextPart:
    """One chunk's samples; the pictures' width over height; where the chunk ends in seconds."""

    samples: tuple[Sample, ...]
    aspect: float
    end_s: float


class TextOverlay(Analyzer[TextPart, TextReport]):
    """On-screen text with its times and places; see the module's head for the method."""

    # Two replicas: the slowest analyzer would otherwise finish alone while other cores idle.
    spec = AnalyzerSpec("text_overlay", "1.1", READ, replicas=2, timeout_s=120)
    options_model = TextOverlayOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """EasyOCR runs on a GPU, in one process, over the chunks of several videos."""
        assert isinstance(options, TextOverlayOptions)
        if profile == "embedded" or options.engine == "rapidocr":
            return cls.spec
        from analyzers.models import easy_ocr

        return replace(
            cls.spec, gpu_gb=easy_ocr.gpu_gb(options.precision), replicas=1, batch=easy_ocr.CHUNKS, timeout_s=300
        )

    def load(self, device: str, profile: Profile) -> None:
        """Open the networks of the chosen engine.

        Raises:
            ModelUnavailable: weights, or the package that brings them, are missing or not as the manifest wants them.
        """
        import cv2

        assert isinstance(self.options, TextOverlayOptions)
        cv2.setNumThreads(1)
        chosen = self.options.engine if profile.name == "full" else "rapidocr"
        if chosen == "easyocr" or (chosen == "auto" and device != "cpu"):
            from analyzers.models.easy_ocr import EasyOcr

            easy = EasyOcr(profile.models_dir, self.options.languages, device, self.options.precision)
            self._engine: TextEngine = easy
            self.model = easy.info
            return
        self._load_rapid(profile, note=NO_GPU_NOTE if chosen == "auto" else None)

    def _load_rapid(self, profile: Profile, note: str | None) -> None:
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        detection, recognition = store.path(MODEL, "detection.onnx"), store.path(MODEL, "recognition.onnx")
        import onnxruntime

        from analyzers.models.pp_ocr import PpOcr

        self._engine = PpOcr(detection, recognition)
        self.model = ModelInfo(
            id="PP-OCRv6_small", revision="rapidocr 3.10.0", backend=f"onnxruntime {onnxruntime.__version__}", note=note
        )

    def analyze(self, item: FrameBatch) -> TextPart:
        """Look at what changed in each picture against the one before it."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[TextPart]:
        """The same for chunks of any videos, all their pictures looked at and all their lines read at once."""
        from analyzers.models.read_changes import read_runs

        batches = [item for item in items if isinstance(item, FrameBatch)]
        plans = [list(_plan(item)) for item in batches]
        runs = [[look for _, look, _ in plan if look is not None] for plan in plans]
        parts: list[TextPart] = []
        for item, plan, read in zip(batches, plans, read_runs(self._engine, runs), strict=True):
            lines = iter(read)
            samples = [
                Sample(
                    pts_s,
                    None if look is None else look[1],
                    () if look is None else tuple(line for line in next(lines) if readable(line)),
                    motion,
                )
                for pts_s, look, motion in plan
            ]
            height, width = item.frames.shape[1:3]
            parts.append(TextPart(tuple(samples), width / height, item.end_s))
        return parts

    def summarize(self, parts: Sequence[TextPart], upstream: Upstream) -> TextReport:
        """Put the samples of all chunks on one clock and join what is one text."""
        assert isinstance(self.options, TextOverlayOptions)
        samples = [sample for part in parts for sample in part.samples]
        if not samples:
            return TextReport(segments=[], summary=summarize_text([], 0.0))
        aspect = parts[0].aspect
        ends = [sample.pts_s for sample in samples[1:]] + [max(parts[-1].end_s, samples[-1].pts_s)]
        segments = []
        texts = [text for text in follow(samples, aspect) if text.certain(lone_ok=len(samples) == 1)]
        for text in texts:
            line, last = text.best(), text.seen[-1][0]
            overlay = text.is_overlay(samples, aspect, texts)
            if not overlay and len(_letters(line.text)) < 2:
                continue  # a sign of one letter is more likely two crossing edges
            covered = covering(line.box, aspect, self.options.safe_zones)
            segments.append(
                TextSegment(
                    start=samples[text.seen[0][0]].pts_s,
                    end=ends[last],
                    text=line.text,
                    score=line.score,
                    box=line.box,
                    kind="overlay" if overlay else "scene",
                    in_safe_zone=not covered,
                    covered_by=covered,
                )
            )
        segments.sort(key=lambda s: (s.start, round(s.box[1], 2), s.box[0], s.text))
        return TextReport(segments=segments, summary=summarize_text(segments, ends[-1]))


# --- one picture ------------------------------------------------------------------------------------------------------


def _plan(item: FrameBatch) -> Iterator[tuple[float, Look | None, bytes]]:
    """Of each sample of a chunk its time, what to look at (None where no stroke changed) and the motion before it."""
    from analyzers.models.read_changes import changed_rows, small_light

    before: npt.NDArray[np.uint8] | None = None
    for number, (frame, pts_s) in enumerate(zip(item.frames, item.pts_s, strict=True)):
        light = small_light(frame)
        if number >= item.lead_in:
            refresh = number == item.lead_in and item.index % REFRESH_CHUNKS == 0
            rows = (0.0, 1.0) if before is None or refresh else changed_rows(before, light)
            yield float(pts_s), (frame, rows) if rows else None, _motion(before, light)
        before = light


def readable(line: Line) -> bool:
    """Whether a reading is certain enough to be text at all."""
    letters = sum(character.isalnum() for character in line.text)
    if line.box[3] - line.box[1] > HEIGHT_MAX:
        return False
    return letters > 0 and line.score >= (SCORE_MIN if letters > 1 else SINGLE_SCORE_MIN)


def _motion(before: npt.NDArray[np.uint8] | None, after: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    if before is None:
        return bytes(GRID * GRID)
    change = cv2.resize(cv2.absdiff(before, after), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(change, np.uint8).tobytes()


# --- the whole video --------------------------------------------------------------------------------------------------


@dataclass
class Text:
    """One text from when it appears to when it goes: its readings by sample number."""

    seen: list[tuple[int, Line]]

    def best(self) -> Line:
        """The most certain reading (a reading that came often counts a little more), grown to the whole text if it was
        typed letter by letter, at the place where it was most of the time."""
        times = Counter(line.text for _, line in self.seen)
        best = max((line for _, line in self.seen), key=lambda n: (n.score + min(times[n.text], 5) / 50, n.text))
        for _, line in self.seen:
            if line.text.startswith(best.text) and len(line.text) > len(best.text):
                best = line
        boxes = np.array([line.box for _, line in self.seen if line.text == best.text])
        x0, y0, x1, y1 = (float(value) for value in np.median(boxes, axis=0))
        return Line(best.text, best.score, (x0, y0, x1, y1), best.even)

    def certain(self, *, lone_ok: bool) -> bool:
        """Whether it was seen twice, or read with certainty; `lone_ok` for a video of one sample."""
        letters = sum(character.isalnum() for character in self.best().text)
        return len(self.seen) > 1 or lone_ok or (letters > 1 and self.best().score >= LONE_SCORE_MIN)

    def is_overlay(self, samples: Sequence[Sample], aspect: float, texts: Sequence[Text]) -> bool:
        """Whether it was laid over the picture; `texts` are all texts of the video. See the module's head."""
        best = self.best()
        even = 2 * sum(line.even for _, line in self.seen) >= len(self.seen)
        if max(_motion_around(samples[step].motion, line.box) for step, line in self.seen) < MOTION_LEVELS:
            return even
        units = np.array([aspect, 1.0]) / min(aspect, 1.0)  # of the shorter side
        whole = [line for _, line in self.seen if len(line.text) >= WHOLE_TEXT * len(best.text)]
        middles = np.array([_middle(line.box) for line in whole]) * units
        if len(middles) > 1:
            third = max(1, len(middles) // 3)  # medians, for many an overlay is thrown in or out
            drift = np.median(middles[-third:], axis=0) - np.median(middles[:third], axis=0)
            return float(np.hypot(*drift)) <= DRIFT_MAX
        return even and (best.box[3] - best.box[1] >= TALL or any(self._aligned(other) for other in texts))

    def _aligned(self, other: Text) -> bool:
        """Whether another text, shown at other times, is of this one's height and centred, or begins, where it does."""
        a, b = self.best(), other.best()
        if {step for step, _ in self.seen} & {step for step, _ in other.seen}:
            return False
        if SequenceMatcher(None, _letters(a.text), _letters(b.text), autojunk=False).ratio() >= SAME_TEXT:
            return False  # the same text read anew, perhaps otherwise, says nothing about where lines are put
        (ax, ay), (bx, by) = _middle(a.box), _middle(b.box)
        same_row = abs(ay - by) < ALIGNED / 2 and abs((a.box[3] - a.box[1]) - (b.box[3] - b.box[1])) < ALIGNED / 2
        return same_row and (abs(ax - bx) < ALIGNED or abs(a.box[0] - b.box[0]) < ALIGNED / 2)


def _middle(box: Corners) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _motion_around(motion: bytes, box: Corners) -> float:
    """Mean change in the cells of the motion grid that the box and its surroundings touch."""
    cells = np.frombuffer(motion, np.uint8).reshape(GRID, GRID)
    x0, y0 = (max(0, int(v * GRID) - 1) for v in box[:2])
    x1, y1 = (min(GRID, int(np.ceil(v * GRID)) + 1) for v in box[2:])
    return float(cells[y0:y1, x0:x1].mean())


def shown(samples: Sequence[Sample]) -> Iterator[tuple[Line, ...]]:
    """All lines of each sample: those read in it, and those of the sample before where nothing changed."""
    lines: tuple[Line, ...] = ()
    for sample in samples:
        if sample.rows is not None:
            top, bottom = sample.rows
            kept = (n for n in lines if (n.box[1] < top and top > 0) or (n.box[3] > bottom and bottom < 1))
            fresh = [n for n in kept if all(overlap(n.box, new.box) < SAME_PLACE for new in sample.lines)]
            lines = (*fresh, *sample.lines)
        yield lines


def follow(samples: Sequence[Sample], aspect: float) -> list[Text]:
    """Join the readings of all samples into texts, in the order in which they appear."""
    texts: list[Text] = []
    for step, lines in enumerate(shown(samples)):
        open_texts = [t for t in texts if samples[step].pts_s - samples[t.seen[-1][0]].pts_s <= GAP_S]
        pairs = []
        for t, text in enumerate(open_texts):
            for n, line in enumerate(lines):
                likeness = alike(text.seen[-1][1], line, aspect)
                if likeness > 0:
                    pairs.append((-likeness, t, n))
        used_texts: set[int] = set()
        used: set[int] = set()
        for _, t, n in sorted(pairs):
            if t not in used_texts and n not in used:
                used_texts.add(t)
                used.add(n)
                open_texts[t].seen.append((step, lines[n]))
        texts += [Text([(step, line)]) for n, line in enumerate(lines) if n not in used]
    return _without_slips(texts)


def _without_slips(texts: list[Text]) -> list[Text]:
    """Give a text that was read once, where and while another one like it was lost for a sample, back to that one."""
    kept: list[Text] = []
    for text in texts:
        step, line = text.seen[0]
        owner = next((other for other in texts if len(text.seen) == 1 and _slipped(other, step, line)), None)
        if owner is None:
            kept.append(text)
        else:
            owner.seen = sorted([*owner.seen, (step, line)], key=lambda seen: seen[0])
    return kept


def _slipped(text: Text, step: int, line: Line) -> bool:
    before = [seen for number, seen in text.seen if number < step]
    after = [seen for number, seen in text.seen if number > step]
    if not before or not after or len(before) + len(after) < len(text.seen):
        return False
    near = before[-1]
    words = SequenceMatcher(None, _letters(near.text), _letters(line.text), autojunk=False).ratio()
    return words >= SAME_TEXT and overlap(near.box, line.box) > 0 and _digits(near) == _digits(line)


def _digits(line: Line) -> str:
    return "".join(character for character in line.text if character.isdigit())


def alike(before: Line, after: Line, aspect: float) -> float:
    """How much two readings of neighbouring samples look like one text, 0 if not at all."""
    a, b = before.box, after.box
    heights = sorted((a[3] - a[1], b[3] - b[1]))
    if heights[1] > 1.6 * heights[0]:
        return 0.0
    old, new = _letters(before.text), _letters(after.text)
    words = SequenceMatcher(None, old, new, autojunk=False).ratio()
    common = overlap(a, b)
    same_row = common > 0 and min(a[3], b[3]) - max(a[1], b[1]) > 0.6 * heights[0]
    cut = any(box[0] < EDGE or box[2] > 1 - EDGE for box in (a, b)) and (old in new or new in old)
    if same_row and (cut or new.startswith(old)):  # cut off by the picture's side, or typed letter by letter
        return 1 + words + common
    counted = _digits(before) != _digits(after)
    sure = old != new and min(before.score, after.score) >= (SURE_NUMBER_SCORE if counted else SURE_SCORE)
    if common > SAME_PLACE and words >= SAME_TEXT and not sure:
        return 1 + words + common
    distance = float(np.hypot((_middle(a)[0] - _middle(b)[0]) * aspect, _middle(a)[1] - _middle(b)[1]))
    return words if words >= SAME_MOVING_TEXT and distance <= MOVE_MAX * heights[1] and not sure else 0.0


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def summarize_text(segments: Sequence[TextSegment], end_s: float) -> TextSummary:
    """The figures of the whole video of that length."""
    overlays = [segment for segment in segments if segment.kind == "overlay"]
    shown_s, until_s = 0.0, 0.0
    for segment in overlays:  # in order of their starts
        shown_s += max(0.0, segment.end - max(segment.start, until_s))
        until_s = max(until_s, segment.end)
    return TextSummary(
        full_text="\n".join(segment.text for segment in segments),
        overlay_text="\n".join(segment.text for segment in overlays),
        overlays=len(overlays),
        scene_texts=len(segments) - len(overlays),
        overlay_share=min(1.0, shown_s / end_s) if end_s > 0 else 0.0,
        first_overlay_s=overlays[0].start if overlays else None,
        covered=dict(Counter(app for segment in overlays for app in segment.covered_by)),
    )
