"""How much of the picture people cover, what is behind them, and whether that is in or out of doors.

People: MediaPipe selfie segmentation (general model, 256x256; model card: MediaPipe Selfie Segmentation, Google 2021).
It outlines whatever stands out, a rabbit as well as a man. So each area is believed only if MoveNet finds joints of a
person in it or SSD MobileNet v2 a person on it; nearby areas in the next pictures of the chunk inherit the verdict.

Behind them: sky and vegetation by colour, texture and place, everything else is `background`; the setting from these
areas and from objects that stand in rooms or in streets, within seconds of one shot
(analyzers/methods/surroundings.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.poses import is_evident
from analyzers.methods.surroundings import (
    Decision,
    Evidence,
    Mask,
    Setting,
    decide,
    drawn,
    evidence_of_areas,
    evidence_of_objects,
    roughness,
    settings_over_time,
    sky,
    squeezed,
    vegetation,
)
from analyzers.models.litert import LiteNetwork
from analyzers.models.movenet import MoveNet
from analyzers.models.ssd import LABELS, Floats, input_of, is_picture, shared_ssd
from analyzers.models.tracking import Corners, Sample, difference, iou, scene_changes, scenes, small_picture
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import ModelInfo, Report, Score, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

MODEL, DETECTOR, POSES = "mediapipe_selfie_segmentation", "ssd_mobilenet_v2_coco", "movenet_lightning"
MASK_PX: Final = 256
MASK_MIN: Final = 0.5
AREA_MIN: Final = 0.01
"""Share of the picture; smaller areas are not looked into and not counted."""
PERSON: Final = 1
PERSON_SCORE_MIN: Final = 0.4
"""Without joints. Less than object_detection asks for, since outline and detector agree; animals stay below 0.3."""
EVIDENCE: Final = ((0.55, 0.0), (0.4, 0.2))
"""Mean score of the six best joints, and the detector's that is still needed then; a rabbit reached 0.45 and 0.17."""
PERSON_ON_AREA_MIN: Final = 0.5
"""Share of an area that people's boxes must cover."""
SAME_AREA_IOU: Final = 0.5
LOOK_EVERY_CHUNKS: Final = 4
"""Objects are looked for in the first picture of every fourth chunk, beside whenever an area is in doubt."""
SAME_LEVELS: Final = 1.0
"""Mean difference (of 255) in every one of 8x8 blocks up to which a picture is the one before."""
LIKE_LEVELS: Final = 5.0
"""Mean difference of 8x8 pixel pictures up to which every second one is looked at, as in object_detection."""
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
class Look:
    """One sampled picture: what scene changes are seen by, shares of its classes, and what areas and objects tell."""

    sample: Sample
    shares: tuple[tuple[str, float], ...]
    areas: tuple[Evidence, ...]
    objects: tuple[Evidence, ...]


@dataclass(frozen=True)
class BackgroundPart:
    """One chunk's pictures, and where the chunk ends in seconds."""

    looks: tuple[Look, ...]
    end_s: float


@dataclass
class _Areas:
    """Boxes of areas in a picture that were judged, and whether each is a person."""

    judged: list[tuple[Corners, bool]] = field(default_factory=list)

    def verdict(self, box: Corners) -> bool | None:
        return next((person for other, person in self.judged if iou(box, other) >= SAME_AREA_IOU), None)


class BackgroundSegmentation(Analyzer[BackgroundPart, BackgroundReport]):
    """Shares of people, sky, vegetation and the rest, and the setting; see the module's head for the method."""

    spec = AnalyzerSpec("background_segmentation", "1.0", SCAN, timeout_s=60)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Open the networks on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store.
        """
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        mask = store.path(MODEL, "selfie_segmentation.tflite")
        poses, graph = store.path(POSES, "movenet_lightning.tflite"), store.path(DETECTOR, "frozen_inference_graph.pb")
        import cv2

        cv2.setNumThreads(1)
        self._network, self._movenet, self._detector = LiteNetwork(mask), MoveNet(poses), shared_ssd(graph)
        note = f"areas confirmed by {POSES} or {DETECTOR}; sky and vegetation by colour and texture"
        self.model = ModelInfo(id=MODEL, revision="0.10.21", backend="LiteRT", note=note)

    def analyze(self, item: FrameBatch) -> BackgroundPart:
        """Outline people, confirm them, and name what is behind."""
        looks: list[Look] = []
        areas = _Areas()
        asked = item.index % LOOK_EVERY_CHUNKS != 0
        copied = False
        for number in range(item.lead_in, len(item.frames)):
            frame = item.frames[number]
            picture = _square(frame)
            sample = Sample(float(item.pts_s[number]), None, _thumb(picture), small_picture(picture))
            if looks and (_same(looks[-1].sample, sample) or (not copied and _like(looks[-1].sample, sample))):
                looks.append(Look(sample, looks[-1].shares, looks[-1].areas, ()))
                copied = True
                continue
            if looks and scene_changes(looks[-1].sample, sample):
                areas = _Areas()
            person, objects, copied = _nowhere(), tuple[Evidence, ...](), False
            if is_picture(picture):
                answer = None if asked else self._detector(input_of(frame))
                person, areas, answer = self._people(frame, picture, areas, answer)
                if answer is not None:
                    asked, best = True, answer[1].max(axis=0)
                    objects = tuple(evidence_of_objects({name: float(best[label]) for label, name in LABELS.items()}))
            looks.append(_look(sample, picture, person, objects))
        return BackgroundPart(tuple(looks), item.end_s)

    def _people(
        self,
        frame: npt.NDArray[np.uint8],
        picture: npt.NDArray[np.uint8],
        before: _Areas,
        answer: tuple[Floats, Floats] | None,
    ) -> tuple[Mask, _Areas, tuple[Floats, Floats] | None]:
        """Where people are, [256, 256], the verdicts on all areas, and the detector's answer if it had to be asked."""
        import cv2

        (outline,) = self._network(picture.astype(np.float32) / 255).values()
        mask = outline.reshape(MASK_PX, MASK_PX) > MASK_MIN
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        person, areas = _nowhere(), _Areas()
        for label in range(1, count):
            x, y, wide, tall, pixels = (int(value) for value in stats[label])
            if pixels < AREA_MIN * MASK_PX**2:
                continue
            box = (x / MASK_PX, y / MASK_PX, (x + wide) / MASK_PX, (y + tall) / MASK_PX)
            verdict = before.verdict(box)
            if verdict is None:
                points = self._movenet(frame, box)
                least = next((n for joints, n in EVIDENCE if is_evident(points, box, joints)), PERSON_SCORE_MIN)
                if least > 0:
                    answer = answer if answer is not None else self._detector(input_of(frame))
                verdict = answer is None or least == 0 or _is_covered(labels == label, *answer, least)
            areas.judged.append((box, verdict))
            if verdict:
                person |= labels == label
        return person, areas, answer

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


# --- one picture ------------------------------------------------------------------------------------------------------


def _square(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An RGB picture squeezed to the network's square, [256, 256, 3]."""
    import cv2

    how = cv2.INTER_AREA if min(frame.shape[:2]) >= MASK_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (MASK_PX, MASK_PX), interpolation=how), np.uint8)


def _thumb(picture: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    return np.asarray(cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA)).tobytes()


def _same(before: Sample, after: Sample) -> bool:
    """Whether no block of the picture changed."""
    a, b = (np.frombuffer(s.small, np.uint8).reshape(8, 8, 8, 8).astype(np.int16) for s in (before, after))
    return bool(np.abs(a - b).mean(axis=(1, 3)).max() <= SAME_LEVELS)


def _like(before: Sample, after: Sample) -> bool:
    """Whether two pictures show the same, moved a little."""
    a, b = (np.frombuffer(s.thumb, np.uint8) for s in (before, after))
    return difference(a, b) <= LIKE_LEVELS


def _nowhere() -> Mask:
    return np.zeros((MASK_PX, MASK_PX), bool)


def _is_covered(area: Mask, boxes: Floats, scores: Floats, score_min: float) -> bool:
    """Whether people that the detector is so sure of cover enough of an area [256, 256]."""
    people = np.zeros_like(area)
    for x0, y0, x1, y1 in np.clip(boxes[scores[:, PERSON] >= score_min], 0, 1) * MASK_PX:
        people[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return bool((area & people).sum() >= PERSON_ON_AREA_MIN * area.sum())


def _look(sample: Sample, square: npt.NDArray[np.uint8], person: Mask, objects: tuple[Evidence, ...]) -> Look:
    picture = squeezed(square)
    rough = roughness(picture)
    people = person.reshape(len(rough), 2, len(rough), 2).mean(axis=(1, 3)) > 0.5
    green = vegetation(picture, ~people)
    blue = sky(picture, rough, ~people & ~green)
    shares = {"person": float(person.mean()), "sky": float(blue.mean()), "vegetation": float(green.mean())}
    shares = {name: share for name, share in shares.items() if share > 0}
    shares["background"] = max(0.0, 1 - sum(shares.values()))
    return Look(sample, tuple(shares.items()), tuple(evidence_of_areas(shares, drawn(picture, rough))), objects)


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
