"""Draws together what all analyzers reported: one line per second, agreements, contradictions, key moments.

Rules only, stated in docs/cross_analyzer_intelligence.md: every phrase restates a report (methods/evidence.py,
picture_phrases.py, sound_phrases.py), every finding compares reports (agreement.py, contradiction.py, moments.py).
Nothing is said that no analyzer said, and a report that is missing is
listed with its reason instead of being guessed. Works with any subset, down to none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from analyzers.methods import evidence, moments, picture_phrases, sound_phrases
from analyzers.methods.agreement import agreements
from analyzers.methods.comparison import Found
from analyzers.methods.contradiction import contradictions
from pipeline.analyzer import Analyzer, Profile
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import ALL, AnalyzerSpec

SECOND_S: Final = 1.0
REST_S: Final = 0.25
"""A shorter rest at the end belongs to the last line."""
BEAT_WINDOW_S: Final = 0.1
"""A cut this near a beat is on it: three frames at 30 fps, about what viewers take for simultaneous."""
NOTHING: Final = "nothing was found"


class LineSegment(Segment):
    """One second in a sentence, and the analyzers that it is drawn from."""

    line: str
    evidence: list[str]


class SideEvidence(Document):
    """What one analyzer reported about it, from `start` to `end`."""

    analyzer: str
    start: Seconds
    end: Seconds
    what: str


class Finding(Document):
    """Something that several reports say, or contradict each other about, from `start` to `end`.

    `rule` is its name in docs/cross_analyzer_intelligence.md; `evidence` has what each side said, and when.
    """

    start: Seconds
    end: Seconds
    rule: str
    what: str
    analyzers: list[str]
    evidence: list[SideEvidence]


class KeyMoment(Document):
    """A moment at which several analyzers see a change; `score` adds up their weights."""

    time: Seconds
    score: Number
    what: str
    analyzers: list[str]


class BeatCutSync(Document):
    """Share of the hard cuts within `window_s` of a beat, and what share cuts at random times would have.

    `p_value` is how likely so many on-beat cuts are by chance: below 0.05, the editing follows the music.
    """

    cuts: int
    on_beat: int
    share: Score
    chance: Score
    p_value: Score
    window_s: Seconds


class CrossSummary(Summary):
    """`sources` are the reports that there were, `missing` the others with the reason."""

    agreements: list[Finding]
    contradictions: list[Finding]
    key_moments: list[KeyMoment]
    beat_cut_sync: BeatCutSync | None
    sources: list[str]
    missing: dict[str, str]


class CrossReport(Report[LineSegment, CrossSummary]):
    """Report of cross_analyzer_intelligence. Segments cover the video second by second."""


class CrossAnalyzerIntelligence(Analyzer[None, CrossReport]):
    """What follows from all reports together."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("cross_analyzer_intelligence", "2", None, after_if_ok=ALL, cpus=0.1)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: rules only."""
        self.model = ModelInfo(id="reelscope/cross-analyzer-rules", revision=self.spec.version, backend="rules")

    def summarize(self, parts: Sequence[None], upstream: Upstream) -> CrossReport:
        """Read all reports."""
        duration_s = upstream.video.duration_s
        reports = {name: evidence.Indexed(report) for name, report in upstream.items()}
        beats = moments.beats_of(reports)
        sync = moments.beat_cut_sync(reports, duration_s, BEAT_WINDOW_S)
        return CrossReport(
            segments=lines(reports, seconds(duration_s), beats),
            summary=CrossSummary(
                agreements=[_finding(found) for found in agreements(reports)],
                contradictions=[_finding(found) for found in contradictions(reports)],
                key_moments=[
                    KeyMoment(
                        time=time_s,
                        score=score,
                        what=", ".join(change.what for change in changes),
                        analyzers=[change.analyzer for change in changes],
                    )
                    for time_s, score, changes in moments.key_moments(moments.changes(reports))
                ],
                beat_cut_sync=None
                if sync is None
                else BeatCutSync(
                    cuts=sync.cuts,
                    on_beat=sync.on_beat,
                    share=sync.on_beat / sync.cuts,
                    chance=sync.chance,
                    p_value=sync.p_value,
                    window_s=BEAT_WINDOW_S,
                ),
                sources=sorted(upstream),
                missing=dict(sorted(upstream.missing.items())),
            ),
        )


def seconds(duration_s: float) -> list[tuple[float, float]]:
    """The seconds of a video; a rest below `REST_S` lengthens the last one."""
    count = max(1, math.ceil(duration_s - REST_S)) if duration_s > 0 else 0
    return [(s * SECOND_S, duration_s if s == count - 1 else (s + 1) * SECOND_S) for s in range(count)]


def lines(
    reports: evidence.Reports, stretches: Sequence[evidence.Stretch], beats: Sequence[float]
) -> list[LineSegment]:
    """Each second as a sentence: `0:04 a person at left, caption 'WAS GEHT AB', camera pans right, cut on the beat`."""
    narrator = evidence.Narrator()
    written = []
    for stretch in stretches:
        facts = [*picture_phrases.facts(reports, stretch, beats, BEAT_WINDOW_S), *sound_phrases.facts(reports, stretch)]
        phrases = narrator.line(facts)
        said = ", ".join(phrase.text for phrase in phrases)
        names = dict.fromkeys(name for phrase in phrases for name in phrase.analyzers)
        text = f"{clock(stretch[0])} {said or NOTHING}"
        written.append(LineSegment(start=stretch[0], end=stretch[1], line=text, evidence=list(names)))
    return written


def clock(time_s: float) -> str:
    """`0:04`, or `1:02:03` from an hour on."""
    minutes, second = divmod(int(time_s), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _finding(found: Found) -> Finding:
    return Finding(
        start=found.start_s,
        end=found.end_s,
        rule=found.rule,
        what=found.what,
        analyzers=list(dict.fromkeys(side.analyzer for side in found.sides)),
        evidence=[
            SideEvidence(analyzer=side.analyzer, start=side.start_s, end=side.end_s, what=side.what)
            for side in found.sides
        ],
    )
