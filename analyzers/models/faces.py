"""Finds faces: MediaPipe's BlazeFace, full range, sparse (face_detection_full_range_sparse.tflite).

The whole picture is fitted into 192x192; each of 48x48 cells answers for one box and six points of a face (Bazarevsky
et al., BlazeFace, 2019; model card "MediaPipe BlazeFace Full Range (Sparse)"). Decoding and the blending of overlapping
boxes follow MediaPipe's graphs face_detection.pbtxt and face_detection_full_range.pbtxt. A face below about 10 px of
the 192 is missed. Many boxes below `SURE_SCORE` are background; the face mesh's own flag tells (face_mesh.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.models.litert import LiteNetwork
from analyzers.models.recall import Recall
from analyzers.models.tracking import Corners, Detection, Sample, confirmed, iou, link, small_picture

MODEL: Final = "mediapipe_face_detection"
FILE: Final = "face_detection_full_range_sparse.tflite"
INPUT_PX: Final = 192
CELLS: Final = 48
SURE_SCORE: Final = 0.6
"""The graph's least score."""
SCORE_MIN: Final = 0.4
"""Least score of a box: turned and small faces score 0.4 to 0.6, below nearly all is background."""
BLEND_IOU: Final = 0.3
"""Boxes that overlap the best one more are the same face, and are averaged by score (weighted suppression)."""
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH, RIGHT_EAR, LEFT_EAR = range(6)
"""Which point is which; left and right are the person's own."""

Points = tuple[tuple[float, float], ...]
Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """One face: box and six points in 0..1 of the picture (they may lie outside), and the network's score 0..1."""

    box: Corners
    points: Points
    score: float

    def size_px(self, picture: Picture) -> float:
        """The shorter side of its box in pixels."""
        height, width = picture.shape[:2]
        return float(min((self.box[2] - self.box[0]) * width, (self.box[3] - self.box[1]) * height))


class FaceDetector:
    """The network, on one thread.

    Args:
        path: `FILE` of the model store.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteNetwork(path)
        self._codes_name, self._scores_name = self._network.outputs
        self._anchors = anchors()
        self._recall = Recall(str(path))

    def __call__(self, picture: Picture) -> tuple[Face, ...]:
        """Faces of an RGB picture [H, W, 3], most certain first."""
        return self.look(*letterbox(picture))

    def look(self, fitted: Picture, around: Corners) -> tuple[Face, ...]:
        """The same for what `letterbox` made of the picture."""
        boxes, points, scores = self._recall(fitted, lambda: self._ask(fitted))
        x, y, width, height = around
        offset, size = np.array([x, y], np.float32), np.array([width, height], np.float32)
        boxes = (boxes.reshape(-1, 2, 2) - offset) / size
        return blend(boxes.reshape(-1, 4), (points - offset) / size, scores)

    def _ask(self, fitted: Picture) -> tuple[Floats, Floats, Floats]:
        """Boxes, points and scores of the anchors that see a face, in 0..1 of the fitted picture."""
        answers = self._network(fitted.astype(np.float32) / np.float32(127.5) - np.float32(1))
        logits = np.clip(answers[self._scores_name].reshape(-1), -50, 50)
        scores = np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        chosen = np.flatnonzero(scores >= SCORE_MIN)
        boxes, points = decode(answers[self._codes_name].reshape(-1, 16)[chosen], self._anchors[chosen])
        return boxes, points, scores[chosen]


def letterbox(picture: Picture) -> tuple[Picture, Corners]:
    """The picture in the middle of a black square of the network's size, and its x, y, width, height in 0..1 there."""
    import cv2

    height, width = picture.shape[:2]
    scale = INPUT_PX / max(height, width)
    wide, tall = max(1, round(width * scale)), max(1, round(height * scale))
    x, y = (INPUT_PX - wide) // 2, (INPUT_PX - tall) // 2
    square = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[y : y + tall, x : x + wide] = cv2.resize(picture, (wide, tall), interpolation=method)
    return square, (x / INPUT_PX, y / INPUT_PX, wide / INPUT_PX, tall / INPUT_PX)


def anchors() -> Floats:
    """x and y of the cells' middles in 0..1, [2304, 2], row by row."""
    middles = (np.arange(CELLS, dtype=np.float32) + np.float32(0.5)) / CELLS
    return np.stack([np.tile(middles, CELLS), np.repeat(middles, CELLS)], axis=1)


def decode(codes: Floats, around: Floats) -> tuple[Floats, Floats]:
    """Boxes [N, 4] and points [N, 6, 2] in 0..1 of the input, from codes [N, 16] and their anchors [N, 2].

    A code is the box's middle x, y, its width and height, then x, y of six points: in pixels, relative to the anchor.
    """
    scaled = codes / np.float32(INPUT_PX)
    middle, half = scaled[:, :2] + around, scaled[:, 2:4] / 2
    return np.concatenate([middle - half, middle + half], axis=1), scaled[:, 4:].reshape(-1, 6, 2) + around[:, None]


def blend(boxes: Floats, points: Floats, scores: Floats) -> tuple[Face, ...]:
    """One face for each group of overlapping boxes: their mean by score, with the best score."""
    left = list(np.argsort(-scores, kind="stable"))
    faces = []
    while left:
        best = _corners(boxes[left[0]])
        group = [n for n in left if n == left[0] or iou(best, _corners(boxes[n])) > BLEND_IOU]
        left = [n for n in left if n not in group]
        weights = scores[group] / scores[group].sum()
        dots = (points[group] * weights[:, None, None]).sum(axis=0)
        faces.append(
            Face(
                _corners((boxes[group] * weights[:, None]).sum(axis=0)),
                tuple((float(x), float(y)) for x, y in dots),
                float(scores[group[0]]),
            )
        )
    return tuple(faces)


def _corners(box: Floats) -> Corners:
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


def clipped(box: Corners) -> Corners:
    """The part of a box that is in the picture."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, value)) for value in box)
    return x0, y0, x1, y1


# --- the same picture, the same person --------------------------------------------------------------------------------

SAME_PICTURE_LEVELS: Final = 1.0
"""Largest mean difference (of 255) in any of 16x16 blocks of a 192 px picture up to which nothing happened but coding
noise; an eyelid of a 40 px face that closes changes a block by 3 and more."""
BLOCK_PX: Final = 12


def still(before: Picture, after: Picture) -> bool:
    """Whether two fitted pictures [192, 192, 3] show the same."""
    difference = np.abs(before.astype(np.int16) - after)
    cells = INPUT_PX // BLOCK_PX
    return bool(difference.reshape(cells, BLOCK_PX, cells, BLOCK_PX, 3).mean(axis=(1, 3)).max() <= SAME_PICTURE_LEVELS)


Small = tuple[bytes, bytes]
"""A picture as the tracker wants it: 8x8 pixels in colour, 64x64 in grey."""


def small(fitted: Picture, around: Corners) -> Small:
    """What `follow` sees scene changes and camera moves by, of what `letterbox` made of a picture."""
    import cv2

    x, y, width, height = (round(value * INPUT_PX) for value in around)
    picture = fitted[y : y + height, x : x + width]
    thumb = np.asarray(cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA), np.uint8)
    return thumb.tobytes(), small_picture(picture)


def follow(samples: Sequence[tuple[float, Small, Sequence[Face]]]) -> list[list[int]]:
    """Which face is whose: track numbers for the faces of each sample (time in s, `small` picture, faces); 0 is none.

    Tracks are numbered from 1 in the order in which they begin, by analyzers/models/tracking.py; they end at a cut. A
    face that is seen once only and is doubtful is in none.
    """
    steps = [
        Sample(pts_s, tuple(Detection("face", face.score, face.box) for face in faces), *pictures)
        for pts_s, pictures, faces in samples
    ]
    tracks = confirmed(link(steps, SCORE_MIN), lone_score_min=SURE_SCORE)
    numbers = [[0] * len(faces) for _, _, faces in samples]
    count = 0
    for track in sorted(tracks, key=lambda t: min(t.seen)):
        places = []
        for step, seen in track.seen.items():
            overlaps = [iou(seen.box, face.box) for face in samples[step][2]]
            place = overlaps.index(max(overlaps)) if overlaps else 0
            if overlaps and overlaps[place] > 0 and numbers[step][place] == 0:
                places.append((step, place))
        if places:  # boxes without any area are nobody's
            count += 1
            for step, place in places:
                numbers[step][place] = count
    return numbers
