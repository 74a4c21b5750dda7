"""Finds lines of text in a picture and reads them: PP-OCRv6 small, its two networks straight on onnxruntime.

Detection is a DB network (Liao et al., Real-time Scene Text Detection with Differentiable Binarization, AAAI 2020): it
gives each pixel's probability of lying in the core of a text line; cores are grown to boxes. Reading is a CTC network
(PP-OCR, Du et al. 2020) over lines of 48 px height with 18 708 characters, Latin with all accents among them.
Pre- and post-processing follow PaddleOCR's (BGR, -1..1), with upright boxes: captions are level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.models.onnx import open_network

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, the last two exclusive."""

# Shorter side at which text is looked for. Lower: letters under 24 px of 720 are lost. Higher: time is its square.
LOOK_PX: Final = 320
STRIDE_PX: Final = 32
"""The detector's sides must be multiples of this."""
CORE_MIN: Final = 0.3
"""A pixel belongs to a core from this probability on (PaddleOCR: 0.3)."""
BOX_MIN: Final = 0.5
"""A core counts from this mean probability on (RapidOCR: 0.5)."""
GROW: Final = 1.6
"""How far a core is grown: area x this / circumference (RapidOCR: 1.6)."""
CORE_PX: Final = 3
"""Thinner cores are specks."""
SAME_LINE_OVERLAP: Final = 0.6
"""Boxes that share this much of the lower one's height lie on one line ..."""
SAME_LINE_GAP: Final = 0.8
"""... and are one piece of text if the gap is at most this many heights."""
LINE_PX: Final = 48
"""Height of the reading network's input."""
WIDTH_STEP_PX: Final = 32
"""Widths are padded to multiples, so that onnxruntime plans few shapes."""
WIDTH_MAX_PX: Final = 1600
"""A line longer than 33 heights is squeezed to this."""


@dataclass(frozen=True)
class Reading:
    """What a line says; `score` is the mean probability of its characters, 0 where there are none."""

    text: str
    score: float


class TextDetector:
    """Where lines of text are."""

    def __init__(self, path: Path) -> None:
        self._session = open_network(path)
        self._input = self._session.get_inputs()[0].name

    def find(self, picture: npt.NDArray[np.uint8], scale: float) -> list[Corners]:
        """Boxes of lines in an RGB picture [H, W, 3], in its pixels, looked for at `scale` times its size."""
        import cv2

        height, width = picture.shape[:2]
        small_w, small_h = (max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in (width, height))
        small = cv2.resize(picture, (small_w, small_h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        answer = self._session.run(None, {self._input: _network_input(np.asarray(small, np.uint8))})[0][0, 0]
        boxes = cores_to_boxes(np.asarray(answer, np.float32))
        across, down = width / small_w, height / small_h
        grown = [
            (
                max(0, int(x0 * across)),
                max(0, int(y0 * down)),
                min(width, int(np.ceil(x1 * across))),
                min(height, int(np.ceil(y1 * down))),
            )
            for x0, y0, x1, y1 in boxes
        ]
        return join_lines([box for box in grown if box[2] - box[0] > 1 and box[3] - box[1] > 1])


class TextReader:
    """What lines of text say."""

    def __init__(self, path: Path) -> None:
        self._session = open_network(path)
        self._input = self._session.get_inputs()[0].name
        listed = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._characters = np.array(["", *listed, " "], dtype=object)  # CTC's blank comes first

    def read(self, line: npt.NDArray[np.uint8]) -> Reading:
        """Read one RGB crop [H, W, 3] of a line."""
        import cv2

        height, width = line.shape[:2]
        wanted = min(WIDTH_MAX_PX, max(LINE_PX // 2, round(LINE_PX * width / height)))
        resized = cv2.resize(line, (wanted, LINE_PX), interpolation=cv2.INTER_LINEAR)
        padded = -(-wanted // WIDTH_STEP_PX) * WIDTH_STEP_PX
        data = np.zeros((1, 3, LINE_PX, padded), np.float32)
        data[:, :, :, :wanted] = _network_input(np.asarray(resized, np.uint8))
        steps = np.asarray(self._session.run(None, {self._input: data})[0][0], np.float32)
        best = steps.argmax(axis=1)
        kept = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
        text = "".join(self._characters[best[kept]])
        return Reading(text.strip(), float(steps[kept, best[kept]].mean()) if kept.any() else 0.0)


class PpOcr:
    """Both networks, one picture and one line at a time: on one CPU thread larger batches gain nothing."""

    look_px: int = LOOK_PX

    def __init__(self, detection: Path, recognition: Path) -> None:
        self.detector, self.reader = TextDetector(detection), TextReader(recognition)

    def find(self, pictures: Sequence[npt.NDArray[np.uint8]], scales: Sequence[float]) -> list[list[Corners]]:
        """Boxes of lines in each RGB picture [H, W, 3], looked for at `scale` times its size."""
        return [self.detector.find(picture, scale) for picture, scale in zip(pictures, scales, strict=True)]

    def read(self, lines: Sequence[npt.NDArray[np.uint8]]) -> list[Reading]:
        """What each RGB crop [H, W, 3] of a line says."""
        return [self.reader.read(line) for line in lines]


def _network_input(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """RGB [H, W, 3] uint8 to BGR [1, 3, H, W] in -1..1."""
    planes = picture[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(planes[None] / np.float32(127.5) - np.float32(1))


def cores_to_boxes(probability: npt.NDArray[np.float32]) -> list[tuple[float, float, float, float]]:
    """Grown boxes of the text cores in a map [H, W] of probabilities, in its pixels."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (probability > CORE_MIN).astype(np.uint8), connectivity=8
    )
    boxes = []
    for number in range(1, count):
        x, y, w, h, _ = (int(value) for value in stats[number])
        if min(w, h) < CORE_PX:
            continue
        inside = labels[y : y + h, x : x + w] == number
        if float(probability[y : y + h, x : x + w][inside].mean()) < BOX_MIN:
            continue
        grow = w * h * GROW / (2 * (w + h))
        boxes.append((x - grow, y - grow, x + w + grow, y + h + grow))
    return boxes


def join_lines(boxes: Sequence[Corners]) -> list[Corners]:
    """Join the pieces of a line (words far apart come as boxes of their own); top to bottom, then left to right."""
    lines: list[Corners] = []
    for box in sorted(boxes, key=lambda b: (b[0], b[1])):
        for number, line in enumerate(lines):
            low, high = sorted((box[3] - box[1], line[3] - line[1]))
            shared = min(box[3], line[3]) - max(box[1], line[1])
            if shared >= SAME_LINE_OVERLAP * low and low >= high / 2 and box[0] - line[2] <= SAME_LINE_GAP * low:
                lines[number] = (
                    min(line[0], box[0]),
                    min(line[1], box[1]),
                    max(line[2], box[2]),
                    max(line[3], box[3]),
                )
                break
        else:
            lines.append(box)
    return sorted(lines, key=lambda b: (b[1], b[0]))
