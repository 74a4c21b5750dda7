"""Lines, findings and beat sync on made-up reports whose truth is known by construction, and on a composed reel."""

from __future__ import annotations

import random

from analyzers.audio_analysis import AudioAnalysis
from analyzers.camera_analysis import CameraAnalysis
from analyzers.cross_analyzer_intelligence import BeatCutSync, CrossAnalyzerIntelligence, CrossReport
from analyzers.cut_analysis import CutAnalysis
from analyzers.product_detection import ProductDetection
from analyzers.temporal_flow import TemporalFlow
from benchmarks.truth import Figure, run_analyzer
from pipeline.results import Upstream, VideoFacts
from tests.media import reports
from tests.media.flow_clips import REELS, flow_reel

NAME = "cross_analyzer_intelligence"
DURATION_S = 60.0


def drawn(**given: reports.AnyReport) -> CrossReport:
    """The report over the given ones."""
    facts = VideoFacts(source="made up", sha256="", bytes=0, duration_s=DURATION_S)
    return CrossAnalyzerIntelligence().summarize([], Upstream(facts, given))


def measure() -> list[Figure]:
    """Cuts on, off and independent of beats; a second's line against what was put into it."""
    beats = [0.5 * n for n in range(120)]
    chance = random.Random(0)
    at_random = [
        sync.share
        for _ in range(50)
        if (sync := _sync(beats, sorted(chance.uniform(0, DURATION_S) for _ in range(20)))) is not None
    ]
    expected = _sync(beats, [1.0])
    on_beat, off_beat = _sync(beats, [2.0, 10.5, 31.0]), _sync(beats, [2.25, 10.75, 31.25])
    full = drawn(
        object_detection=reports.objects([(4.0, 5.0, "person", (0.05, 0.2, 0.25, 0.9))]),
        text_overlay=reports.texts([(4.1, 6.0, "WAS GEHT AB")]),
        camera_analysis=reports.camera([(0.0, 4.0, "static"), (4.0, 60.0, "pan_right")]),
        cut_analysis=reports.cuts([4.02], DURATION_S),
        audio_analysis=reports.sound(DURATION_S, beats=[4.0]),
    )
    right = full.segments[4].line == "0:04 a person at left, caption 'WAS GEHT AB', camera pans right, cut on the beat"
    sourced = [set(segment.evidence) <= set(full.summary.sources) for segment in full.segments]
    return [
        *reel_figures(),
        Figure(NAME, "one second with five reports, the expected line", float(right), 1),
        Figure(NAME, "lines whose evidence is among the reports", sum(sourced) / len(sourced), 1),
        Figure(NAME, "cuts on beats, share on the beat", on_beat.share if on_beat else 0, 1),
        Figure(NAME, "cuts between beats, share on the beat", off_beat.share if off_beat else 1, 0, True),
        Figure(
            NAME,
            "random cuts: stated chance against the share seen, error",
            abs(sum(at_random) / len(at_random) - (expected.chance if expected else 0)),
            0.05,
            True,
        ),
    ]


def reel_figures() -> list[Figure]:
    """What the lines of a composed reel say of its cuts, captions and phases, and what they say without ground."""
    reel = REELS[1]
    path = flow_reel(reel).path
    read = reports.texts([(c.start, c.end, c.text) for c in reel.captions])
    upstream = {"text_overlay": read}
    upstream |= {a.spec.name: run_analyzer(a, path) for a in (CutAnalysis, CameraAnalysis, AudioAnalysis)}
    for dependant in (TemporalFlow, ProductDetection):
        upstream[dependant.spec.name] = run_analyzer(dependant, path, upstream)
    report: CrossReport = run_analyzer(CrossAnalyzerIntelligence, path, upstream)
    lines = [segment.line for segment in report.segments]
    expected = [(int(cut), "cut") for cut in reel.cuts]
    expected += [(int(c.start), f"caption '{c.text}'") for c in reel.captions]
    expected += [(5, "the peak begins"), (9, "call to action begins"), (11, "outro begins")]
    told = sum(what in lines[second] for second, what in expected) / len(expected)
    cut_seconds = {int(cut) for cut in reel.cuts}
    groundless = sum(", cut" in line and n not in cut_seconds for n, line in enumerate(lines))
    groundless += sum(word in line for line in lines for word in ("person", "voice", "brand", "silence", "sign"))
    return [
        Figure(NAME, "composed reel, cuts, captions and phases told in their second, share", told, 0.95),
        Figure(NAME, "composed reel, things told that are not there", groundless, 0, True),
        Figure(NAME, "composed reel, longest line in facts", max(line.count(", ") + 1 for line in lines), 6, True),
    ]


def _sync(beats: list[float], cuts: list[float]) -> BeatCutSync | None:
    return drawn(
        cut_analysis=reports.cuts(cuts, DURATION_S), audio_analysis=reports.sound(DURATION_S, beats=beats)
    ).summary.beat_cut_sync
