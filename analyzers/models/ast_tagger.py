"""Runs AST: what a stretch of sound is, as probabilities of AudioSet's classes in YAMNet's numbering.

Model: Audio Spectrogram Transformer (Gong, Chung and Glass, Interspeech 2021), through transformers. Its input is made
here as its feature extractor (transformers' `ASTFeatureExtractor`) makes it: 128 Kaldi mel bands of 25 ms Hann windows
every 10 ms, means taken out, pre-emphasis 0.97, log, mean and deviation of AudioSet. A track's frames are made once and
patches are slices of them, since a frame depends on its own 25 ms only.

It was trained on clips of 10 s, and hears 10.24 s at once. Surroundings change with a reel's cuts, every 2 to 3 s, and
effects last for less than one, so what it is given are patches of `PATCH_S` every `HOP_S`, the rest of its input padded
as its extractor pads a shorter clip. Shorter patches: less context than it knows what to do with. Longer: borders and
effects blur. Both analyzers ask for the same patches, so in one process each goes through the model once.

Not verified, for want of weights: how well it names so short a patch, and the scale of its scores. The analyzers'
thresholds were set on YAMNet, whose scores are higher: `score_shift` is added to the logits, so that 0.15 of this model
reads as the 0.25 from which something is taken to be there.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.batches import in_batches, in_threads, threads_for
from analyzers.models.hub import LocalModel, locate
from analyzers.models.recall import Recall
from analyzers.models.store import ModelStore
from analyzers.models.tagger import TagOptions
from analyzers.models.torch_runtime import Runtime, load_pretrained, runtime, unusable
from analyzers.models.yamnet import HOP_S, Samples, Scores, class_names
from pipeline.analyzer import Profile
from pipeline.results import ModelInfo
from pipeline.types import SAMPLE_RATE_HZ

PATCH_S: Final = 1.92
"""Twice YAMNet's."""
FRAME: Final = 400
STEP: Final = 160
FFT: Final = 512
LOWEST_HZ: Final = 20
PRE_EMPHASIS: Final = 0.97
POWER_MIN: Final = 1.192092955078125e-07
"""Kaldi's floor before the logarithm."""
ROWS: Final = 4096
"""Frames at a time, so that a long sound needs no more memory than a short one."""
FRAMES: Final = 1 + (round(PATCH_S * SAMPLE_RATE_HZ) - FRAME) // STEP
HOP_FRAMES: Final = round(HOP_S * SAMPLE_RATE_HZ) // STEP
ANSWERS_KEPT: Final = 2048
"""Patches (2 kB each) whose answers are kept for the other analyzer: 16 minutes of sound."""
NOT_OF_YAMNET: Final = {
    "Male speech, man speaking": ("Speech", "Speech"),
    "Female speech, woman speaking": ("Male speech, man speaking", "Speech"),
    "Battle cry": ("Yell", "Shout"),
    "Male singing": ("Mantra", "Singing"),
    "Female singing": ("Male singing", "Singing"),
    "Funny music": ("Happy music", "Music"),
}
"""AudioSet's six classes of 527 that YAMNet lacks: which class each follows in AudioSet's numbering, and in which of
YAMNet's it is heard."""
SPELT_OTHERWISE_MAX: Final = 10
"""Names that may differ between two lists of AudioSet's classes; then the number counts."""

Frames = npt.NDArray[np.float32]

_loaded: dict[tuple[str, ...], tuple[Any, Runtime]] = {}
_loading = threading.Lock()


def mel_filters(bands: int) -> npt.NDArray[np.float64]:
    """[257, bands]: triangles on Kaldi's mel scale; the lowest are so narrow that some hold no frequency."""

    def mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(SAMPLE_RATE_HZ / 2), bands + 2)
    bins = mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE_HZ / FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))


def fbank(samples: Samples, filters: npt.NDArray[np.float64]) -> Frames:
    """[T, bands] log mel energies every 10 ms; T is the number of whole 25 ms windows, and at least one.

    Args:
        samples: float32 at 16 kHz.
        filters: [257, bands].
    """
    padded = np.pad(samples, (0, max(0, FRAME - len(samples)))).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP]
    window = np.hanning(FRAME)
    log_mel = np.empty((len(frames), filters.shape[1]), np.float32)
    for start in range(0, len(frames), ROWS):
        rows = frames[start : start + ROWS] - frames[start : start + ROWS].mean(axis=1, keepdims=True)
        before = np.concatenate([rows[:, :1], rows[:, :-1]], axis=1)
        power = np.abs(np.fft.rfft((rows - PRE_EMPHASIS * before) * window, FFT)) ** 2
        log_mel[start : start + ROWS] = np.log(np.maximum(POWER_MIN, power @ filters))
    return log_mel


def columns(labels: Sequence[str], names: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[tuple[int, int]]]:
    """Where YAMNet's classes are among a model's: [521] columns, and (YAMNet's, model's) pairs to take the higher of.

    Args:
        labels: the model's, in order.
        names: YAMNet's, in order.

    Raises:
        ValueError: they are no classes of AudioSet.
    """
    numbers = {label.strip().casefold(): number for number, label in enumerate(labels)}
    order = list(names)
    for extra, (follows, _) in NOT_OF_YAMNET.items():
        order.insert(order.index(follows) + 1, extra)
    otherwise = [name for name in order if name.casefold() not in numbers]
    if len(otherwise) > (SPELT_OTHERWISE_MAX if len(labels) == len(order) else 0):
        raise ValueError(
            f"its {len(labels)} classes are not AudioSet's {len(order)}: {len(otherwise)} are missing, for example "
            f"{', '.join(otherwise[:3])}"
        )
    found = {name: numbers.get(name.casefold(), number) for number, name in enumerate(order)}
    folded = [(names.index(into), found[extra]) for extra, (_, into) in NOT_OF_YAMNET.items()]
    return np.array([found[name] for name in names]), folded


class AstTagger:
    """A loaded model; see `tagger.Tagger`.

    Args:
        model: transformers' `ASTForAudioClassification`.
        setup: where it computes.
        scale: what is taken off its input, and what that is divided by.
        names: YAMNet's classes.
        options: the analyzer's.
        network: identifies the weights.
    """

    patch_s = PATCH_S

    def __init__(
        self,
        model: Any,
        setup: Runtime,
        scale: tuple[float, float],
        names: tuple[str, ...],
        options: TagOptions,
        network: str,
    ) -> None:
        self.names = names
        self._model, self._setup, self._options = model, setup, options
        self._length = int(model.config.max_length)
        self._scale = scale
        labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
        self._columns, self._folded = columns(labels, names)
        self._filters = mel_filters(int(model.config.num_mel_bins))
        self._threads = threads_for(setup.device)
        self._recall = Recall(network, ANSWERS_KEPT)

    def scores_many(self, sounds: Sequence[Samples]) -> list[Scores]:
        """See `tagger.Tagger`. Without samples there are no rows."""
        patch, hop = round(PATCH_S * SAMPLE_RATE_HZ), round(HOP_S * SAMPLE_RATE_HZ)
        counts = [0 if len(s) == 0 else 1 + max(0, math.ceil((len(s) - patch) / hop)) for s in sounds]
        return self._scores([(s, [hop * i for i in range(n)]) for s, n in zip(sounds, counts, strict=True)])

    def scores_at(self, wanted: Sequence[tuple[Samples, Sequence[int]]]) -> list[Scores]:
        """See `tagger.Tagger`. A patch begins up to `HOP_S` before what is asked for: those of `scores_many`."""
        return self._scores(wanted)

    def _scores(self, wanted: Sequence[tuple[Samples, Sequence[int]]]) -> list[Scores]:
        patches: list[Frames] = []
        made = in_threads([s for s, starts in wanted if len(starts)], lambda s: fbank(s, self._filters), self._threads)
        spectra = iter(made)
        for _, starts in wanted:
            frames = next(spectra) if len(starts) else np.zeros((0, 0), np.float32)
            for start in starts:
                # The last patch of a sound may begin behind its last whole frame.
                first = min(start // STEP // HOP_FRAMES * HOP_FRAMES, max(0, len(frames) - 1))
                patches.append(frames[first : first + FRAMES])
        logits = self._recall.many(patches, lambda new: in_batches(new, self._options.batch_size, self._logits))
        found = self._as_yamnet(logits)
        ends = np.cumsum([0, *(len(starts) for _, starts in wanted)])
        return [found[a:b] for a, b in pairwise(ends)]

    def _logits(self, patches: Sequence[Frames]) -> list[npt.NDArray[np.float32]]:
        """[527] of each patch of log mel energies."""
        import torch

        values = np.zeros((len(patches), self._length, self._filters.shape[1]), np.float32)
        for row, patch in zip(values, patches, strict=True):
            row[: len(patch)] = patch[: self._length]
        values = (values - self._scale[0]) / self._scale[1]
        with torch.inference_mode():
            answer = self._model(torch.from_numpy(values).to(self._setup.device, self._setup.dtype)).logits
            return list(answer.float().cpu().numpy())

    def _as_yamnet(self, logits: Sequence[npt.NDArray[np.float32]]) -> Scores:
        """[N, 521] scores of N times [527] logits."""
        if not logits:
            return np.zeros((0, len(self.names)), np.float32)
        scores = 1 / (1 + np.exp(-np.clip(np.stack(logits) + self._options.score_shift, -60, 60)))
        own = scores[:, self._columns]
        for into, extra in self._folded:
            own[:, into] = np.maximum(own[:, into], scores[:, extra])
        return np.asarray(own, np.float32)


def load_ast(profile: Profile, device: str, options: TagOptions, analyzer: str) -> tuple[AstTagger, ModelInfo]:
    """The tagger from the model store, its weights shared by all analyzers of this process.

    Raises:
        ModelUnavailable: the weights, or YAMNet's list of classes, are not there, or cannot be used.
    """
    import transformers

    local = locate(profile.models_dir, options.model, analyzer)
    names = class_names(ModelStore(profile.models_dir).path("yamnet", "class_map.csv"))
    key = (str(local.folder.resolve()), device, options.precision, options.quantize)
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(local, device, options)
        model, setup = _loaded[key]
    try:
        tagger = AstTagger(model, setup, _scale(local.folder), names, options, "/".join(key))
    except (OSError, ValueError, KeyError) as error:
        raise unusable(local, str(error)) from error
    info = setup.info(local, f"transformers {transformers.__version__}")
    scale = f"scores moved by {options.score_shift:+g} logits towards YAMNet's, which was not verified"
    return tagger, info.model_copy(update={"note": "; ".join(filter(None, [info.note, scale]))})


def _scale(folder: Path) -> tuple[float, float]:
    """How `ASTFeatureExtractor` scales its input. The class itself would warn of an empty mel band that is meant."""
    config = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    if not config.get("do_normalize", True):
        return 0.0, 1.0
    return float(config["mean"]), 2 * float(config["std"])


def _load(local: LocalModel, device: str, options: TagOptions) -> tuple[Any, Runtime]:
    from transformers import ASTForAudioClassification

    setup = runtime(device, options)
    return load_pretrained(ASTForAudioClassification, local, setup), setup
