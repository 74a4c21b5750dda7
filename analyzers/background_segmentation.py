"""How much of the picture people cover, what is behind them, and whether that is in or out of doors.

People: MediaPipe selfie segmentation (general model, 256x256; model card: MediaPipe Selfie Segmentation, Google 2021).
It outlines whatever stands out, a rabbit as well as a man. So each area is believed only if MoveNet finds joints of a
person in it or SSD MobileNet v2 a person on it; nearby areas in the next pictures of the chunk inherit the verdict.

Behind them: sky and vegetation by colour, texture and place, everything else is `background`; the setting from these
areas and from objects that stand in rooms or in streets, within seconds of one shot
(analyzers/methods/surroundings.py).

Full profile: SegFormer names the class of every part (ADE20K, analyzers/models/segformer.py), many pictures at once;
classes that stand out of doors or in rooms (analyzers/methods/ade20k.py) tell the setting by the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from analyzers.methods.surroundings import Decision, Setting, decide, settings_over_time
from analyzers.models import segformer
from analyzers.models.backgrounds import ClassOutliner, Look, Outliner, PersonOutliner
from analyzers.models.hub import locate
from analyzers.models.tracking import scenes
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import ModelInfo, Report, Score, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

MODEL, DETECTOR, POSES = "mediapipe_selfie_segmentation", "ssd_mobilenet_v2_coco", "movenet_lightning"
AGREED_MIN: Final = 2 / 3
"""Share of the time whose setting is known that the video's setting must have."""
MERGE_SHARE: Final = 0.03
"""Samples of a shot whose shares differ by less are one segment."""


class BackgroundSegment(Segment):
    """A stretch of one shot with nearly the same areas. `classes` are shares of the picture that make 1."""

    classes: dict[str, Score]
    person_share: Score
    setting: Setting


class BackgroundSummary(Summary):
    """Means over the time. `setting` is the one of most of the time that is known, `setting_score` how sure that is,
    `setting_reason` why; `settings` the shares of the time."""

    classes: dict[str, Score]
    person_share: Score
    setting: Setting
    setting_score: Score
    setting_reason: str
    settings: dict[Setting, Score]


class BackgroundReport(Report[BackgroundSegment, BackgroundSummary]):
    """Segments tile the video."""


@dataclass(frozen=True)
class BackgroundPart:
    """One chunk's pictures, and where the chunk ends in seconds."""

    looks: tuple[Look, ...]
    end_s: float


class BackgroundOptions(segformer.SegFormerOptions):
    """`model` of the full profile: a SegFormer trained on ADE20K."""

    model: str = "segformer_b2_ade"


class BackgroundSegmentation(Analyzer[BackgroundPart, BackgroundReport]):
    """Shares of people, sky, vegetation and the rest, and the setting; see the module's head for the method."""

    spec = AnalyzerSpec("background_segmentation", "1.0", SCAN, timeout_s=60)
    tiles = True
    options_model = BackgroundOptions
    options: BackgroundOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """Under the full profile a share of a GPU, and 8 chunks at once: their 32 pictures are two calls."""
        if profile != "full":
            return cls.spec
        assert isinstance(options, BackgroundOptions)
        return replace(cls.spec, gpu_gb=segformer.needed_gb(options), batch=8)

    def load(self, device: str, profile: Profile) -> None:
        """Open the networks, on one thread of a CPU or on a GPU.

        Raises:
            ModelUnavailable: the weights are not in the model store, or cannot be used.
        """
        if profile.name == "full":
            local = locate(profile.models_dir, self.options.model, self.spec.name)
            network = segformer.SegFormer(local, device, self.options)
            self._outline: Outliner = ClassOutliner(network)
            self.model = network.info
            return
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        mask = store.path(MODEL, "selfie_segmentation.tflite")
        poses, graph = store.path(POSES, "movenet_lightning.tflite"), store.path(DETECTOR, "frozen_inference_graph.pb")
        import cv2

        cv2.setNumThreads(1)
        self._outline = PersonOutliner(mask, poses, graph)
        note = f"areas confirmed by {POSES} or {DETECTOR}; sky and vegetation by colour and texture"
        self.model = ModelInfo(id=MODEL, revision="0.10.21", backend="LiteRT", note=note)

    def analyze(self, item: FrameBatch) -> BackgroundPart:
        """Outline people and what is behind them in one chunk."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[FrameBatch]) -> list[BackgroundPart]:  # type: ignore[override]
        """The same in the pictures of all chunks."""
        return [
            BackgroundPart(tuple(looks), item.end_s) for item, looks in zip(items, self._outline(items), strict=True)
        ]

    def summarize(self, parts: Sequence[BackgroundPart], upstream: Upstream) -> BackgroundReport:
        """Pool the evidence of each shot and join samples that are alike."""
        looks = [look for part in parts for look in part.looks]
        if not looks:
            empty = BackgroundSummary(
                classes={},
                person_share=0.0,
                setting="unknown",
                setting_score=0.0,
                setting_reason="no picture",
                settings={},
            )
            return BackgroundReport(segments=[], summary=empty)
        ends = [look.sample.pts_s for look in looks[1:]] + [max(parts[-1].end_s, looks[-1].sample.pts_s)]
        shots = scenes([look.sample for look in looks])
        settings = settings_over_time(
            [look.sample.pts_s for look in looks],
            shots,
            [look.areas for look in looks],
            [look.objects for look in looks],
        )
        segments: list[BackgroundSegment] = []
        first = 0
        for number in range(1, len(looks) + 1):
            same = number < len(looks) and (shots[number], settings[number][0]) == (shots[first], settings[first][0])
            if same and _alike(looks[first], looks[number]):
                continue
            spans = [end - look.sample.pts_s for look, end in zip(looks[first:number], ends[first:number], strict=True)]
            classes = _mean([dict(look.shares) for look in looks[first:number]], spans)
            segments.append(
                BackgroundSegment(
                    start=looks[first].sample.pts_s,
                    end=ends[number - 1],
                    classes=classes,
                    person_share=classes.get("person", 0.0),
                    setting=settings[first][0],
                )
            )
            first = number
        spans = [end - look.sample.pts_s for look, end in zip(looks, ends, strict=True)]
        return BackgroundReport(segments=segments, summary=_summary(segments, settings, spans))


# --- the whole video --------------------------------------------------------------------------------------------------


def _alike(a: Look, b: Look) -> bool:
    one, other = dict(a.shares), dict(b.shares)
    return all(abs(one.get(name, 0.0) - other.get(name, 0.0)) <= MERGE_SHARE for name in one | other)


def _mean(shares: Sequence[dict[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Weighted mean shares, largest first, that make 1 as rounded."""
    total = sum(weights)
    weights = [weight / total for weight in weights] if total > 0 else [1 / len(shares)] * len(shares)
    names = {name for each in shares for name in each} - {"background"}
    mean = {
        name: round(sum(w * each.get(name, 0.0) for w, each in zip(weights, shares, strict=True)), 4) for name in names
    }
    mean["background"] = round(max(0.0, 1 - sum(mean.values())), 4)
    return dict(sorted(mean.items(), key=lambda item: (-item[1], item[0])))


def _summary(
    segments: Sequence[BackgroundSegment], settings: Sequence[Decision], spans: Sequence[float]
) -> BackgroundSummary:
    classes = _mean([segment.classes for segment in segments], [segment.end - segment.start for segment in segments])
    total = sum(spans)
    weights = [span / total for span in spans] if total > 0 else [1 / len(spans)] * len(spans)
    times: dict[Setting, float] = {}
    for (name, _, _), weight in zip(settings, weights, strict=True):
        times[name] = times.get(name, 0.0) + weight
    known = sorted(((time, name) for name, time in times.items() if name != "unknown"), reverse=True)
    setting, score, reason = decide([])
    if known:
        share, name = known[0]
        agreed = share / sum(time for time, _ in known)
        mean = sum(w * value for (other, value, _), w in zip(settings, weights, strict=True) if other == name) / share
        if agreed >= AGREED_MIN:
            best = max((value for value in settings if value[0] == name), key=lambda value: value[1])
            setting, score, reason = name, mean * agreed, f"{share:.0%} of the time; {best[2]}"
        else:
            reason = "changes: " + ", ".join(f"{other} {time:.0%} of the time" for time, other in known)
    return BackgroundSummary(
        classes=classes,
        person_share=classes.get("person", 0.0),
        setting=setting,
        setting_score=score,
        setting_reason=reason,
        settings=dict(sorted(times.items(), key=lambda item: (-item[1], item[0]))),
    )
