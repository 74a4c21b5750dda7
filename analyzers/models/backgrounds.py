"""Looks at single pictures for background_segmentation: people outlined and confirmed on a CPU, or SegFormer's classes.

Both answer with a `Look`: shares of the picture by class that make 1, and what these tell about the setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.methods.ade20k import evidence_of_classes
from analyzers.methods.poses import is_evident
from analyzers.methods.surroundings import (
    Evidence,
    Mask,
    drawn,
    evidence_of_areas,
    evidence_of_objects,
    roughness,
    sky,
    squeezed,
    vegetation,
)
from analyzers.models import segformer
from analyzers.models.litert import LiteNetwork
from analyzers.models.movenet import MoveNet
from analyzers.models.ssd import LABELS, Floats, input_of, is_picture, shared_ssd
from analyzers.models.tracking import Corners, Sample, difference, iou, scene_changes, small_picture
from pipeline.types import FrameBatch

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
CLASS_MIN: Final = 0.005
"""Share of the picture; what SegFormer gives less to is counted as background."""


@dataclass(frozen=True)
class Look:
    """One sampled picture: what scene changes are seen by, shares of its classes, and what areas and objects tell."""

    sample: Sample
    shares: tuple[tuple[str, float], ...]
    areas: tuple[Evidence, ...]
    objects: tuple[Evidence, ...]


@dataclass
class _Areas:
    """Boxes of areas in a picture that were judged, and whether each is a person."""

    judged: list[tuple[Corners, bool]] = field(default_factory=list)

    def verdict(self, box: Corners) -> bool | None:
        return next((person for other, person in self.judged if iou(box, other) >= SAME_AREA_IOU), None)


class Outliner(Protocol):
    """Finds the areas of pictures and what they tell."""

    def __call__(self, items: Sequence[FrameBatch]) -> list[list[Look]]:
        """A look at each own picture of each chunk."""


class PersonOutliner:
    """Selfie segmentation on the CPU, its areas confirmed by joints or a detector.

    Args:
        mask, poses, graph: the files of selfie segmentation, MoveNet and SSD MobileNet v2.
    """

    def __init__(self, mask: Path, poses: Path, graph: Path) -> None:
        self._network, self._movenet, self._detector = LiteNetwork(mask), MoveNet(poses), shared_ssd(graph)

    def __call__(self, items: Sequence[FrameBatch]) -> list[list[Look]]:
        """Chunk by chunk."""
        return [self._chunk(item) for item in items]

    def _chunk(self, item: FrameBatch) -> list[Look]:
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
        return looks

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


class ClassOutliner:
    """SegFormer on every picture that shows something, those of all chunks in as few calls as memory allows.

    Args:
        network: trained on ADE20K.
    """

    def __init__(self, network: segformer.SegFormer) -> None:
        self._network = network

    def __call__(self, items: Sequence[FrameBatch]) -> list[list[Look]]:
        """The answers do not depend on which chunks come together."""
        frames = [frame for item in items for frame in item.frames[item.lead_in :]]
        squares = [_square(frame) for frame in frames]
        asked = [number for number, square in enumerate(squares) if is_picture(square)]
        told = dict(zip(asked, self._network([frames[number] for number in asked]), strict=True))
        times = [float(pts_s) for item in items for pts_s in item.pts_s[item.lead_in :]]
        every = iter(
            self._look(pts_s, square, told.get(number))
            for number, (pts_s, square) in enumerate(zip(times, squares, strict=True))
        )
        return [[next(every) for _ in item.frames[item.lead_in :]] for item in items]

    def _look(self, pts_s: float, square: npt.NDArray[np.uint8], told: Floats | None) -> Look:
        sample = Sample(pts_s, None, _thumb(square), small_picture(square))
        every = (
            {} if told is None else {self._network.names[n]: float(told[n]) for n in np.argsort(-told, kind="stable")}
        )
        shares = {name: share for name, share in every.items() if share >= CLASS_MIN}
        shares["background"] = max(0.0, 1 - sum(shares.values()))
        picture = squeezed(square)
        graphic = [
            one for one in evidence_of_areas(shares, drawn(picture, roughness(picture))) if one.setting == "graphic"
        ]
        return Look(sample, tuple(shares.items()), (*evidence_of_classes(shares), *graphic), ())


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
