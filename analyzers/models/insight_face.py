"""InsightFace's pack buffalo_l: faces by SCRFD-10G (det_10g.onnx), apparent age by a small network (genderage.onnx).

Guo et al., Sample and Computation Redistribution for Efficient Face Detection, ICLR 2022; InsightFace's model zoo. The
steps are those of the library `insightface` (RetinaFace.detect, Attribute.get): the picture in the corner of a black
rectangle, boxes as distances from cells' corners, NMS at 0.4; the age's input is 1.5 times the face's longer side. The
rectangle is the smallest of multiples of 32 and not 640x640: the same boxes for 0.6 of the work in 9:16. Of the answers
only the age is read. The pack is licensed for non-commercial research only. ONNX files hold no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.faces import Face
from analyzers.models.hub import LocalModel
from analyzers.models.onnx import open_network
from analyzers.models.torch_runtime import unusable
from analyzers.models.tracking import Corners
from pipeline.results import ModelInfo

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

DETECTOR: Final = "det_10g.onnx"
AGES: Final = "genderage.onnx"
LONGER_PX: Final = 640
"""Of the detector's input, as the library's default."""
MULTIPLE_PX: Final = 32
STRIDES: Final = (8, 16, 32)
ANCHORS: Final = 2
"""Per cell."""
MEAN, SCALE = 127.5, 128.0
SCORE_MIN: Final = 0.5
NMS_IOU: Final = 0.4
AGE_MARGIN: Final = 1.5
AGE_UNIT_YEARS: Final = 100.0
FACES_PER_CALL: Final = 64
NEEDED_GB: Final = 1.5
"""On a GPU, with onnxruntime-gpu: its context, 18 MB of weights and onnxruntime's arena for one picture of 640 px."""


class InsightFace:
    """Both networks, ready.

    Args:
        model: a folder in which, or below which, both files lie.
        device: ``cpu`` or ``cuda:0``; a GPU needs onnxruntime-gpu in place of onnxruntime, else the CPU computes.

    Raises:
        ModelUnavailable: a file is missing, damaged or of another network.
    """

    def __init__(self, model: LocalModel, device: str) -> None:
        import onnxruntime

        self._detect, on_gpu = _opened(model, DETECTOR, device)
        self._read, _ = _opened(model, AGES, device)
        if len(self._detect.get_outputs()) != 3 * len(STRIDES):
            raise unusable(model, f"{DETECTOR} has {len(self._detect.get_outputs())} outputs, not nine")
        given, told = self._read.get_inputs()[0].shape, self._read.get_outputs()
        if len(told) != 1 or told[0].shape[1] != 3 or not isinstance(given[2], int):
            raise unusable(model, f"{AGES} does not tell gender and age")
        self.input_px: int = given[2]
        self._batched = not isinstance(given[0], int)
        self._age_mean, self._age_scale = _levels(model, _found(model, AGES))
        wished = device.startswith("cuda") and not on_gpu
        self.info: ModelInfo = model.info(
            backend=f"onnxruntime {onnxruntime.__version__}",
            device=device if on_gpu else "cpu",
            precision="float32",
            note="an estimate of apparent age; can be switched off with the setting `disabled`"
            + ("; this onnxruntime has no CUDA: computed on the CPU" if wished else ""),
        )

    def faces(self, picture: Picture) -> tuple[Face, ...]:
        """Faces of an RGB picture [H, W, 3], most certain first; points: right eye, left eye, nose, mouth."""
        import cv2

        height, width = picture.shape[:2]
        rectangle, (tall, wide) = fitted(height, width)
        canvas = np.zeros((*rectangle, 3), np.uint8)
        canvas[:tall, :wide] = cv2.resize(picture, (wide, tall))
        planes = ((canvas.astype(np.float32) - np.float32(MEAN)) * np.float32(1 / SCALE)).transpose(2, 0, 1)[None]
        answers = self._detect.run(None, {self._detect.get_inputs()[0].name: np.ascontiguousarray(planes)})
        scores, boxes, points = decoded(answers, rectangle)
        scale = tall / height
        boxes, points = boxes / scale, points / scale
        found = []
        for number in suppressed(boxes, scores):
            x0, y0, x1, y1 = (float(value) for value in boxes[number] / (width, height, width, height))
            right, left, nose, *mouth = points[number] / (width, height)
            dots = (right, left, nose, np.mean(mouth, axis=0))
            found.append(Face((x0, y0, x1, y1), tuple((float(x), float(y)) for x, y in dots), float(scores[number])))
        return tuple(found)

    def crop(self, picture: Picture, face: Face) -> Picture:
        """What the age is read from: an upright square around the face [96, 96, 3], RGB."""
        import cv2

        height, width = picture.shape[:2]
        x0, y0, x1, y1 = _pixels(face.box, width, height)
        scale = self.input_px / (max(x1 - x0, y1 - y0) * AGE_MARGIN)
        half = self.input_px / 2
        move = np.array(
            [[scale, 0, half - scale * (x0 + x1) / 2], [0, scale, half - scale * (y0 + y1) / 2]], np.float64
        )
        return np.asarray(cv2.warpAffine(picture, move, (self.input_px, self.input_px), borderValue=0.0), np.uint8)

    def ages(self, crops: Sequence[Picture]) -> list[float]:
        """The apparent age in years of each cut-out face, many in one call."""
        step = FACES_PER_CALL if self._batched else 1
        name = self._read.get_inputs()[0].name
        ages: list[float] = []
        for start in range(0, len(crops), step):
            stacked = np.stack(crops[start : start + step]).astype(np.float32)
            planes = ((stacked - np.float32(self._age_mean)) / np.float32(self._age_scale)).transpose(0, 3, 1, 2)
            (answer,) = self._read.run(None, {name: np.ascontiguousarray(planes)})
            ages += [float(value) * AGE_UNIT_YEARS for value in answer[:, 2]]
        return ages


def fitted(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rectangle's height and width, and those of the picture in its upper left corner."""
    if height >= width:
        tall, wide = LONGER_PX, max(1, int(LONGER_PX * width / height))
    else:
        tall, wide = max(1, int(LONGER_PX * height / width)), LONGER_PX
    rectangle = (-(-tall // MULTIPLE_PX) * MULTIPLE_PX, -(-wide // MULTIPLE_PX) * MULTIPLE_PX)
    return rectangle, (tall, wide)


def decoded(answers: Sequence[Floats], rectangle: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """Scores [N], boxes [N, 4] and five points [N, 5, 2] in pixels, of the anchors that are certain enough."""
    scores, boxes, points = [], [], []
    for level, stride in enumerate(STRIDES):
        rows, columns = rectangle[0] // stride, rectangle[1] // stride
        across, down = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        middles = np.stack([across, down], axis=-1).reshape(-1, 2) * np.float32(stride)
        middles = np.repeat(middles, ANCHORS, axis=0)
        score = answers[level].reshape(-1)
        good = np.flatnonzero(score >= SCORE_MIN)
        far = answers[level + len(STRIDES)].reshape(-1, 4)[good] * stride
        near = answers[level + 2 * len(STRIDES)].reshape(-1, 5, 2)[good] * stride
        scores.append(score[good])
        boxes.append(np.concatenate([middles[good] - far[:, :2], middles[good] + far[:, 2:]], axis=1))
        points.append(middles[good][:, None] + near)
    return np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)


def suppressed(boxes: Floats, scores: Floats) -> list[int]:
    """Numbers of the boxes that are no better one's again, most certain first; sizes count a pixel more, as there."""
    left = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    kept = []
    while left.size:
        best, others = left[0], left[1:]
        kept.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[others, :2]), np.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = np.prod(np.maximum(0.0, high - low + 1), axis=1)
        left = others[shared / (areas[best] + areas[others] - shared) <= NMS_IOU]
    return kept


def frontal(face: Face) -> float:
    """How far a face is turned to the camera, 0..1: 1 where the nose is midway between the eyes, 0 beside one."""
    right, left, nose = (np.array(point) for point in face.points[:3])
    apart = abs(left[0] - right[0]) / 2
    return float(max(0.0, 1 - abs(nose[0] - (left[0] + right[0]) / 2) / apart)) if apart > 0 else 0.0


def quality(crop: Picture, face: Face, size_px: float) -> float:
    """How well a cut-out face shows its age, 0..1: size, sharpness and direction, as in analyzers/models/age.py."""
    import cv2

    gray = cv2.cvtColor(cv2.resize(crop, (56, 56), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    edges = float(cv2.Laplacian(gray, cv2.CV_32F).std()) / max(float(gray.std()), 1.0)
    return frontal(face) * min(1.0, size_px / 120) * min(1.0, edges)


def _pixels(box: Corners, width: int, height: int) -> Corners:
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def _found(model: LocalModel, name: str) -> Path:
    path = next(iter(sorted(model.folder.rglob(name))), None)
    if path is None:
        raise unusable(model, f"{name} is not there")
    return path


def _opened(model: LocalModel, name: str, device: str) -> tuple[Any, bool]:
    """A session, and whether it computes on a GPU."""
    import onnxruntime

    path = _found(model, name)
    try:
        if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            number = int(device.partition(":")[2] or 0)
            limit = int(NEEDED_GB * 1e9 / 2)
            wanted = ("CUDAExecutionProvider", {"device_id": number, "gpu_mem_limit": limit})
            return onnxruntime.InferenceSession(path, providers=[wanted, "CPUExecutionProvider"]), True
        return open_network(path), False
    except Exception as error:  # onnxruntime has a class of its own for each kind of damage
        raise unusable(model, f"{name}: {' '.join(str(error).split())}") from error


def _levels(model: LocalModel, path: Path) -> tuple[float, float]:
    """What is taken off the age network's input and what it is divided by: nothing where the network does so itself."""
    import onnx

    try:
        nodes = onnx.load(path, load_external_data=False).graph.node[:8]
    except Exception as error:
        raise unusable(model, f"{path.name}: {error}") from error
    takes = any(node.name.startswith(("Sub", "_minus")) for node in nodes)
    scales = any(node.name.startswith(("Mul", "_mul")) for node in nodes)
    normalizes = (takes and scales) or any(node.name == "bn_data" for node in nodes[:3])
    return (0.0, 1.0) if normalizes else (MEAN, SCALE)
