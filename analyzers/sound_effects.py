"""Finds sound effects: impacts, whooshes, risers, clicks, beeps, dings and pops, in silence, over speech and music.

What stands out of its surroundings once is found and named by its shape (methods/sound_events.py); Silero VAD
(models/voice.py) says where somebody speaks, since plosives click and fricatives hiss; a tagger (models/tagger.py:
YAMNet, or AST in the full profile) drops what it hears as an animal's or a person's sound, names what has no clear
shape, and is quoted in `tags`.

A sound that comes again and again at its own level is rhythm and no effect: a metronome, drums, a typist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.sound_events import Kind, SoundEvent, find_events, kind_of
from analyzers.models import yamnet
from analyzers.models.batches import in_threads, threads_for
from analyzers.models.tagger import TagOptions, load_tagger, tag_spec
from analyzers.models.voice import find_speech
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.results import Document, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AUDIO, AnalyzerSpec, AudioTrack, Item

TAGS: Final[dict[Kind, tuple[int, ...]]] = {
    "impact": (281, 348, 352, 420, 421, 424, 430, 454, 455, 460, 462, 463, 464),
    "whoosh": (452, 453, 466),
    "riser": (347,),
    "click": (57, 354, 378, 380, 401, 410, 411, 461, 485),
    "beep": (302, 303, 382, *range(384, 390), 392, 393, 475, 497),
    "ding": (195, 198, 199, 200, 349, 350, 374, 408, 436, 476, 477, 489),
    "pop": (428, 442, 488),
}
"""AudioSet's classes that say the same as our kinds."""
ALIVE: Final = (*range(6, 24), *range(33, 46), *range(49, 56), 61, 62, *range(67, 132))
"""Laughter, coughs, applause, animals: sounds of the scene, not laid over it."""
TAG_MIN: Final = 0.3
"""Score from which a tag decides; the model's steps are .09, .18, .32, .5."""
ALIVE_S_MIN: Final = 0.2
"""A bark or a laugh lasts longer; the model takes a popping bubble for a turkey."""
TAG_SHOWN: Final = 0.1
VOICE_MARGIN_S: Final = 0.1
"""Added around speech: soft first and last sounds are part of it."""
STRENGTH_DB: Final = 30.0
"""An effect that exceeds its surroundings by so much has full strength."""


class Tag(Document):
    """What the tagger hears there, of the classes that name effects."""

    name: str
    score: Score


class EffectSegment(Segment):
    """One effect, from where it is heard to where it is gone.

    `time` is where an editor would put its mark: the onset, a whoosh's loudest moment, a riser's end. `strength` is by
    how much it exceeds its surroundings (1 is 30 dB, `over_bed_db` says it), `score` how clearly it stands out for its
    kind (0.5 is just enough). `other` is none of the kinds. `over_speech`: somebody speaks then.
    """

    kind: Kind
    time: Seconds
    strength: Score
    score: Score
    over_bed_db: Number
    over_speech: bool
    tags: list[Tag]


class EffectsSummary(Summary):
    """How many of each kind, and effects per minute of sound."""

    counts: dict[str, int]
    per_minute: Number


class EffectsReport(Report[EffectSegment, EffectsSummary]):
    """Report of sound_effects. Segments are the effects, and nothing else."""


@dataclass(frozen=True)
class EffectsPart:
    """One part of the sound: its effects and its length in seconds."""

    effects: list[EffectSegment]
    duration_s: float


class SoundEffects(Analyzer[EffectsPart, EffectsReport]):
    """One-shot effects by what stands out, its shape, and a tagger."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("sound_effects", "1", AUDIO, cpus=0.5, timeout_s=600)

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
        self._tagger, model = load_tagger(profile, device, self.options, self.spec.name)
        self._threads = threads_for(device)
        notes = [model.note, "for tags; times and kinds come from signal processing"]
        self.model = model.model_copy(update={"note": "; ".join(filter(None, notes))})

    def analyze(self, item: AudioTrack) -> EffectsPart:
        """Effects of one part of the sound."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[EffectsPart]:
        """Effects of parts of any videos; the tagger hears all of them together."""
        tracks = [item for item in items if isinstance(item, AudioTrack)]
        sounds = [np.nan_to_num(np.asarray(track.samples, np.float32)) for track in tracks]
        rates = [track.sample_rate for track in tracks]
        found = in_threads(list(zip(sounds, rates, strict=True)), lambda one: _events(*one), self._threads)
        # One patch that begins with the event, in which it weighs most.
        begins = [
            [max(0, round((event.start_s - 0.1) * track.sample_rate)) for event in events]
            for events, track in zip(found, tracks, strict=True)
        ]
        scores = self._tagger.scores_at(list(zip(sounds, begins, strict=True)))
        return [self._part(*one) for one in zip(tracks, found, scores, strict=True)]

    def _part(self, track: AudioTrack, events: Sequence[SoundEvent], scores: yamnet.Scores) -> EffectsPart:
        effects = []
        for event, heard in zip(events, scores, strict=True):
            named = _named(event, heard)
            if named is not None:
                effects.append(_segment(event, *named, self._tags(heard), track))
        return EffectsPart(effects, track.duration_s)

    def _tags(self, scores: npt.NDArray[np.float32]) -> list[Tag]:
        ranked = sorted({number for classes in TAGS.values() for number in classes}, key=lambda n: -scores[n])
        return [Tag(name=self._tagger.names[n], score=float(scores[n])) for n in ranked[:3] if scores[n] >= TAG_SHOWN]

    def summarize(self, parts: Sequence[EffectsPart], upstream: Upstream) -> EffectsReport:
        """Join the parts."""
        effects = [effect for part in parts for effect in part.effects]
        minutes = sum(part.duration_s for part in parts) / 60
        kinds = sorted({effect.kind for effect in effects})
        return EffectsReport(
            segments=effects,
            summary=EffectsSummary(
                counts={kind: sum(effect.kind == kind for effect in effects) for kind in kinds},
                per_minute=len(effects) / minutes if minutes > 0 else 0.0,
            ),
        )


def _events(samples: yamnet.Samples, rate: int) -> list[SoundEvent]:
    """What stands out, with speech known."""
    voiced = [
        (s.start / rate - VOICE_MARGIN_S, s.end / rate + VOICE_MARGIN_S)
        for s in (find_speech(samples) if np.any(samples) else [])
    ]
    return list(find_events(samples, rate, voiced))


def _named(event: SoundEvent, scores: npt.NDArray[np.float32]) -> tuple[Kind, float] | None:
    """The kind by shape, or by a clear tag where the shape says nothing; None where something alive is heard."""
    found = kind_of(event)
    if found is None:
        return None
    tagged = {kind: float(scores[list(classes)].max()) for kind, classes in TAGS.items()}
    likeliest = max(tagged, key=lambda kind: tagged[kind])
    alive = float(scores[list(ALIVE)].max())
    if found[0] != "riser" and event.duration_s >= ALIVE_S_MIN and alive >= TAG_MIN and alive > tagged[likeliest]:
        return None
    if found[0] != "other":
        return found
    if tagged[likeliest] >= TAG_MIN:
        return likeliest, found[1]
    return None if scores[list(yamnet.MUSIC)].max() >= TAG_MIN else found  # a note, or the beginning of music


def _segment(event: SoundEvent, kind: Kind, asked_db: float, tags: list[Tag], track: AudioTrack) -> EffectSegment:
    time_s = {"whoosh": event.peak_s, "riser": event.end_s}.get(kind, event.start_s)
    return EffectSegment(
        start=track.start_s + event.start_s,
        end=track.start_s + min(event.end_s, track.duration_s),
        kind=kind,
        time=track.start_s + min(time_s, track.duration_s),
        strength=min(1.0, max(0.0, event.over_bed_db / STRENGTH_DB)),
        score=min(1.0, event.excess_db / (2 * asked_db)),
        over_bed_db=min(99.0, event.over_bed_db),
        over_speech=event.in_voice,
        tags=tags,
    )
