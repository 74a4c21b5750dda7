"""Says what surrounds the sound: voice, music, street, vehicle, nature, rooms, machines, noise or silence.

A tagger (models/tagger.py: YAMNet, or AST in the full profile) scores 521 classes of AudioSet; `SURROUNDINGS` puts
those that tell of surroundings into a few of our own, each as sure as its surest member (docs/audio_environment.md
lists them by name). Scores are averaged over `SMOOTH_S`. What the signal itself shows goes before the model: a silent
second has no surroundings, and one whose spectrum is as flat as white noise is noise, though the model hears engines
and waterfalls in it.

A label says that such a sound is heard, not that the microphone is there. Reverberation is not estimated: from a mono
mix with music and compression that would be a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.levels import levels_100_hz, second_edges, silent_spans, timbre
from analyzers.models import yamnet
from analyzers.models.tagger import TagOptions, load_tagger, tag_spec
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Document, Report, Score, Segment, Summary, Upstream
from pipeline.types import AUDIO, AnalyzerSpec, AudioTrack, Item

Classes = tuple[int, ...]
_ROAD: Final[Classes] = (*range(300, 322), 335, 336)
_WILD: Final[Classes] = (103, *range(106, 117), *range(121, 129), 131, 278, 504)
_WIND: Final[Classes] = (277, 279)
_HOME: Final[Classes] = (*range(356, 372), 518)
SURROUNDINGS: Final[dict[str, Classes]] = {
    "voice": yamnet.SPEECH,
    "crowd": (10, *range(61, 67)),
    "music_bed": (*range(24, 33), 132, *range(211, 277)),
    "street": (*_ROAD, 503),
    "vehicle": (*range(294, 302), 309, 310, 315, 320, *range(322, 335), 337, *range(342, 348)),
    "nature": _WILD,
    "weather": (*_WIND, 280, 281, 283, 284, 285),
    "water": tuple(range(286, 290)),
    "home": _HOME,
    "room": (500,),
    "hall": (501, 502),
    "machine": (338, 340, 341, 398, *range(403, 408), 409, 412, 414, *range(416, 420)),
    "noise": (507, 509, 510, 514, 515),
    "indoor": (500, 501, 502, *_HOME),
    "outdoor": (503, 504, *_ROAD, *_WILD, *_WIND),
}
"""Our classes and the numbers of AudioSet's classes in each. A single instrument makes no music bed."""
NAMES: Final = tuple(SURROUNDINGS)
TEXTURES: Final = ("weather", "water", "vehicle", "machine", "outdoor", "street")
"""What steady noise is mistaken for: dropped where the model is surer of noise."""
SILENCE: Final = "silence"
WITHOUT_PLACE: Final = ("voice", SILENCE)
"""Named as dominant only when nothing else is heard."""
SMOOTH_S: Final = 3
"""Scores are means over this: YAMNet hears 0.96 s at once, surroundings last longer."""
PRESENT: Final = 0.25
"""Mean score from which something is there. The model's steps are .09, .18, .32, .5: it is likely in most patches."""
STILL_PRESENT: Final = 0.15
"""It stays until it falls below this."""
SHORTEST_S: Final = 2
"""What is heard for less is an event and no surroundings."""
SILENT_SHARE: Final = 0.8
"""Of a second, for it to be silent."""
WHITE: Final = 0.8
"""Spectral flatness from which a second is white noise (theory: 1; a second of it: 0.9)."""

Array = npt.NDArray[np.float64]


class Label(Document):
    """A surrounding by name, with its mean score over the stretch."""

    name: str
    score: Score


class EnvironmentSegment(Segment):
    """A stretch in which the same is heard. No label: nothing that the model knows."""

    labels: list[Label]


class EnvironmentSummary(Summary):
    """`dominant` is what is heard longest (voice and silence only where there is nothing else); null: nothing known.

    `shares` says for each label in which share of the sound's time it is heard.
    """

    dominant: str | None
    shares: dict[str, Score]


class EnvironmentReport(Report[EnvironmentSegment, EnvironmentSummary]):
    """Report of audio_environment. Segments tile the sound."""


@dataclass(frozen=True)
class EnvironmentPart:
    """One part of the sound.

    Args:
        edges_s: [S + 1], where its seconds begin, and its end.
        scores: float32 [S, len(NAMES)].
        silent: bool [S].
    """

    edges_s: list[float]
    scores: npt.NDArray[np.float32]
    silent: npt.NDArray[np.bool_]


class AudioEnvironment(Analyzer[EnvironmentPart, EnvironmentReport]):
    """What surrounds the sound, by a tagger of AudioSet's classes and a table."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("audio_environment", "1", AUDIO, cpus=0.5, timeout_s=600)
    tiles = True

    options_model = TagOptions
    options: TagOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """See `Analyzer.spec_for`."""
        return tag_spec(cls.spec, profile, options)

    def load(self, device: str, profile: Profile) -> None:
        """Read the profile's tagger from the model store.

        Raises:
            ModelUnavailable: the weights are not there.
        """
        self._tagger, self.model = load_tagger(profile, device, self.options, self.spec.name)

    def analyze(self, item: AudioTrack) -> EnvironmentPart:
        """Score the seconds of one part of the sound."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[EnvironmentPart]:
        """Score parts of any videos; the tagger hears them together."""
        tracks = [item for item in items if isinstance(item, AudioTrack)]
        sounds = [np.nan_to_num(np.asarray(track.samples, np.float32)) for track in tracks]
        patches = self._tagger.scores_many(sounds)
        return [self._part(*one) for one in zip(tracks, sounds, patches, strict=True)]

    def _part(self, item: AudioTrack, samples: yamnet.Samples, patches: yamnet.Scores) -> EnvironmentPart:
        edges = second_edges(len(samples), item.sample_rate)
        seconds = len(edges) - 1
        scores = np.zeros((seconds, len(NAMES)), np.float32)
        for column, classes in enumerate(SURROUNDINGS.values()):
            scores[:, column] = yamnet.group_per_second(patches, classes, seconds, self._tagger.patch_s)
        pieces = [samples[a:b] for a, b in pairwise(edges)]
        white = np.array([(timbre(piece, item.sample_rate)[2] or 0.0) >= WHITE for piece in pieces], bool)
        scores[white] = np.array([name == "noise" for name in NAMES], np.float32) * np.maximum(0.5, scores[white])
        levels = [levels_100_hz(piece, item.sample_rate) for piece in pieces]
        silent = [
            sum(b - a for a, b in silent_spans(level, 0.0, len(level) / 100)) >= SILENT_SHARE * len(level) / 100
            for level in levels
        ]
        return EnvironmentPart(
            [item.start_s + edge / item.sample_rate for edge in edges], scores, np.array(silent, bool)
        )

    def summarize(self, parts: Sequence[EnvironmentPart], upstream: Upstream) -> EnvironmentReport:
        """Stretches in which the same is heard."""
        spans = [span for part in parts for span in pairwise(part.edges_s)]
        if not spans:
            return EnvironmentReport(segments=[], summary=EnvironmentSummary(dominant=None, shares={}))
        scores = np.concatenate([part.scores for part in parts]).astype(np.float64)
        silent = np.concatenate([part.silent for part in parts])
        heard = present(scores, silent)
        borders = [0, *(np.flatnonzero(np.any(heard[1:] != heard[:-1], axis=1)) + 1), len(spans)]
        segments = [
            EnvironmentSegment(start=spans[a][0], end=spans[b - 1][1], labels=_labels(heard[a], scores[a:b]))
            for a, b in pairwise(borders)
        ]
        lengths = np.array([end - start for start, end in spans])
        shares = dict(zip((*NAMES, SILENCE), (lengths @ heard) / max(lengths.sum(), 1e-9), strict=True))
        known = {name: min(1.0, float(share)) for name, share in shares.items() if share > 0}
        return EnvironmentReport(segments=segments, summary=EnvironmentSummary(dominant=dominant(known), shares=known))


def present(scores: Array, silent: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """[S, len(NAMES) + 1] what is heard in each second; the last column is silence.

    Args:
        scores: [S, len(NAMES)], per second.
        silent: [S].
    """
    smooth = _smooth(np.where(silent[:, None], 0.0, scores))
    heard = np.stack([_lasting(_hysteresis(column)) for column in smooth.T], axis=1)
    surer_noise = smooth[:, [NAMES.index("noise")]] > smooth
    textures = np.array([name in TEXTURES for name in NAMES])
    heard &= ~(surer_noise & textures & heard[:, [NAMES.index("noise")]])
    return np.column_stack([heard & ~silent[:, None], silent])


def dominant(shares: dict[str, float]) -> str | None:
    """What is heard longest: a place before indoor and outdoor, which it implies, and voice and silence last."""
    order = [(*NAMES, SILENCE).index(name) for name in shares]
    ranked = sorted(zip(shares, order, strict=True), key=lambda one: (one[0] in WITHOUT_PLACE, -shares[one[0]], one[1]))
    return ranked[0][0] if ranked else None


def _smooth(values: Array) -> Array:
    """Running mean over `SMOOTH_S` seconds, over fewer at the ends."""
    kernel = np.ones(SMOOTH_S)
    counts = np.convolve(np.ones(len(values)), kernel)[SMOOTH_S // 2 :][: len(values)]
    sums = [np.convolve(column, kernel)[SMOOTH_S // 2 :][: len(values)] for column in values.T]
    return np.asarray(np.stack(sums, axis=1) / counts[:, None])


def _hysteresis(values: Array) -> npt.NDArray[np.bool_]:
    """True from where `PRESENT` is reached, both ways, to where values fall below `STILL_PRESENT`."""
    possible = values >= STILL_PRESENT
    for start, end in _runs(possible):
        if values[start:end].max() < PRESENT:
            possible[start:end] = False
    return possible


def _lasting(heard: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Without stretches shorter than `SHORTEST_S`, where the sound is longer than that."""
    for start, end in _runs(heard):
        if end - start < min(SHORTEST_S, len(heard)):
            heard[start:end] = False
    return heard


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    borders = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in borders.reshape(-1, 2)]


def _labels(heard: npt.NDArray[np.bool_], scores: Array) -> list[Label]:
    """Labels of a stretch, surest first."""
    if heard[-1]:
        return [Label(name=SILENCE, score=1.0)]
    means = scores.mean(axis=0)
    found = [Label(name=NAMES[i], score=float(means[i])) for i in np.flatnonzero(heard[:-1])]
    return sorted(found, key=lambda label: -label.score)
