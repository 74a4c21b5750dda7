"""Where speech is in a track, and how its stretches belong together: by pauses, and by language.

Voice activity by Silero VAD (https://github.com/snakers4/silero-vad, MIT), which ships inside faster-whisper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.types import SAMPLE_RATE_HZ

VOICE_THRESHOLD: Final = 0.35
"""Silero's probability above which 32 ms are speech. Lower: music and noise get through. Higher: short words over music
are lost (at its default of 0.5, 5 % of them)."""
PAUSE_S: Final = 0.3
"""A shorter pause does not end a stretch of speech."""
SPEECH_S_MIN: Final = 0.25
"""A shorter stretch is a click or a note of an instrument."""
MARGIN_S: Final = 0.2
"""What is added around a stretch, so that soft first and last sounds are not cut."""
WINDOW_S: Final = 28.0
"""The longest piece that is decoded at once; Whisper takes 30 s."""
JOIN_S: Final = 4.0
"""Stretches with longer pauses between them are decoded apart."""
LANGUAGE_S_MIN: Final = 1.0
"""Neighbouring stretches are scored together until they last this long: less voice says too little about a language."""
LANGUAGE_S_SURE: Final = 4.0
"""From this length on, a stretch's language scores count fully; shorter ones in proportion."""
OTHER_LANGUAGE_MIN: Final = 0.6
"""Mean free probability over all speech from which a language is believed that is no candidate. Base models take
synthetic or unclear voices for rare languages (German for Latin), but seldom all of them."""
LANGUAGE_SCORE_MIN: Final = 0.01
"""Scores below count as this: one second of voice must not outweigh its neighbours by being absurdly sure."""
SWITCH_COST: Final = 1.5
"""What a change of language costs, in nats. Lower: short stretches flip. Higher: a short foreign sentence is missed."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Speech between two pauses, as sample numbers, half-open."""

    start: int
    end: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.end - self.start) / SAMPLE_RATE_HZ


def find_speech(samples: Samples) -> list[Stretch]:
    """Stretches of speech, none longer than `WINDOW_S`."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if len(samples) < SPEECH_S_MIN * SAMPLE_RATE_HZ:
        return []
    found = get_speech_timestamps(
        np.array(samples, np.float32),
        VadOptions(
            threshold=VOICE_THRESHOLD,
            min_speech_duration_ms=round(SPEECH_S_MIN * 1000),
            max_speech_duration_s=WINDOW_S,
            min_silence_duration_ms=round(PAUSE_S * 1000),
            speech_pad_ms=0,
        ),
    )
    return [Stretch(int(s["start"]), min(int(s["end"]), len(samples))) for s in found]


def with_margins(stretches: Sequence[Stretch], samples: Samples) -> tuple[int, int]:
    """First and last sample of neighbouring stretches with `MARGIN_S` around them."""
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    return max(0, stretches[0].start - margin), min(len(samples), stretches[-1].end + margin)


def language_groups(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Neighbours put together until each group has `LANGUAGE_S_MIN` of speech and none exceeds a window."""
    groups: list[list[Stretch]] = []
    for stretch in stretches:
        last = groups[-1] if groups else None
        if (
            last is not None
            and sum(s.duration_s for s in last) < LANGUAGE_S_MIN
            and (stretch.end - last[0].start) / SAMPLE_RATE_HZ <= WINDOW_S
        ):
            last.append(stretch)
        else:
            groups.append([stretch])
    return groups


def sure_languages(
    scores: npt.NDArray[np.float64], lengths_s: npt.NDArray[np.float64], languages: Sequence[str]
) -> tuple[str, ...]:
    """Languages whose mean probability over the speech is at least `OTHER_LANGUAGE_MIN`; at most one.

    Args:
        scores: [groups, languages], each row adds up to 1.
        lengths_s: [groups], seconds of speech.
        languages: what the columns are.
    """
    means = np.average(scores, axis=0, weights=np.maximum(lengths_s, 1e-3))
    return tuple(language for language, mean in zip(languages, means, strict=True) if mean >= OTHER_LANGUAGE_MIN)


def likeliest_path(log_scores: npt.NDArray[np.float64], switch_cost: float) -> list[int]:
    """Viterbi's algorithm: the state of each row of [N, states] for the best sum, less `switch_cost` per change."""
    best = log_scores[0].copy()
    origins: list[npt.NDArray[np.intp]] = []
    states = np.arange(log_scores.shape[1])
    for row in log_scores[1:]:
        top = int(best.argmax())
        stays = best >= best[top] - switch_cost
        origins.append(np.where(stays, states, top))
        best = np.where(stays, best, best[top] - switch_cost) + row
    path = [int(best.argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def windows(stretches: Sequence[Stretch], languages: Sequence[str]) -> list[tuple[list[Stretch], str]]:
    """Neighbouring stretches of one language, joined over pauses of at most `JOIN_S` to at most `WINDOW_S`."""
    joined: list[tuple[list[Stretch], str]] = []
    for stretch, language in zip(stretches, languages, strict=True):
        if joined:
            last, spoken = joined[-1]
            pause_s = (stretch.start - last[-1].end) / SAMPLE_RATE_HZ
            total_s = (stretch.end - last[0].start) / SAMPLE_RATE_HZ
            if spoken == language and pause_s <= JOIN_S and total_s <= WINDOW_S:
                last.append(stretch)
                continue
        joined.append(([stretch], language))
    return joined
