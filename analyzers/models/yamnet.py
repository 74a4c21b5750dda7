"""Runs YAMNet: what 0.96 s of sound is, as probabilities of the 521 classes of AudioSet.

Model: YAMNet (Plakal and Ellis, https://github.com/tensorflow/models/tree/master/research/audioset/yamnet), quantized
to 8 bit, executed by onnxruntime. Its input is made here as its authors state it: mono 16 kHz, 25 ms Hann windows every
10 ms, magnitudes in 64 HTK mel bands of 125 to 7500 Hz, log(mel + 0.001), in patches of 96 frames. Eight bits are
coarse: scores come in few steps, so take them as clear, likely or unlikely.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.analyzer import Profile
from pipeline.results import ModelInfo
from pipeline.types import SAMPLE_RATE_HZ

PATCH_S: Final = 0.96
HOP_S: Final = 0.48
"""Patches overlap by half, as in the original."""
FRAME: Final = 400
STEP: Final = 160
"""Samples of a window (25 ms) and between windows (10 ms)."""
FFT: Final = 512
ROWS: Final = 4096
"""Windows at a time, so that a long sound needs no more memory than a short one."""
FRAMES: Final = 96
BANDS: Final = 64
LOWEST_HZ, HIGHEST_HZ = 125.0, 7500.0
LOG_OFFSET: Final = 0.001
INPUT_SCALE, INPUT_ZERO = 0.047937885, 144
OUTPUT_SCALE, OUTPUT_ZERO = 0.7565417, 190
"""How the 8 bit input and output of this file stand for numbers (its own quantization constants)."""
CLASSES: Final = 521

SPEECH: Final = (*range(0, 6), 12, 65)
"""Speech, child speech, conversation, narration, babbling, synthesizer; whispering; hubbub."""
MUSIC: Final = (*range(24, 33), *range(132, 195), *range(203, 277))
"""Singing to humming; music and instruments but bells; genres, roles and moods of music."""

Samples = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


def mel_filters() -> npt.NDArray[np.float32]:
    """[257, 64]: triangles on the HTK mel scale, as TensorFlow's `linear_to_mel_weight_matrix` makes them."""

    def mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2)
    bins = mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE_HZ / FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    filters[0] = 0  # the constant part belongs to no band
    return filters.astype(np.float32)


def patches(samples: Samples) -> npt.NDArray[np.float32]:
    """[N, 96, 64] log-mel patches every `HOP_S`; silence is added behind the end, so that all sound is in a patch."""
    hop = round(HOP_S * SAMPLE_RATE_HZ)
    size = FRAME + (FRAMES - 1) * STEP
    count = 1 + max(0, -(-(len(samples) - size) // hop))
    padded = np.pad(samples, (0, max(0, size + (count - 1) * hop - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP]
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    filters = mel_filters()
    log_mel = np.empty((len(frames), BANDS), np.float32)
    for start in range(0, len(frames), ROWS):
        spectrum = np.abs(np.fft.rfft(frames[start : start + ROWS] * window, FFT)).astype(np.float32)
        log_mel[start : start + ROWS] = np.log(spectrum @ filters + LOG_OFFSET)
    starts = np.arange(count) * (hop // STEP)
    return np.stack([log_mel[start : start + FRAMES] for start in starts])


class YamNet:
    """A loaded model; see `tagger.Tagger`.

    Args:
        model: the ONNX file; its data file lies beside it.
        class_map: CSV with index, mid and display_name.
    """

    patch_s = PATCH_S

    def __init__(self, model: Path, class_map: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.names = class_names(class_map)

    def scores(self, samples: Samples) -> Scores:
        """[N, 521] probabilities, one row per `HOP_S`; row i is about `i * HOP_S` to `i * HOP_S + PATCH_S`.

        Args:
            samples: float32 [T] at 16 kHz. Without samples there are no rows.
        """
        if len(samples) == 0:
            return np.zeros((0, CLASSES), np.float32)
        quantized = np.clip(np.round(patches(samples) / INPUT_SCALE + INPUT_ZERO), 0, 255).astype(np.uint8)
        name = self._session.get_inputs()[0].name
        rows = [self._session.run(None, {name: patch[None, None]})[0][0] for patch in quantized]
        logits = OUTPUT_SCALE * (np.stack(rows).astype(np.float32) - OUTPUT_ZERO)
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)

    def scores_many(self, sounds: Sequence[Samples]) -> list[Scores]:
        """See `tagger.Tagger`."""
        return [self.scores(samples) for samples in sounds]

    def scores_at(self, wanted: Sequence[tuple[Samples, Sequence[int]]]) -> list[Scores]:
        """See `tagger.Tagger`."""
        size = round(PATCH_S * SAMPLE_RATE_HZ)
        return [
            np.array([self.scores(samples[start : start + size]).max(axis=0) for start in starts], np.float32).reshape(
                len(starts), CLASSES
            )
            for samples, starts in wanted
        ]


def class_names(class_map: Path) -> tuple[str, ...]:
    """Display names of the classes in their order, from a CSV with index, mid and display_name.

    Raises:
        ValueError: there are not 521.
    """
    with class_map.open(newline="", encoding="utf-8") as file:
        names = tuple(row["display_name"] for row in csv.DictReader(file))
    if len(names) != CLASSES:
        raise ValueError(f"{class_map} must name {CLASSES} classes, it names {len(names)}")
    return names


def load(profile: Profile) -> tuple[YamNet, ModelInfo]:
    """The model from the store, and what to say of it in a report.

    Raises:
        ModelUnavailable: the weights are not there.
    """
    from analyzers.models.store import ModelStore

    store = ModelStore(profile.models_dir)
    files = [store.path("yamnet", file) for file in ("model.onnx", "model.data", "class_map.csv")]
    info = ModelInfo(
        id="google/yamnet",
        revision="sead 0.2.1 (w8a8)",
        backend="onnxruntime",
        precision="int8",
        licence="Apache-2.0",
    )
    return YamNet(files[0], files[2]), info


def group_per_second(
    scores: Scores, classes: tuple[int, ...], seconds: int, patch_s: float = PATCH_S
) -> npt.NDArray[np.float64]:
    """[seconds] the highest score of a group of classes, as a mean over the patches that touch each second."""
    if len(scores) == 0:
        return np.zeros(seconds)
    best = scores[:, list(classes)].max(axis=1)
    starts = np.arange(len(best)) * HOP_S
    found = np.zeros(seconds)
    for second in range(seconds):
        overlap = np.minimum(starts + patch_s, second + 1) - np.maximum(starts, second)
        weights = np.maximum(overlap, 0)
        found[second] = float((weights * best).sum() / weights.sum()) if weights.sum() > 0 else 0.0
    return found
