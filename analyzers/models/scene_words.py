"""Names what a picture shows, for composition_analysis: by EfficientNet's ImageNet classes, or by CLIP's answers.

EfficientNet-Lite3 (Tan and Le 2019; TensorFlow's TPU repository, efficientnet/lite), ImageNet's 1000 classes, 8 bit, on
the whole picture squeezed to its square. One picture is not believed: on 40 photos 13 of 14 classes above 0.6 were
right, but on moving pictures it saw a light switch, a dumbbell and an albatross at 0.9 for a moment. What it sees in
most of the pictures of a shot was right. ImageNet knows things and animals, hardly places, no people.

CLIP is asked about the places, doings, media and shot sizes of clip_labels.json, by prompts. Its limits below were not
checked against pictures: no weights were at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, get_args

import numpy as np
import numpy.typing as npt

from analyzers.methods.framing import ShotSize
from analyzers.models.clip import Clip, prompts, read_labels

EFFICIENTNET: Final = "efficientnet_lite3"
INPUT_PX: Final = 280
KEPT_MIN: Final = 0.05
"""Probability from which a word of one picture is remembered."""
SIZE_MIN: Final = 0.5
"""Probability from which CLIP's shot size is taken, where no face gives one. Unverified."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Words:
    """What one picture shows: (number in `WordFinder.names`, probability) of the likely names; a shot size if sure."""

    classes: tuple[tuple[int, float], ...]
    size: ShotSize | None = None


class WordFinder(Protocol):
    """Says what pictures show."""

    names: list[str]
    mean_min: Mapping[int, float]
    """Least mean probability over a shot's looks, by their number; one is enough only where the video has no more."""
    low_min: Mapping[int, float]
    """Least lower quartile of them: seen once, and strongly, is not seen."""

    def __call__(self, pictures: Sequence[Pixels]) -> list[Words]:
        """The words of each RGB picture [H, W, 3]."""


class ImageNetWords:
    """EfficientNet-Lite3 on one thread.

    Args:
        network: the .tflite file.
        names: its classes, one a line.
    """

    mean_min: Mapping[int, float] = {1: 0.7, 2: 0.6, 3: 0.45}
    low_min: Mapping[int, float] = {1: 0.7, 2: 0.5, 3: 0.35}

    def __init__(self, network: Path, names: Path) -> None:
        from analyzers.models.litert import LiteNetwork

        self._classify = LiteNetwork(network)
        self.names = [line.split(",")[0].strip() for line in names.read_text(encoding="utf-8").splitlines()]

    def __call__(self, pictures: Sequence[Pixels]) -> list[Words]:
        """The likely classes of each picture."""
        found = []
        for picture in pictures:
            probability = next(iter(self._classify(square_of(picture)).values())).reshape(-1) / np.float32(256)
            likely = np.flatnonzero(probability >= KEPT_MIN)
            found.append(Words(tuple((int(one), float(probability[one])) for one in likely)))
        return found


class ClipWords:
    """CLIP's answers to the label groups, each a softmax of its own over texts that are read once, here."""

    mean_min: Mapping[int, float] = {1: 0.5, 2: 0.4, 3: 0.3}
    low_min: Mapping[int, float] = {1: 0.5, 2: 0.3, 3: 0.2}

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        groups, templates = read_labels()
        sizes = groups.pop("shot_size")
        self._sizes: list[ShotSize | None] = [
            next((size for size in get_args(ShotSize) if size == label.name), None) for label in sizes
        ]
        self._size_texts = prompts(clip, sizes, templates)
        self._texts = {name: prompts(clip, labels, templates) for name, labels in groups.items()}
        self.names = [label.name for labels in groups.values() for label in labels]

    def __call__(self, pictures: Sequence[Pixels]) -> list[Words]:
        """The likely labels of each picture, and its shot size if one is sure."""
        if not pictures:
            return []
        seen = self._clip.look(pictures)
        likely = np.concatenate([self._clip.likely(seen, texts) for texts in self._texts.values()], axis=1)
        sizes = self._clip.likely(seen, self._size_texts)
        found = []
        for row, size in zip(likely, sizes, strict=True):
            kept = [n for n in np.flatnonzero(row >= KEPT_MIN) if self.names[n]]
            sure = float(size.max()) >= SIZE_MIN
            found.append(
                Words(tuple((int(n), float(row[n])) for n in kept), self._sizes[int(size.argmax())] if sure else None)
            )
        return found


def square_of(frame: Pixels) -> Pixels:
    """An RGB picture [H, W, 3] squeezed to EfficientNet's square."""
    import cv2

    how = cv2.INTER_AREA if min(frame.shape[:2]) >= INPUT_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (INPUT_PX, INPUT_PX), interpolation=how), np.uint8)
