"""Says how pictures are composed: shot size, thirds, symmetry, balance, depth of focus, and what a classifier sees.

About once a second, and whenever the picture has changed, a frame is looked at. Measures and their sources are in
analyzers/methods/framing.py. The largest face (analyzers/models/faces.py) gives the shot size; without one there is
none. The subject is that face, else the tallest person of object_detection, else what stands out.

Scene words: analyzers/models/scene_words.py, EfficientNet's or in the full profile CLIP's; what is seen throughout a
shot counts. CLIP also tells the shot size where no face does.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from analyzers.methods.framing import (
    Depth,
    Framing,
    Point,
    ShotSize,
    depth_of,
    framing_of,
    place_of,
    size_by_face,
    thirds_of,
)
from analyzers.models import clip
from analyzers.models.clip import ClipOptions
from analyzers.models.hub import gpu_gb
from analyzers.models.scene_words import EFFICIENTNET, ImageNetWords, WordFinder, Words, square_of
from analyzers.models.tracking import difference
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Box, Document, ModelInfo, Report, Score, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch, Item

if TYPE_CHECKING:
    from analyzers.models.store import ModelStore

LABELS_MAX: Final = 5
CHANGED_LEVELS: Final = 30.0
"""Mean difference (of 255) of 8x8 pixel pictures from which it is another shot (pans change by up to 25 in 1/4 s)."""
LOOK_S: Final = 0.99
CHUNKS: Final = 8
"""In a batch of the full profile, with one or two looks each."""
EDGE_S: Final = 0.02
"""A look this close before a cut is already of the new shot: views sample at other times than cuts are measured."""
PERSON_SCORE_MIN: Final = 0.6
"""Of a person of object_detection."""


class Label(Document):
    """What is seen, and its probability: a class of ImageNet, or a label of CLIP's list (full profile)."""

    name: str
    score: Score


class CompositionSegment(Segment):
    """A stretch in which the composition stays the same.

    Args:
        shot_size: by the largest face; null if none is seen.
        thirds, symmetry, balance: 0..1, see analyzers/methods/framing.py; null where there is nothing to judge.
        depth: shallow or deep focus, null between; `sharp_share` of the picture is in focus.
        framing: where the subject is, in words; `subject` its box if it is a face or person.
        labels: what the shot shows throughout, most likely first.
    """

    shot_size: ShotSize | None
    thirds: Score | None
    symmetry: Score | None
    balance: Score | None
    depth: Depth | None
    sharp_share: Score | None
    framing: str | None
    subject: Box | None
    labels: list[Label]


class CompositionSummary(Summary):
    """The same over the whole: the words that hold longest, means by time; `shot_sizes`: share of the time by size."""

    shot_size: ShotSize | None
    thirds: Score | None
    symmetry: Score | None
    balance: Score | None
    depth: Depth | None
    framing: str | None
    labels: list[Label]
    shot_sizes: dict[ShotSize, Score]


class CompositionReport(Report[CompositionSegment, CompositionSummary]):
    """Segments that cover the video."""


@dataclass(frozen=True)
class Look:
    """What one looked-at frame shows.

    Args:
        pts_s: its time.
        thumb: 8x8 RGB bytes.
        framing: its measures.
        face: the largest face's box, None without one.
        classes: (number of a name, probability) of the likely ones.
        size: the shot size by the whole picture, where the profile has a network for it.
    """

    pts_s: float
    thumb: bytes
    framing: Framing
    face: tuple[float, float, float, float] | None
    classes: tuple[tuple[int, float], ...]
    size: ShotSize | None = None


@dataclass(frozen=True)
class CompositionPart:
    """The looks of one chunk, and its end in seconds."""

    looks: tuple[Look, ...]
    end_s: float


class CompositionAnalysis(Analyzer[CompositionPart, CompositionReport]):
    """Framing, shot size and scene words."""

    spec = AnalyzerSpec(
        "composition_analysis", version="1", needs=SCAN, after_if_ok=("cut_analysis", "object_detection")
    )
    options_model = ClipOptions
    tiles = True

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """CLIP runs on a GPU, over the looks of several chunks."""
        assert isinstance(options, ClipOptions)
        if profile == "embedded":
            return cls.spec
        return replace(cls.spec, gpu_gb=gpu_gb(options, clip.ACTIVATIONS_GB), batch=CHUNKS)

    def load(self, device: str, profile: Profile) -> None:
        """Open the face detector and what names pictures.

        Raises:
            ModelUnavailable: weights are not in the model store, or cannot be used.
        """
        from analyzers.models import faces
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        face_network = store.path(faces.MODEL, faces.FILE)
        import cv2

        cv2.setNumThreads(1)
        self._words: WordFinder = self._clip_words(device, profile) if profile.name == "full" else _imagenet(store)
        self._names = self._words.names
        self._faces = faces.FaceDetector(face_network)
        if profile.name == "embedded":
            self.model = ModelInfo(
                id="efficientnet-lite3, blazeface full range, spectral residual", revision=self.spec.version,
                backend="ai-edge-litert", precision="int8",
            )  # fmt: skip

    def _clip_words(self, device: str, profile: Profile) -> WordFinder:
        from analyzers.models.clip import shared_clip
        from analyzers.models.hub import locate
        from analyzers.models.scene_words import ClipWords

        assert isinstance(self.options, ClipOptions)
        network = shared_clip(locate(profile.models_dir, self.options.model, self.spec.name), device, self.options)
        note = "; ".join(text for text in (network.info.note, "faces: blazeface full range; labels unverified") if text)
        self.model = network.info.model_copy(update={"note": note})
        return ClipWords(network)

    def analyze(self, item: FrameBatch) -> CompositionPart:
        """Look at the first frame, then once a second and wherever the picture is another."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[CompositionPart]:
        """The same for chunks of any videos, all their pictures named at once."""
        from analyzers.models.ssd import is_picture

        batches = [item for item in items if isinstance(item, FrameBatch)]
        chosen = [_chosen(item) for item in batches]
        shown = [[is_picture(square_of(frame)) for frame, _, _ in some] for some in chosen]
        pictures = [
            one[0]
            for some, told in zip(chosen, shown, strict=True)
            for one, is_one in zip(some, told, strict=True)
            if is_one
        ]
        words = iter(self._words(pictures))
        return [
            CompositionPart(
                tuple(
                    self._look(frame, pts_s, thumb, next(words)) if is_one else _nothing(pts_s, thumb)
                    for (frame, pts_s, thumb), is_one in zip(some, told, strict=True)
                ),
                item.end_s,
            )
            for item, some, told in zip(batches, chosen, shown, strict=True)
        ]

    def _look(self, frame: npt.NDArray[np.uint8], pts_s: float, thumb: bytes, words: Words) -> Look:
        from analyzers.models.faces import SURE_SCORE

        found = [face for face in self._faces(frame) if face.score >= SURE_SCORE]
        largest = max(found, key=lambda face: face.box[3] - face.box[1], default=None)
        return Look(pts_s, thumb, framing_of(frame), largest.box if largest else None, words.classes, words.size)

    def summarize(self, parts: Sequence[CompositionPart], upstream: Upstream) -> CompositionReport:
        """Join looks that are alike to segments."""
        looks = [look for part in parts for look in part.looks]
        end_s = parts[-1].end_s if parts else 0.0
        people = _people(upstream.get("object_detection"))
        shots = upstream.get("cut_analysis")
        cuts = [shot.start for shot in shots.segments[1:]] if shots is not None else _jumps(looks)
        bounds = [0.0, *(cut for cut in cuts if 0 < cut < end_s), end_s]
        segments: list[CompositionSegment] = []
        for start_s, stop_s in itertools.pairwise(bounds if looks else []):
            inside = [look for look in looks if start_s - EDGE_S <= look.pts_s < stop_s - EDGE_S]
            labels = self._labels(inside, len(looks) == 1)
            sizes = _sizes(inside)
            seen = [(size, place_of(_point(look, people))) for size, look in zip(sizes, inside, strict=True)]
            firsts = [n for n in range(1, len(inside)) if seen[n] != seen[n - 1]]
            groups = [(a, b) for a, b in itertools.pairwise([0, *firsts, len(inside)])]
            times = [start_s, *(inside[first].pts_s for first in firsts), stop_s]
            segments += [
                _segment(inside[a:b], (start, max(start, end)), people, _most(sizes[a:b]), labels)
                for (a, b), (start, end) in zip(groups, itertools.pairwise(times), strict=True)
            ]
        return CompositionReport(segments=segments, summary=_summary(segments))

    def _labels(self, looks: Sequence[Look], lone: bool) -> list[Label]:
        """What is seen throughout a shot; `lone`: the video has no second look."""
        if not looks or (len(looks) == 1 and not lone):
            return []
        told = min(len(looks), 3)
        found = []
        for one in {one for look in looks for one, _ in look.classes}:
            values = [dict(look.classes).get(one, 0.0) for look in looks if look.classes]
            mean, low = float(np.mean(values)), float(np.percentile(values, 25))
            if mean >= self._words.mean_min[told] and low >= self._words.low_min[told]:
                found.append(Label(name=self._names[one], score=mean))
        return sorted(found, key=lambda label: (-label.score, label.name))[:LABELS_MAX]


def _imagenet(store: ModelStore) -> WordFinder:
    files = (store.path(EFFICIENTNET, name) for name in ("efficientnet_lite3.tflite", "efficientnet_labels.txt"))
    return ImageNetWords(*files)


# --- looks ------------------------------------------------------------------------------------------------------------


def _chosen(item: FrameBatch) -> list[tuple[npt.NDArray[np.uint8], float, bytes]]:
    """The frames of a chunk that are looked at, their times and 8x8 pictures."""
    import cv2

    chosen: list[tuple[npt.NDArray[np.uint8], float, bytes]] = []
    for number in range(item.lead_in, len(item.frames)):
        sparse = np.ascontiguousarray(item.frames[number, ::4, ::4])
        thumb = np.asarray(cv2.resize(sparse, (8, 8), interpolation=cv2.INTER_AREA), np.uint8).tobytes()
        pts_s = float(item.pts_s[number])
        if not chosen or pts_s - chosen[-1][1] >= LOOK_S or _other(chosen[-1][2], thumb):
            chosen.append((item.frames[number], pts_s, thumb))
    return chosen


def _nothing(pts_s: float, thumb: bytes) -> Look:
    return Look(pts_s, thumb, Framing(None, None, None, None), None, ())


# --- the subject ------------------------------------------------------------------------------------------------------

_Word = TypeVar("_Word", bound=str)
_Corners = tuple[float, float, float, float]
_People = list[tuple[float, float, list[_Corners]]]


def _people(report: Any) -> _People:
    """Boxes of persons by start and end, from object_detection's report; none without it."""
    if report is None:
        return []
    return [
        (
            segment.start,
            segment.end,
            [one.box for one in segment.objects if one.label == "person" and one.score >= PERSON_SCORE_MIN],
        )
        for segment in report.segments
    ]


def _body(look: Look, people: _People) -> _Corners | None:
    """The tallest person at a look's time."""
    boxes = next((boxes for start, end, boxes in people if start <= look.pts_s + 1e-3 < end), [])
    return max(boxes, key=lambda box: box[3] - box[1], default=None)


def _subject(look: Look, people: _People) -> _Corners | None:
    return look.face or _body(look, people)


def _point(look: Look, people: _People) -> Point | None:
    box = _subject(look, people)
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if box else look.framing.salient


def _sizes(looks: Sequence[Look]) -> list[ShotSize | None]:
    """The shot size of each look; where a face is lost for one look between others of its shot, it is still there."""
    sizes = [size_by_face(look.face[3] - look.face[1]) if look.face else look.size for look in looks]
    for number in range(1, len(sizes) - 1):
        if sizes[number] is None and sizes[number + 1] is not None:
            sizes[number] = sizes[number - 1]
    return sizes


def _inside(box: _Corners) -> _Corners:
    x0, y0, x1, y1 = (min(1.0, max(0.0, value)) for value in box)
    return x0, y0, x1, y1


# --- joining ----------------------------------------------------------------------------------------------------------


def _other(before: bytes, after: bytes) -> bool:
    """Whether two 8x8 pictures are of different shots."""
    one, two = (np.frombuffer(thumb, np.uint8).reshape(8, 8, 3) for thumb in (before, after))
    return bool(difference(one, two) > CHANGED_LEVELS)


def _jumps(looks: Sequence[Look]) -> list[float]:
    """Where shots begin, if cut_analysis does not say it."""
    return [after.pts_s for before, after in itertools.pairwise(looks) if _other(before.thumb, after.thumb)]


def _segment(
    looks: Sequence[Look], span: tuple[float, float], people: _People, size: ShotSize | None, labels: list[Label]
) -> CompositionSegment:
    """The segment of looks that are composed alike; none of them in a shot too short to be looked at."""
    subjects = [_subject(look, people) for look in looks]
    points = [_point(look, people) for look in looks]
    share = _mean(look.framing.sharp_share for look in looks)
    middle = subjects[len(subjects) // 2] if subjects else None
    return CompositionSegment(
        start=span[0],
        end=span[1],
        shot_size=size,
        thirds=_mean(thirds_of(point) for point in points),
        symmetry=_mean(look.framing.symmetry for look in looks),
        balance=_mean(look.framing.balance for look in looks),
        depth=depth_of(share),
        sharp_share=share,
        framing=_most([place_of(point) for point in points]),
        subject=_inside(middle) if middle else None,
        labels=labels if not looks or any(look.classes for look in looks) else [],
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.clip(np.mean(known), 0, 1)) if known else None


def _most(values: Sequence[_Word | None]) -> _Word | None:
    """The most frequent of the known ones, if half of them are known."""
    known = [value for value in values if value is not None]
    return Counter(known).most_common(1)[0][0] if 2 * len(known) >= max(len(values), 1) else None


def _summary(segments: Sequence[CompositionSegment]) -> CompositionSummary:
    """Everything weighed by time."""
    total = max(sum(segment.end - segment.start for segment in segments), 1e-9)

    def longest(name: str) -> Any:
        times: Counter[Any] = Counter()
        for segment in segments:
            if getattr(segment, name) is not None:
                times[getattr(segment, name)] += segment.end - segment.start  # type: ignore[assignment]
        return times.most_common(1)[0][0] if times else None

    def mean(name: str) -> float | None:
        known = [(getattr(s, name), max(s.end - s.start, 1e-6)) for s in segments if getattr(s, name) is not None]
        return sum(value * length for value, length in known) / sum(length for _, length in known) if known else None

    sizes: dict[ShotSize, float] = {}
    best: dict[str, float] = {}
    for segment in segments:
        if segment.shot_size is not None:
            sizes[segment.shot_size] = sizes.get(segment.shot_size, 0.0) + (segment.end - segment.start) / total
        for label in segment.labels:
            best[label.name] = max(best.get(label.name, 0.0), label.score)
    labels = sorted(best.items(), key=lambda item: -item[1])[:LABELS_MAX]
    return CompositionSummary(
        shot_size=longest("shot_size"),
        thirds=mean("thirds"),
        symmetry=mean("symmetry"),
        balance=mean("balance"),
        depth=longest("depth"),
        framing=longest("framing"),
        labels=[Label(name=name, score=score) for name, score in labels],
        shot_sizes={size: min(share, 1.0) for size, share in sizes.items()},
    )
