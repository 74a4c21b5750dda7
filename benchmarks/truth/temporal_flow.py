"""Phases of composed reels, by the real analyzers upstream; calls to action in a list of phrases and of prose.

Captions are read by the real recogniser in one reel and given as written in the others, since reading costs most.
"""

from __future__ import annotations

from typing import Any, Final

from analyzers.audio_analysis import AudioAnalysis
from analyzers.camera_analysis import CameraAnalysis
from analyzers.cut_analysis import CutAnalysis
from analyzers.methods.calls import calls
from analyzers.methods.texts import Text
from analyzers.temporal_flow import FlowReport, TemporalFlow
from analyzers.text_overlay import TextOverlay
from benchmarks.truth import Figure, run_analyzer
from benchmarks.truth.product_detection import PROSE
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media import reports
from tests.media.flow_clips import REELS, flow_reel

NAME: Final = "temporal_flow"
STEP_S: Final = 0.1
ASKING: Final = (
    "Follow for more", "FOLLOW ME", "f0llow me", "link in bio", "LINKINBIO", "comment below", "Jetzt kaufen",
    "folge mir für mehr", "Folgt mir", "Link in der Bio", "jetzt bestelen", "schreib's in die Kommentare", "shop now",
    "use my code SAVE20", "Tag a friend", "speicher dir das Video ab", "abonniert meinen Kanal", "like and subscribe",
    "tell me in the comments", "mit dem Code GLOW", "lasst ein Like da", "share this with someone", "Save for later",
    "schau vorbei", "dm me",
)  # fmt: skip
NOT_ASKING: Final = (
    "we follow the river", "no comment", "he bought it now and then", "the link is broken", "I like it", "shopping",
    "wir folgen dem Weg", "ein Kommentar", "er kauft ein", "der Kanal ist lang", "save the whales", "code of conduct",
    "the bio teacher", "they share a flat", "das Abo ist teuer", "my friend has a tag",
)  # fmt: skip


def asks(text: str) -> bool:
    """Whether a caption calls to action."""
    given = Text("text_overlay", 0.0, 2.0, text, ((0, len(text), 0.0, 2.0, 1.0),))
    return any(call.kind != "farewell" for call in calls([given]))


def phase_at(phases: list[tuple[str, float, float]], time_s: float) -> str:
    """The name of the phase at a time."""
    return next((name for name, start, end in phases if start <= time_s < end), "")


def measure() -> list[Figure]:
    """Share of time in the right phase, and calls."""
    settings = load_settings()
    sources: dict[str, Any] = {
        "cut_analysis": CutAnalysis(),
        "camera_analysis": CameraAnalysis(),
        "audio_analysis": AudioAnalysis(),
    }
    reader = TextOverlay()
    for analyzer in (*sources.values(), reader):
        analyzer.load("cpu", Profile(settings.profile, settings.models_dir))
    right = steps = peaks = tiled = 0
    for reel in REELS:
        path = flow_reel(reel).path
        upstream = {name: run_analyzer(analyzer, path) for name, analyzer in sources.items()}
        if reel is REELS[0]:
            upstream["text_overlay"] = run_analyzer(reader, path)
        else:
            upstream["text_overlay"] = reports.texts([(c.start, c.end, c.text) for c in reel.captions])
        report: FlowReport = run_analyzer(TemporalFlow, path, upstream)
        told = [(str(s.phase), s.start, s.end) for s in report.segments]
        times = [STEP_S * (n + 0.5) for n in range(int(reel.seconds / STEP_S))]
        right += sum(phase_at(told, t) == phase_at([*reel.phases], t) for t in times)
        steps += len(times)
        peaks += ("peak" in {name for name, _, _ in told}) == (reel.peak is not None)
        borders = [0.0] + [end for _, _, end in told]
        tiled += all(abs(start - end) < 1e-6 for (_, start, _), end in zip(told, borders, strict=False))
    prose = sum(asks(sentence) for text in PROSE for sentence in text.split(". "))
    return [
        Figure(NAME, "composed reels, share of time in the right phase", right / steps, 0.9),
        Figure(NAME, "composed reels, peak there or not, share right", peaks / len(REELS), 1.0),
        Figure(NAME, "composed reels, phases without gap or overlap, share", tiled / len(REELS), 1.0),
        Figure(NAME, "25 calls to action, share found", sum(map(asks, ASKING)) / len(ASKING), 0.95),
        Figure(NAME, "prose and phrases that are none, taken for one", prose + sum(map(asks, NOT_ASKING)), 0, True),
    ]
