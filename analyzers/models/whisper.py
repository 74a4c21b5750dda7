"""Runs Whisper on one stretch of speech: encoded at its own length, language among candidates, words with times.

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), converted for CTranslate2.
Three things differ from faster-whisper's own `transcribe`, whose building blocks are used:

- A stretch is encoded with a few seconds of silence behind it and not padded to 30 s: the encoder's cost grows with
  the square of the length, and 11 s cost 0.25 s of CPU this way where 30 s cost 1.2 s, with the same words.
- The language is the most probable one of given candidates, by the decoder's own language scores.
- Decoding is without Whisper's timestamp tokens, which makes it loop on short windows; the words' times come from the
  cross-attention alignment, which is finer anyway.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

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
WITHOUT_SPACES: Final = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces between words."""
_PUNCTUATION: Final = frozenset(string.punctuation + "¿¡…。、，！？：；”“„»«’‘—–")


@dataclass(frozen=True)
class Window:
    """One encoded stretch.

    Args:
        encoded: the encoder's output, opaque.
        duration_s: of the sound that was encoded, without the silence behind it.
        frames: mel frames of that sound.
    """

    encoded: Any
    duration_s: float
    frames: int


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
    """

    words: tuple[RawWord, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


class Whisper:
    """A loaded model. Deterministic: temperature 0 only, one thread.

    Args:
        folder: holds model.bin, config.json, tokenizer.json and vocabulary.json.
        device: ``cpu`` or ``cuda:N``.
        compute_type: CTranslate2's arithmetic, for example ``int8``.
    """

    def __init__(self, folder: Path, device: str = "cpu", compute_type: str = "int8") -> None:
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
        self._tokenizers: dict[str, Any] = {}

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes (a few are ISO 639-3) that the model knows."""
        return frozenset(self._whisper.supported_languages)

    def encode(self, samples: npt.NDArray[np.float32], *, full: bool = False) -> Window:
        """Encode up to `WINDOW_S_MAX` of sound at 16 kHz; `full` pads to all of it, as Whisper was trained."""
        duration_s = len(samples) / SAMPLE_RATE_HZ
        if duration_s > WINDOW_S_MAX:
            raise ValueError(f"a window is at most {WINDOW_S_MAX} s, got {duration_s:.2f} s")
        padded_s = WINDOW_S_MAX if full else min(WINDOW_S_MAX, max(WINDOW_S_MIN, duration_s + SILENCE_AFTER_S))
        features = self._whisper.feature_extractor(np.array(samples, np.float32))[:, :-1]
        frames = min(features.shape[1], int(WINDOW_S_MAX * FRAMES_PER_S))
        size = min(int(np.ceil(padded_s * FRAMES_PER_S / 2)) * 2, int(WINDOW_S_MAX * FRAMES_PER_S))
        # Zeros are what faster-whisper pads with; in this scale they are quiet, not silent.
        features = np.pad(features[:, :frames], ((0, 0), (0, max(0, size - frames))))
        return Window(self._whisper.encode(features.astype(np.float32)), duration_s, frames)

    def language_scores(self, window: Window, candidates: Sequence[str]) -> dict[str, float]:
        """Probabilities of the candidates, which together make 1."""
        found = {token[2:-2]: float(score) for token, score in self._whisper.model.detect_language(window.encoded)[0]}
        scores = {language: max(found.get(language, 0.0), 1e-9) for language in candidates}
        total = sum(scores.values())
        return {language: score / total for language, score in scores.items()}

    def decode(self, window: Window, language: str, beam_size: int) -> Decoded:
        """The words of a window in a language; none if the model hears none."""
        from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

        tokenizer = self._tokenizer(language)
        prompt = self._whisper.get_prompt(tokenizer, [], without_timestamps=True)
        answer = self._whisper.model.generate(
            window.encoded,
            [prompt],
            beam_size=beam_size,
            patience=1,
            length_penalty=1,
            max_length=len(prompt) + min(TOKENS_MAX, TOKENS_EXTRA + int(TOKENS_PER_S_MAX * window.duration_s)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        )[0]
        tokens = [token for token in answer.sequences_ids[0] if token < tokenizer.eot]
        # CTranslate2's score is a mean over the tokens; Whisper's average also counts the end token.
        count = len(answer.sequences_ids[0])
        return Decoded(
            words=self._words(tokenizer, tokens, window),
            avg_logprob=float(answer.scores[0]) * count / (count + 1),
            no_speech_prob=float(answer.no_speech_prob),
            compression_ratio=float(get_compression_ratio(tokenizer.decode(tokens).strip())) if tokens else 0.0,
        )

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

    def _words(self, tokenizer: Any, tokens: list[int], window: Window) -> tuple[RawWord, ...]:
        if not tokens:
            return ()
        has_spaces = tokenizer.language_code not in WITHOUT_SPACES
        words: list[RawWord] = []
        opening = ""
        for piece in self._whisper.find_alignment(tokenizer, [tokens], window.encoded, window.frames)[0]:
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
