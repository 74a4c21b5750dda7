"""Finds what editors do to pictures: fades, flashes, freezes, slow motion, punches, blurs, splits, bars, graphics.

Classical signal processing at 12 fps. A chunk becomes figures per frame (analyzers/methods/effects_features.py);
detectors decide over the whole video, each with its measures and thresholds beside it: effects_light (fade, flash,
black and white, blur), effects_motion (freeze, slow motion, speed ramp, zoom punch, shake, glitch), effects_layout
(letterbox, split screen, overlay graphic). What a camera or a cut does is no effect, and in doubt nothing is claimed.

What counts, and the meaning of `amount`:

- fade_in, fade_out: from and to plain black or white, from the plain colour to full light.
- flash: nearly all of the picture washed out for up to 0.45 s; the peak's luma, 0..1. One shorter than 1/12 s is seen
  only if a sample falls into it, and so are glitches and single displaced frames.
- freeze_frame: within a shot the picture stands exactly still right after it moved, 0.4 s and more.
- slow_motion: frames repeat in a pattern while the picture changes less per second than around; the share of steps
  that are new. At 12 fps repeats show from about 2.5 times slower on in 30 fps footage; interpolated or high-rate slow
  motion looks like slow movement and is not found. speed_ramp: the camera's motion jumps to another even speed; the
  factor. Where the camera stands still, a change of speed is not found.
- zoom_punch: enlarged by 9 % and more within 0.3 s, at rest before and after; the scale.
- blur_in, blur_out: the whole picture gains or loses sharpness within 0.2 to 1.6 s; the factor.
- split_screen: two halves beside or above each other that move on their own; the number of panels.
- letterbox: two equal black bars, above and below or left and right; the share they take; `box` is the picture between.
- black_and_white: no colour for half a second and more.
- overlay_graphic: a sticker, badge, logo or inset that appears at once and stays fixed while the picture moves under
  it; the share of the picture; `box` where. Letters without a backing are not solid enough, a wide two-toned box full
  of upright strokes is a caption: text is text_overlay's.
- glitch: colour planes part or slices are displaced for a moment.
- shake: the picture is thrown to and fro for a moment while the camera is otherwise quiet; short sides per throw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analyzers.methods.effects_features import Features, features_of, join
from analyzers.methods.effects_layout import Still
from analyzers.methods.effects_strip import Effect, Kind
from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import NotApplicable
from pipeline.results import Box, ModelInfo, Number, Report, Score, Segment, Summary, Upstream
from pipeline.types import MOTION, AnalyzerSpec, FrameBatch

STILL_QUALITY: Final = 80
"""JPEG quality of the gray frames kept to tell captions from graphics: strokes must remain."""


class EffectSegment(Segment):
    """One effect. `amount` is in the kind's own measure (see the module's head), `box` null for the whole picture."""

    kind: Kind
    score: Score
    amount: Number | None = None
    box: Box | None = None


class EffectsSummary(Summary):
    """How many of each kind that occurs, and effects per minute."""

    counts: dict[Kind, int]
    effects_per_minute: Number


class EffectsReport(Report[EffectSegment, EffectsSummary]):
    """One segment per effect; they may overlap. No effect, no segment."""


@dataclass(frozen=True)
class EffectsPart:
    """The figures of one chunk's frames, two of its frames in gray, and its end in seconds."""

    features: Features
    stills: tuple[Still, ...]
    end_s: float


class VisualEffects(Analyzer[EffectsPart, EffectsReport]):
    """Visual effects with times."""

    spec = AnalyzerSpec("visual_effects", version="1", needs=MOTION)

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: the methods are classical."""
        import cv2

        cv2.setNumThreads(1)
        self.model = ModelInfo(
            id="light, sharpness, dense motion, bars and screen-fixed blocks, by rules",
            revision=self.spec.version,
            backend=f"opencv {cv2.__version__}",
        )

    def analyze(self, item: FrameBatch) -> EffectsPart:
        """Figures of each frame, the steps from the lead-in frame included."""
        import cv2

        own = range(item.lead_in, len(item.frames))
        stills = []
        for number in sorted({own[len(own) // 2], own[-1]}):
            gray = cv2.cvtColor(item.frames[number], cv2.COLOR_RGB2GRAY)
            jpeg = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, STILL_QUALITY])[1]
            stills.append(Still(float(item.pts_s[number]), jpeg.tobytes()))
        return EffectsPart(features_of(item.frames, item.pts_s, item.lead_in), tuple(stills), item.end_s)

    def summarize(self, parts: Sequence[EffectsPart], upstream: Upstream) -> EffectsReport:
        """Run every detector over the whole video."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        end_s = parts[-1].end_s
        found = effects(join([part.features for part in parts]), [s for part in parts for s in part.stills], end_s)
        segments = [
            EffectSegment(
                start=one.start_s, end=max(one.start_s, min(one.end_s, end_s)), kind=one.kind, score=one.score,
                amount=one.amount, box=one.box,
            )
            for one in found
        ]  # fmt: skip
        counts: Counter[Kind] = Counter(one.kind for one in found)
        summary = EffectsSummary(
            counts=dict(sorted(counts.items())), effects_per_minute=60 * len(found) / end_s if end_s > 0 else 0.0
        )
        return EffectsReport(segments=segments, summary=summary)


def effects(features: Features, stills: Sequence[Still], end_s: float) -> list[Effect]:
    """All effects of a video, by start."""
    from analyzers.methods import effects_layout, effects_light, effects_motion
    from analyzers.methods.effects_strip import Strip

    if min(features.diff.shape[1:]) < 2:
        return []  # a picture of less than 16 pixels shows nothing that could be told from an effect
    strip = Strip(features, end_s)
    found = [*effects_light.find(strip), *effects_motion.find(strip)]
    found += effects_layout.find(strip, stills, found.copy())
    return sorted(found, key=lambda one: (one.start_s, one.kind))
