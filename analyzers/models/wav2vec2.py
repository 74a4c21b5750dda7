"""Runs a wav2vec 2.0 that was trained on emotional speech: how each stretch of speech sounds, many stretches at once.

Two kinds of checkpoints, told apart by the names of their outputs:

- Classes (`Wav2Vec2ForSequenceClassification`), for example superb/wav2vec2-base-superb-er: neutral, happy, angry, sad.
  Arousal and valence are the means of what the classes stand for (`AFFECT`), weighted by their probabilities.
- Dimensions, for example audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim (Wagner et al., "Dawn of the transformer
  era in speech emotion recognition", IEEE TPAMI 2023): arousal, dominance and valence, 0..1. Its head is not one of
  transformers' own; it is built here with the same parameter names, since no code of a checkpoint runs.

Stretches of similar length go through the transformer together, padded and masked. The convolutions before it run on
each stretch by itself: in the base models a group norm averages over the whole time there, so that padding would change
the answer (transformers' documentation says to use no mask with them at all). This way together is as alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.batches import in_batches
from analyzers.models.hub import LocalModel, ModelOptions
from analyzers.models.torch_runtime import Runtime, load_pretrained, load_processor, runtime, unusable
from pipeline.errors import ModelUnavailable
from pipeline.results import ModelInfo
from pipeline.types import SAMPLE_RATE_HZ

SECOND_GB: Final = 0.008
"""GPU memory of a second of speech in a batch, counted from shapes for 24 layers of 1024 in 16 bit: 50 frames with a
feed-forward of 4096 (0.4 MB), and the states of all layers with their stacked copy (5 MB). Not measured."""
CONVOLUTIONS_GB: Final = 0.4
"""Of one stretch of 28 s: 90,000 frames of 512, a few at a time."""
AFFECT: Final[dict[str, tuple[float, float]]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.51, 0.81),
    "angry": (0.59, -0.51),
    "sad": (-0.27, -0.63),
    "fearful": (0.60, -0.64),
    "disgusted": (0.35, -0.60),
    "surprised": (0.67, 0.40),
    "bored": (-0.62, -0.65),
    "calm": (-0.46, 0.68),
}
"""(arousal, valence) of emotions, -1..1: J. Russell and A. Mehrabian, "Evidence for a three-factor theory of emotions",
Journal of Research in Personality 11 (1977); calm is their "relaxed"."""
SPELLINGS: Final = {
    "neu": "neutral", "hap": "happy", "happiness": "happy", "joy": "happy", "ang": "angry", "anger": "angry",
    "sadness": "sad", "fea": "fearful", "fear": "fearful", "dis": "disgusted", "disgust": "disgusted",
    "sur": "surprised", "surprise": "surprised", "boredom": "bored", "relaxed": "calm",
}  # fmt: skip
DIMENSIONS: Final = ("arousal", "dominance", "valence")
CLASSES_RIGHT: Final = 0.63
"""Accuracy of superb/wav2vec2-base-superb-er on IEMOCAP (SUPERB, Interspeech 2021), by which its own probability is
taken down."""
AROUSAL_RIGHT: Final = 0.745
VALENCE_RIGHT: Final = 0.638
"""Concordance of audeering's model with listeners on MSP-Podcast (Wagner et al. 2023)."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rating:
    """How a stretch of speech sounds; all 0..1, with 0.5 as neutral arousal and valence.

    Args:
        arousal: calm to excited.
        valence: unpleasant to pleasant.
        confidence: how far arousal can be trusted.
        valence_confidence: how far valence can be trusted.
        labels: the classes with their probabilities, likeliest first; none of a model of dimensions.
    """

    arousal: float
    valence: float
    confidence: float
    valence_confidence: float
    labels: tuple[tuple[str, float], ...] = ()


class VoiceEmotion:
    """A loaded model.

    Args:
        model: gives logits [N, outputs] of `input_values` and `attention_mask`.
        setup: where it computes.
        extractor: its `Wav2Vec2FeatureExtractor`.
        names: of its outputs.
        batch_s: seconds of speech, with padding, that go through the model at once.
    """

    def __init__(self, model: Any, setup: Runtime, extractor: Any, names: Sequence[str], batch_s: float) -> None:
        self._model, self._setup, self._extractor = model, setup, extractor
        self._names, self._batch_s = tuple(names), batch_s
        self._by_itself = _by_itself(model.wav2vec2.feature_extractor)
        model.wav2vec2.feature_extractor = self._by_itself

    def rate(self, stretches: Sequence[Samples]) -> list[Rating]:
        """How each stretch of at least 0.4 s at 16 kHz sounds."""
        order = sorted(range(len(stretches)), key=lambda number: len(stretches[number]))
        found: dict[int, Rating] = {}
        for group in by_length([len(stretches[number]) for number in order], self._batch_s * SAMPLE_RATE_HZ):
            numbers = [order[place] for place in group]
            logits = in_batches([stretches[number] for number in numbers], len(numbers), self._logits)
            found.update((number, self._rating(one)) for number, one in zip(numbers, logits, strict=True))
        return [found[number] for number in range(len(stretches))]

    def _logits(self, stretches: Sequence[Samples]) -> list[npt.NDArray[np.float32]]:
        import torch

        values = self._extractor(list(stretches), sampling_rate=SAMPLE_RATE_HZ, padding=False)["input_values"]
        lengths = [len(one) for one in values]
        padded = np.zeros((len(values), max(lengths)), np.float32)
        for row, one in zip(padded, values, strict=True):
            row[: len(one)] = one
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        self._by_itself.lengths = lengths
        with torch.inference_mode():
            answer = self._model(
                torch.from_numpy(padded).to(self._setup.device, self._setup.dtype),
                attention_mask=torch.from_numpy(mask.astype(np.int64)).to(self._setup.device),
            )
            return list(answer.logits.float().cpu().numpy())

    def _rating(self, logits: npt.NDArray[np.float32]) -> Rating:
        if set(DIMENSIONS) <= set(self._names):
            said = dict(zip(self._names, (min(1.0, max(0.0, float(value))) for value in logits), strict=True))
            return Rating(said["arousal"], said["valence"], AROUSAL_RIGHT, VALENCE_RIGHT)
        shares = np.exp(logits.astype(np.float64) - float(logits.max()))
        shares /= shares.sum()
        arousal, valence = (shares @ np.array([AFFECT[name] for name in self._names])).tolist()
        ranked = sorted(zip(self._names, shares.tolist(), strict=True), key=lambda one: -one[1])
        sure = CLASSES_RIGHT * ranked[0][1]
        return Rating((1 + arousal) / 2, (1 + valence) / 2, sure, sure, tuple(ranked))


def by_length(lengths: Sequence[int], room: float) -> list[list[int]]:
    """Places of ascending lengths in groups whose padded sum is within the room; each holds one at least."""
    groups: list[list[int]] = []
    for place, length in enumerate(lengths):
        if groups and (len(groups[-1]) + 1) * length <= room:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def emotion_names(model: LocalModel) -> tuple[str, ...]:
    """What a checkpoint's outputs stand for, in our words.

    Raises:
        ModelUnavailable: its config is missing, or names other things.
    """
    try:
        config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
        labels = {int(number): str(label).strip().casefold() for number, label in config["id2label"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise unusable(model, f"config.json does not say what its outputs are ({error!r})") from error
    names = tuple(SPELLINGS.get(label, label) for _, label in sorted(labels.items()))
    if set(DIMENSIONS) <= set(names) or (names and set(names) <= set(AFFECT)):
        return names
    raise unusable(model, f"its outputs are {', '.join(names[:9])}: neither {', '.join(DIMENSIONS)} nor known emotions")


def load_wav2vec2(
    model: LocalModel, device: str, options: ModelOptions, batch_s: float
) -> tuple[VoiceEmotion, ModelInfo]:
    """The model from a local folder, and what to say of it in a report.

    Raises:
        ModelUnavailable: files are missing or damaged, or are no emotion model of this architecture.
    """
    import transformers

    names = emotion_names(model)
    setup = runtime(device, options)
    extractor = load_processor(transformers.Wav2Vec2FeatureExtractor, model)
    if extractor.sampling_rate != SAMPLE_RATE_HZ:
        raise unusable(model, f"it hears {extractor.sampling_rate} Hz, and the sound has {SAMPLE_RATE_HZ}")
    dimensional = set(DIMENSIONS) <= set(names)
    kind = _dimension_model() if dimensional else transformers.Wav2Vec2ForSequenceClassification
    loaded = load_pretrained(kind, model, setup)
    if loaded.config.num_labels != len(names):
        raise ModelUnavailable(f"{model.id} in {model.folder} has {loaded.config.num_labels} outputs, named {names}")
    info = setup.info(model, f"transformers {transformers.__version__}")
    how = "its dimensions" if dimensional else "from its classes (Russell and Mehrabian 1977)"
    note = "; ".join(filter(None, [info.note, f"arousal and valence: {how}; speech by Silero VAD v6 and YAMNet"]))
    return VoiceEmotion(loaded, setup, extractor, names, batch_s), info.model_copy(update={"note": note})


def _by_itself(convolutions: Any) -> Any:
    """The convolutions, run on each row up to its own length; behind it are zeros, which the mask covers."""
    import torch

    class ByItself(torch.nn.Module):  # type: ignore[misc]
        """See above. `lengths` are the rows' samples of the next call."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = convolutions
            self.lengths: list[int] = []

        def forward(self, values: Any) -> Any:
            """[N, channels, frames] of [N, samples]."""
            rows = [self.inner(row[None, :length])[0].T for row, length in zip(values, self.lengths, strict=True)]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2)

    return ByItself()


@cache
def _dimension_model() -> Any:
    """audeering's architecture, as their model card states it: the mean over time, a dense layer, tanh, and three."""
    import torch
    from transformers import Wav2Vec2Model, Wav2Vec2PreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Head(torch.nn.Module):  # type: ignore[misc]
        """Three numbers of a mean state."""

        def __init__(self, config: Any) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
            self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, state: Any) -> Any:
            """[N, outputs] of [N, width]."""
            return self.out_proj(torch.tanh(self.dense(state)))

    class SpeechDimensions(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        """Parameter names are those of the published checkpoint: wav2vec2.*, classifier.dense, classifier.out_proj."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2 = Wav2Vec2Model(config)
            self.classifier = Head(config)
            self.post_init()

        def forward(self, input_values: Any, attention_mask: Any) -> Any:
            """Logits [N, outputs] of [N, samples] and their mask."""
            states = self.wav2vec2(input_values, attention_mask=attention_mask).last_hidden_state
            heard = self._get_feature_vector_attention_mask(states.shape[1], attention_mask)[..., None].to(states.dtype)
            return SequenceClassifierOutput(logits=self.classifier((states * heard).sum(1) / heard.sum(1)))

    return SpeechDimensions
