"""Says how it sounds: loudness, tempo and beats, key, timbre, silences, and how much of it is speech and music.

Methods, each in a module of its own: loudness by ITU-R BS.1770 (methods/loudness.py), tempo and beats by repetition of
onsets and dynamic programming (methods/rhythm.py), key by chroma and key profiles (methods/tonality.py), speech and
music by YAMNet (models/yamnet.py). Timbre is plain spectral shape. What a sound does not have is null: silence has no
tempo, no key and no loudness, speech alone has no tempo.

The track is mono at 16 kHz. FFmpeg makes it from stereo by adding the channels with a gain of 0.707 each, which keeps
the loudness of what both channels share; content that differs between them (wide stereo) reads up to 3 LU too low, and
what lies above 8 kHz is not heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from analyzers.methods import loudness, rhythm, tonality
from analyzers.methods.levels import levels_100_hz, second_edges, silent_spans, timbre
from analyzers.models import yamnet
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import Document, Number, Report, Score, Seconds, Segment, Span, Summary, Upstream
from pipeline.types import AUDIO, AnalyzerSpec, AudioTrack

LEVEL_FLOOR_DB: Final = -100.0
"""What digital silence is reported as: 16 bit reach down to -98 dB."""
PRESENT: Final = 0.5
"""Share from which a second counts as speech or music."""
BORDER: Final = 6
"""Onset strengths (60 ms) that see the silence before a part."""
SPEECH_TEMPO_MIN: Final = 0.35
"""Repetition asked of a sound that is nearly all speech and no music: speech has a rhythm, but no beat."""

Array = npt.NDArray[np.float64]


class AudioSegment(Segment):
    """One second (the last one up to a quarter longer, or shorter).

    `rms_db` is in dB of full scale, `speech` and `music` are shares 0..1. The timbre is null where it is silent:
    `centroid_hz` (brightness), `rolloff_hz` (85 % of the energy lie below), `flatness` (0 tone, 1 noise).
    """

    rms_db: Number
    peak_db: Number
    centroid_hz: Number | None
    rolloff_hz: Number | None
    flatness: Score | None
    zero_crossings_per_s: Number
    speech: Score
    music: Score


class Timbre(Document):
    """Means over all windows with sound; null where there is none."""

    centroid_hz: Number | None
    rolloff_hz: Number | None
    flatness: Score | None


class AudioSummary(Summary):
    """The whole sound.

    `peak_db` and `full_scale_share` (share of samples at or above full scale) are of the mono mix, which may exceed the
    channels by 3 dB; `tempo_score` and `key_score` say how clearly it repeats and how well the key fits, 0..1.
    """

    loudness_lufs: Number | None
    loudness_range_lu: Number | None
    peak_db: Number | None
    full_scale_share: Score
    tempo_bpm: Number | None
    tempo_score: Score | None
    beats: list[Seconds]
    key: str | None
    key_score: Score | None
    silences: list[Span]
    silence_share: Score
    speech_share: Score
    music_share: Score
    timbre: Timbre


class AudioReport(Report[AudioSegment, AudioSummary]):
    """Report of audio_analysis. Segments cover the sound."""


@dataclass(frozen=True)
class AudioPart:
    """What one part of the sound becomes: at most 0.7 MB for 600 s.

    Args:
        start_s: when the part starts.
        end_s: when it ends.
        segments: its seconds.
        energies: K-weighted mean squares, as `loudness.step_energies` gives them.
        strengths: onset strength at 100 Hz.
        levels: RMS amplitude at 100 Hz.
        chroma: [seconds, 13], as `tonality.chroma_per_second` gives it.
        at_full_scale: samples at full scale or above, in runs.
        samples: how many there are.
    """

    start_s: float
    end_s: float
    segments: list[AudioSegment]
    energies: Array
    strengths: npt.NDArray[np.float32]
    levels: npt.NDArray[np.float32]
    chroma: Array
    at_full_scale: int
    samples: int


class AudioAnalysis(Analyzer[AudioPart, AudioReport]):
    """Loudness, rhythm, key, timbre and shares of speech and music."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("audio_analysis", "1", AUDIO, timeout_s=600)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Read YAMNet from the model store.

        Raises:
            ModelUnavailable: the weights are not there.
        """
        import pyloudnorm  # noqa: F401  (seconds, with SciPy: once per worker, not at the first sound)

        self._yamnet, model = yamnet.load(profile)
        self.model = model.model_copy(
            update={"note": "for the shares of speech and music; all else is signal processing"}
        )

    def analyze(self, item: AudioTrack) -> AudioPart:
        """Measure one part of the sound."""
        # NaN cannot come out of the decoder; a track made by hand is treated as silent there.
        samples = np.nan_to_num(np.asarray(item.samples, np.float32))
        rate = item.sample_rate
        offset = np.float32(samples.mean(dtype=np.float64)) if len(samples) else np.float32(0)
        edges = second_edges(len(samples), rate)
        seconds = len(edges) - 1
        scores = self._yamnet.scores(samples)
        speech = yamnet.group_per_second(scores, yamnet.SPEECH, seconds)
        music = yamnet.group_per_second(scores, yamnet.MUSIC, seconds)
        strengths = rhythm.onset_strength(samples, rate)
        if item.index > 0:
            strengths[:BORDER] = 0  # where a part begins, nothing does
        return AudioPart(
            start_s=item.start_s,
            end_s=item.end_s,
            segments=[
                _segment(samples[begin:end], item.start_s + begin / rate, item.start_s + end / rate, rate, said, played)
                for begin, end, said, played in zip(edges, edges[1:], speech, music, strict=False)
            ],
            # A constant offset is no sound, but its beginning would be heard as a click.
            energies=loudness.step_energies(samples - offset, rate),
            strengths=strengths,
            levels=levels_100_hz(samples, rate),
            chroma=tonality.chroma_per_second(samples, rate, seconds),
            at_full_scale=samples_at_full_scale(samples),
            samples=len(samples),
        )

    def summarize(self, parts: Sequence[AudioPart], upstream: Upstream) -> AudioReport:
        """Join the parts."""
        segments = [segment for part in parts for segment in part.segments]
        if not segments:
            return AudioReport(segments=[], summary=_nothing())
        energies = np.concatenate([part.energies for part in parts])
        strengths = np.concatenate([part.strengths for part in parts])
        levels = np.concatenate([part.levels for part in parts])
        start_s, end_s = parts[0].start_s, parts[-1].end_s
        speech, music = ([s.speech for s in segments], [s.music for s in segments])
        rhythmic = rhythm.tempo_bpm(strengths, levels)
        if rhythmic and np.mean(speech) > PRESENT and np.mean(music) < 0.1 and rhythmic[1] < SPEECH_TEMPO_MIN:
            rhythmic = None
        beats = rhythm.beat_times_s(strengths, rhythmic[0]) if rhythmic else []
        if len(beats) < rhythm.ONSETS_MIN:
            rhythmic, beats = None, []
        key = tonality.key_of(np.concatenate([part.chroma for part in parts]))
        if key and np.mean(speech) > PRESENT and max(music) < PRESENT:
            key = None  # a voice alone has tones and no key
        silences = silent_spans(levels, start_s, end_s)
        return AudioReport(
            segments=segments,
            summary=AudioSummary(
                loudness_lufs=loudness.integrated_lufs(energies),
                loudness_range_lu=loudness.loudness_range_lu(energies),
                peak_db=max(s.peak_db for s in segments),
                full_scale_share=sum(part.at_full_scale for part in parts)
                / max(1, sum(part.samples for part in parts)),
                tempo_bpm=rhythmic[0] if rhythmic else None,
                tempo_score=rhythmic[1] if rhythmic else None,
                beats=[start_s + beat for beat in beats],
                key=key[0] if key else None,
                key_score=key[1] if key else None,
                silences=silences,
                silence_share=min(1.0, sum(b - a for a, b in silences) / max(end_s - start_s, 1e-9)),
                speech_share=_share(segments, speech),
                music_share=_share(segments, music),
                timbre=_mean_timbre(segments),
            ),
        )


def _nothing() -> AudioSummary:
    return AudioSummary(
        loudness_lufs=None,
        loudness_range_lu=None,
        peak_db=None,
        full_scale_share=0.0,
        tempo_bpm=None,
        tempo_score=None,
        beats=[],
        key=None,
        key_score=None,
        silences=[],
        silence_share=0.0,
        speech_share=0.0,
        music_share=0.0,
        timbre=Timbre(centroid_hz=None, rolloff_hz=None, flatness=None),
    )


def _decibels(amplitude: float) -> float:
    return max(LEVEL_FLOOR_DB, 20 * float(np.log10(max(amplitude, 1e-9))))


def _segment(
    samples: npt.NDArray[np.float32], start_s: float, end_s: float, rate: int, speech: float, music: float
) -> AudioSegment:
    centroid, rolloff, flatness = timbre(samples, rate)
    crossings = int(np.count_nonzero(np.diff(np.signbit(samples - samples.mean()))))
    return AudioSegment(
        start=start_s,
        end=end_s,
        rms_db=_decibels(float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))),
        peak_db=_decibels(float(np.abs(samples).max())),
        centroid_hz=centroid,
        rolloff_hz=rolloff,
        flatness=flatness,
        zero_crossings_per_s=crossings / max(len(samples) / rate, 1e-9),
        speech=speech,
        music=music,
    )


def samples_at_full_scale(samples: npt.NDArray[np.float32]) -> int:
    """Samples at full scale or above with a neighbour of the same sign there: one alone is a peak."""
    high, low = samples >= 0.999, samples <= -0.999
    return int(sum(np.count_nonzero(side[:-1] & side[1:]) for side in (high, low)))


def _share(segments: Sequence[AudioSegment], values: Sequence[float]) -> float:
    """Share of time in which something is present."""
    lengths = np.array([s.end - s.start for s in segments])
    return float(lengths[np.array(values) >= PRESENT].sum() / max(lengths.sum(), 1e-9))


def _mean_timbre(segments: Sequence[AudioSegment]) -> Timbre:
    def mean(values: Sequence[float | None]) -> float | None:
        there = [value for value in values if value is not None]
        return float(np.mean(there)) if there else None

    return Timbre(
        centroid_hz=mean([s.centroid_hz for s in segments]),
        rolloff_hz=mean([s.rolloff_hz for s in segments]),
        flatness=mean([s.flatness for s in segments]),
    )
