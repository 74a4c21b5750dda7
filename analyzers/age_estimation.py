"""age_estimation: how old the people seem whose faces are large enough to tell. An estimate, and no more.

Faces: MediaPipe's BlazeFace twice a second (analyzers/models/faces.py), each confirmed by the face mesh's own flag.
Age: HSE FaceRes (analyzers/models/age.py) on the best sight of each face in each second; a person's age is the median
of these, weighted by size, sharpness and how far the face is turned to the camera. `age_range` holds the true age of
about four people in five: the network's published error, widened by how much the sights disagree. What a face seems to
say is no fact about a person; it depends on light, on make-up and on whose photos the network was trained with. A
deployment that does not want it lists `age_estimation` under `disabled` in its settings. Only the age is told.

Full profile: faces and ages by InsightFace's pack buffalo_l (analyzers/models/insight_face.py), ages of many chunks in
one call; tracks, medians and ranges are the same, with the same error, since InsightFace publishes none to rely on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.models import insight_face
from analyzers.models.faces import (
    FILE,
    MODEL,
    Face,
    FaceDetector,
    Picture,
    Small,
    clipped,
    follow,
    letterbox,
    small,
    still,
)
from analyzers.models.hub import ModelOptions, locate
from analyzers.models.tracking import Corners
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Box, Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch

STEP: Final = 2
"""Every second sample is looked at."""
FACE_PX_MIN: Final = 40.0
"""A smaller face (its mesh's shorter side) shows no age: the network's input is 224 px."""
QUALITY_MIN: Final = 0.05
"""Below, a face is turned away, tiny or a blur."""
QUALITY_GOOD: Final = 0.2
"""Poorer sights are read in every second chunk only: a small face costs as much as a large one and says little."""
FACES_MAX: Final = 6
"""Faces of one picture that are looked at, the largest first."""
COVERED: Final = 1.2816
"""Standard deviations on either side that hold four of five values of a normal distribution."""
OF_MEAN_ERROR: Final = math.sqrt(math.pi / 2)
"""The standard deviation of a normal distribution in mean absolute errors."""
OF_DEVIATION: Final = 1.4826
"""The same in median absolute deviations."""

Years = Annotated[float, Field(ge=0, le=120)]
AgeRange = tuple[Years, Years]


class AgedFace(Document):
    """One face in one sampled picture, with the estimate for its person: years, or null where it cannot be told."""

    track: int
    box: Box
    score: Score
    age: Number | None
    age_range: AgeRange | None


class AgeSegment(Segment):
    """The faces from one sample to the next, largest first."""

    faces: list[AgedFace]


class PersonAge(Document):
    """One person: estimated age in years, the range that holds the true age of four people in five, from how many
    sights, and when the face is seen."""

    track: int
    age: Number
    age_range: AgeRange
    sights: int
    start: Seconds
    end: Seconds


class AgeSummary(Summary):
    """Those whose age can be told, in the order in which they appear; a face is followed up to the next cut only."""

    people: list[PersonAge]
    faces_without_age: int


class AgeReport(Report[AgeSegment, AgeSummary]):
    """One segment per picture that was looked at, two a second."""


@dataclass(frozen=True)
class Sight:
    """One face of one sample, before tracking: how good a sight it is, 0..1, and the age in years if it was read."""

    face: Face
    quality: float
    age: float | None = None


@dataclass(frozen=True)
class AgeSample:
    """One sampled picture: its time in s, it made small, its faces."""

    pts_s: float
    small: Small
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class AgePart:
    """One chunk's samples, and where the chunk ends in seconds."""

    samples: tuple[AgeSample, ...]
    end_s: float


class FaceReader(Protocol):
    """Finds faces and tells their ages."""

    def look(self, picture: Picture, fitted: Picture, around: Corners) -> tuple[tuple[Sight, ...], list[Picture]]:
        """The largest faces with their qualities, and the cut-outs that their ages are read from.

        Args:
            picture: RGB.
            fitted, around: what `letterbox` makes of it.
        """

    def ages(self, crops: Sequence[Picture]) -> list[float]:
        """In years."""


class AgeOptions(ModelOptions):
    """`model` of the full profile: a folder with buffalo_l's two files. `gpu`: whether to ask for a share of a GPU,
    which needs onnxruntime-gpu in place of onnxruntime."""

    model: str = "insightface_buffalo_l"
    quantize: Literal["none"] = "none"
    gpu: bool = False


class AgeEstimation(Analyzer[AgePart, AgeReport]):
    """Faces followed, age and range; see the module's head for the method and for how to switch it off."""

    spec = AnalyzerSpec("age_estimation", "1.0", SCAN)
    tiles = True
    options_model = AgeOptions
    options: AgeOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """Under the full profile 8 chunks at once, and two workers: a picture takes ten times as long as BlazeFace."""
        if profile != "full":
            return cls.spec
        assert isinstance(options, AgeOptions)
        if options.gpu:
            return replace(cls.spec, batch=8, gpu_gb=insight_face.NEEDED_GB)
        return replace(cls.spec, batch=8, replicas=2)

    def load(self, device: str, profile: Profile) -> None:
        """Open the networks on one thread.

        Raises:
            ModelUnavailable: the weights are not in the model store, or cannot be used.
        """
        import cv2

        cv2.setNumThreads(1)
        if profile.name == "full":
            pack = insight_face.InsightFace(locate(profile.models_dir, self.options.model, self.spec.name), device)
            self._reader: FaceReader = PackReader(pack)
            self.model = pack.info
            return
        from analyzers.models.store import ModelStore

        store = ModelStore(profile.models_dir)
        detector = store.path(MODEL, FILE)
        import onnxruntime

        from analyzers.models import age, face_mesh

        mesh, network = store.path(face_mesh.MODEL, face_mesh.MESH_FILE), store.folder(age.MODEL) / age.FILE
        self._reader = MeshReader(detector, mesh, network)
        self.model = ModelInfo(
            id="HSE FaceRes (age_gender_tf2_224_deep)",
            revision="human 3.3.6",
            backend=f"onnxruntime {onnxruntime.__version__}",
            licence="MIT",
            note="an estimate of apparent age; can be switched off with the setting `disabled`",
        )

    def analyze(self, item: FrameBatch) -> AgePart:
        """Look at one chunk."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[FrameBatch]) -> list[AgePart]:  # type: ignore[override]
        """Look at every second picture, and read the age of the best sight of each face in each chunk."""
        chunks = [self._look(item) for item in items]
        chosen: list[tuple[int, int, int]] = []
        for number, (item, (samples, _)) in enumerate(zip(items, chunks, strict=True)):
            least = QUALITY_MIN if item.index % 2 == 0 else QUALITY_GOOD
            chosen += [(number, step, place) for step, place in _best(samples, least)]
        ages = self._reader.ages([chunks[number][1][step][place] for number, step, place in chosen])
        for (number, step, place), age in zip(chosen, ages, strict=True):
            samples = chunks[number][0]
            sights = samples[step].sights
            read = replace(sights[place], age=age)
            samples[step] = replace(samples[step], sights=(*sights[:place], read, *sights[place + 1 :]))
        return [AgePart(tuple(samples), item.end_s) for item, (samples, _) in zip(items, chunks, strict=True)]

    def _look(self, item: FrameBatch) -> tuple[list[AgeSample], list[list[Picture]]]:
        """One chunk's samples, and the cut-outs of their faces; none where the picture is the one before."""
        samples: list[AgeSample] = []
        crops: list[list[Picture]] = []
        before: Picture | None = None
        for number in range(item.lead_in, len(item.frames), STEP):
            picture = item.frames[number]
            fitted, around = letterbox(picture)
            if before is not None and still(before, fitted):
                sights = tuple(replace(sight, quality=0.0) for sight in samples[-1].sights)
                crops.append([])
            else:
                before = fitted
                sights, cut = self._reader.look(picture, fitted, around)
                crops.append(cut)
            samples.append(AgeSample(float(item.pts_s[number]), small(fitted, around), sights))
        return samples, crops

    def summarize(self, parts: Sequence[AgePart], upstream: Upstream) -> AgeReport:
        """Follow the faces and put the ages of each together."""
        samples = [sample for part in parts for sample in part.samples]
        ends = [sample.pts_s for sample in samples[1:]] + [part.end_s for part in parts[-1:]]
        tracks = follow([(s.pts_s, s.small, [sight.face for sight in s.sights]) for s in samples])
        shown: list[list[AgedFace]] = [[] for _ in samples]
        people = []
        count = max((number for numbers in tracks for number in numbers), default=0)
        for track in range(1, count + 1):
            steps = [(step, numbers.index(track)) for step, numbers in enumerate(tracks) if track in numbers]
            sights = [samples[step].sights[place] for step, place in steps]
            told = together([(s.age, s.quality) for s in sights if s.age is not None])
            age, age_range = told if told is not None else (None, None)
            for (step, _), sight in zip(steps, sights, strict=True):
                box = clipped(sight.face.box)
                face = AgedFace(track=track, box=box, score=sight.face.score, age=age, age_range=age_range)
                shown[step].append(face)
            if told is not None:
                people.append(
                    PersonAge(
                        track=track,
                        age=told[0],
                        age_range=told[1],
                        sights=sum(sight.age is not None for sight in sights),
                        start=samples[steps[0][0]].pts_s,
                        end=max(ends[steps[-1][0]], samples[steps[-1][0]].pts_s),
                    )
                )
        segments = [
            AgeSegment(start=sample.pts_s, end=max(end, sample.pts_s), faces=sorted(faces, key=_size))
            for sample, end, faces in zip(samples, ends, shown, strict=True)
        ]
        return AgeReport(segments=segments, summary=AgeSummary(people=people, faces_without_age=count - len(people)))


class MeshReader:
    """BlazeFace, confirmed by the face mesh, and FaceRes.

    Args:
        detector, mesh, network: their files.
    """

    def __init__(self, detector: Path, mesh: Path, network: Path) -> None:
        from analyzers.models import age, face_mesh

        self._detect, self._mesh, self._age = FaceDetector(detector), face_mesh.FaceMesh(mesh), age.AgeNetwork(network)

    def look(self, picture: Picture, fitted: Picture, around: Corners) -> tuple[tuple[Sight, ...], list[Picture]]:
        """The faces that the mesh confirms, with their qualities and cut-outs."""
        from analyzers.models.age import face_crop, quality

        sights, crops = [], []
        for face in sorted(self._detect.look(fitted, around), key=lambda f: -f.size_px(picture))[:FACES_MAX]:
            mesh = self._mesh(picture, face)
            if mesh is None:
                continue
            crops.append(face_crop(picture, face))
            sights.append(Sight(face, quality(crops[-1], mesh) if mesh.size_px >= FACE_PX_MIN else 0.0))
        return tuple(sights), crops

    def ages(self, crops: Sequence[Picture]) -> list[float]:
        """One after another."""
        return [self._age(crop) for crop in crops]


class PackReader:
    """InsightFace's detector and ages.

    Args:
        pack: both networks.
    """

    def __init__(self, pack: insight_face.InsightFace) -> None:
        self._pack = pack

    def look(self, picture: Picture, fitted: Picture, around: Corners) -> tuple[tuple[Sight, ...], list[Picture]]:
        """The largest faces, with their qualities and cut-outs."""
        sights, crops = [], []
        for face in sorted(self._pack.faces(picture), key=lambda f: -f.size_px(picture))[:FACES_MAX]:
            size_px = face.size_px(picture)
            if size_px <= 0:
                continue
            crops.append(self._pack.crop(picture, face))
            sharp = insight_face.quality(crops[-1], face, size_px) if size_px >= FACE_PX_MIN else 0.0
            sights.append(Sight(face, sharp))
        return tuple(sights), crops

    def ages(self, crops: Sequence[Picture]) -> list[float]:
        """All in as few calls as memory allows, within what `age` may be."""
        return [min(120.0, max(0.0, age)) for age in self._pack.ages(crops)]


def _best(samples: Sequence[AgeSample], least: float) -> list[tuple[int, int]]:
    """Sample and place of the best sight of each face in a chunk, without those that are poorer than `least`."""
    best: dict[int, tuple[int, int]] = {}
    numbers = follow([(s.pts_s, s.small, [sight.face for sight in s.sights]) for s in samples])
    for step, sample in enumerate(samples):
        for place, sight in enumerate(sample.sights):
            track = numbers[step][place]
            old = best.get(track)
            if track > 0 and (old is None or samples[old[0]].sights[old[1]].quality < sight.quality):
                best[track] = step, place
    return [(step, place) for step, place in best.values() if samples[step].sights[place].quality >= least]


def together(readings: Sequence[tuple[float, float]]) -> tuple[float, AgeRange] | None:
    """Age and range in years from (age, quality) of several sights: their weighted median, and how far they and the
    network may be wrong. None without any."""
    from analyzers.models.age import ERROR_YEARS

    if not readings:
        return None
    ages = np.array([age for age, _ in readings])
    weights = np.array([weight for _, weight in readings])
    age = _median(ages, weights)
    spread = OF_DEVIATION * _median(np.abs(ages - age), weights)
    half = COVERED * math.hypot(OF_MEAN_ERROR * ERROR_YEARS, spread)
    return round(age, 1), (float(max(0, math.floor(age - half))), float(math.ceil(age + half)))


def _median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """The weighted median: between the two middle values where the weights balance."""
    order = np.argsort(values)
    middles = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, middles, values[order]))


def _size(face: AgedFace) -> float:
    """Sorts the largest face first."""
    return -(face.box[2] - face.box[0]) * (face.box[3] - face.box[1])
