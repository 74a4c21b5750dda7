"""Says how a video is built in time: hook, build-up, peak, call to action, outro, and how fast it goes.

Rules over other reports, with their sources in docs/temporal_flow.md: energy and pace of each second
(methods/pace.py), calls to action and farewells in text and speech (methods/calls.py). Works with whichever of the five
reports there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np

from analyzers.methods.calls import Call, calls
from analyzers.methods.pace import Curves, curves
from analyzers.methods.texts import heard, read
from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import NotApplicable
from pipeline.results import Document, ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import AnalyzerSpec

Phase = Literal["hook", "build", "peak", "cta", "outro"]
SOURCES: Final = ("cut_analysis", "camera_analysis", "audio_analysis", "text_overlay", "speech_transcription")

HOOK_S: Final = 3.0
"""The first three seconds: the platforms' measure of whether a viewer stays."""
SNAP_S: Final = 0.5
"""A border moves to a cut this near: phases change with shots."""
CTA_FROM: Final = 0.5
"""Share of the video after which a call to action begins a phase; an earlier one is only listed."""
CTA_GAP_S: Final = 2.0
"""Calls this near to each other are one phase."""
REST_S: Final = 1.0
"""A shorter rest between phases, or at the end, belongs to the phase before."""
OUTRO_SHARE: Final = 0.2
"""Of the video, at most, for an outro that no words announce."""
FADING: Final = 0.5
"""Share of the mean energy below which a video's end is an outro."""
PEAK_S: Final = 3.0
PEAK_STEP: Final = 0.05
PEAK_RATIO: Final = 1.2
"""A peak lasts three seconds, and its mean energy is above the body's by a fifth and by 0.05; else there is none."""
ENERGY_PARTS_MIN: Final = 2
"""Of cuts, motion, loudness and texts, for a peak or a fading end: one alone, a single caption, is no such thing."""
ENERGY_FROM: Final = {
    "cuts": "cut_analysis",
    "motion": "camera_analysis",
    "loudness": "audio_analysis",
    "texts": "text_overlay",
}
_QUESTION: Final = re.compile(r"[?？]")


class FlowSegment(Segment):
    """One phase. `pace` and `energy` are means, 0..1; `why` says what it was told by, `analyzers` whose reports."""

    phase: Phase
    pace: Score
    energy: Score
    why: str
    analyzers: list[str]


class PacePoint(Document):
    """One second: pace and energy, 0..1, and their parts."""

    second: int
    pace: Score
    energy: Score
    parts: dict[str, Score]


class CallToAction(Document):
    """What viewers are asked for, or a farewell: its words, when, and where they stand."""

    kind: str
    words: str
    analyzer: str
    start: Seconds
    end: Seconds
    score: Score


class HookFigures(Document):
    """The first three seconds (or the whole of a shorter video). Null where no report tells.

    `captions` and `words` count what begins there; `first_caption_s` and `first_word_s` are times in the video;
    `question` says that a caption or sentence there asks something; `louder_db` compares the sound's level with the
    rest of the video; `pace` and `energy` are means, `pace_ratio` compares with the rest.
    """

    seconds: Seconds
    cuts: int | None
    captions: int | None
    first_caption_s: Seconds | None
    words: int | None
    first_word_s: Seconds | None
    question: bool
    louder_db: Number | None
    pace: Score
    energy: Score
    pace_ratio: Number | None


class FlowSummary(Summary):
    """Hook, curve, calls and the peak; `pace` is the mean, `trend` how it develops over the body."""

    hook: HookFigures | None
    pace: Score
    pace_curve: list[PacePoint]
    trend: Literal["rising", "falling", "steady"]
    peak_s: Seconds | None
    calls_to_action: list[CallToAction]
    phases: dict[Phase, Seconds]
    looked_at: list[str]


class FlowReport(Report[FlowSegment, FlowSummary]):
    """Report of temporal_flow. Segments cover the video."""


@dataclass(frozen=True)
class _Stretch:
    start: float
    end: float
    phase: Phase
    why: str
    analyzers: tuple[str, ...]


class TemporalFlow(Analyzer[None, FlowReport]):
    """Phases and pace by rules."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("temporal_flow", "1", None, after_if_ok=SOURCES, cpus=0.1)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read but the lexicon: rules only."""
        self.model = ModelInfo(id="reelscope/temporal-flow-rules", revision=self.spec.version, backend="rules")

    def summarize(self, parts: Sequence[None], upstream: Upstream) -> FlowReport:
        """Find the phases.

        Raises:
            NotApplicable: none of the five reports is there.
        """
        there = [name for name in SOURCES if name in upstream]
        if not there:
            raise NotApplicable("there is no report on cuts, camera, sound, text or speech to tell the flow by")
        duration_s = upstream.video.duration_s
        found = curves(upstream, duration_s)
        texts = [*read(upstream["text_overlay"])] if "text_overlay" in upstream else []
        texts += heard(upstream["speech_transcription"]) if "speech_transcription" in upstream else []
        asked = sorted(calls(texts), key=lambda call: (call.start, call.end, call.words))
        cuts = [cut.time for cut in upstream["cut_analysis"].summary.cuts] if "cut_analysis" in upstream else []
        stretches = phases(found, asked, cuts, duration_s)
        segments = [
            FlowSegment(
                start=s.start,
                end=s.end,
                phase=s.phase,
                pace=_mean(found.pace, s.start, s.end),
                energy=_mean(found.energy, s.start, s.end),
                why=s.why,
                analyzers=list(s.analyzers),
            )
            for s in stretches
        ]
        peak = next((s for s in stretches if s.phase == "peak"), None)
        names: dict[Phase, float] = {}
        for s in stretches:
            names[s.phase] = names.get(s.phase, 0.0) + s.end - s.start
        return FlowReport(
            segments=segments,
            summary=FlowSummary(
                hook=hook(upstream, found, duration_s) if duration_s > 0 else None,
                pace=_mean(found.pace, 0, duration_s),
                pace_curve=[
                    PacePoint(
                        second=second,
                        pace=float(found.pace[second]),
                        energy=float(found.energy[second]),
                        parts={name: float(curve[second]) for name, curve in found.parts.items()},
                    )
                    for second in range(len(found.pace))
                ],
                trend=trend(found.pace),
                peak_s=None if peak is None else (peak.start + peak.end) / 2,
                calls_to_action=[CallToAction(**vars(call)) for call in asked],
                phases=names,
                looked_at=there,
            ),
        )


# --- phases -----------------------------------------------------------------------------------------------------------


def phases(found: Curves, asked: Sequence[Call], cuts: Sequence[float], duration_s: float) -> list[_Stretch]:
    """Stretches that tile the video, in order."""
    if duration_s <= 0:
        return []
    if duration_s <= HOOK_S + REST_S:
        return [_Stretch(0.0, duration_s, "hook", "the video is hardly longer than a hook", ())]
    hook_end, why, by = _snapped(HOOK_S, cuts, 2 * REST_S, duration_s - REST_S)
    stretches = [_Stretch(0.0, hook_end, "hook", f"the first three seconds{why}", by)]
    ending = _ending(found, asked, hook_end, duration_s)
    body_end = ending[0].start if ending else duration_s
    stretches += _body(found, cuts, hook_end, body_end)
    return stretches + ending


def _snapped(time_s: float, cuts: Sequence[float], low: float, high: float) -> tuple[float, str, tuple[str, ...]]:
    """A border, moved to the nearest cut if there is one near: (time, words for it, by whom)."""
    near = [cut for cut in cuts if abs(cut - time_s) <= SNAP_S and low <= cut <= high]
    if not near:
        return min(max(time_s, low), high), "", ()
    return min(near, key=lambda cut: abs(cut - time_s)), ", up to a cut", ("cut_analysis",)


def _ending(found: Curves, asked: Sequence[Call], hook_end: float, duration_s: float) -> list[_Stretch]:
    """Call to action and outro."""
    late = [call for call in asked if call.start >= max(hook_end, CTA_FROM * duration_s)]
    wanting = [call for call in late if call.kind != "farewell"]
    farewell = next((call for call in late if call.kind == "farewell" and duration_s - call.start <= 10), None)
    ending: list[_Stretch] = []
    reached = duration_s
    if wanting:
        group = [wanting[-1]]  # the last calls, as far as they follow one another
        for call in reversed(wanting[:-1]):
            if min(c.start for c in group) - call.end <= CTA_GAP_S:
                group.append(call)
        start = min(call.start for call in group)
        reached = max(call.end for call in group)
        words = ", ".join(dict.fromkeys(f"'{call.words}'" for call in sorted(group, key=lambda c: c.start)))
        start = hook_end if start - hook_end < REST_S else start
        reached = duration_s if duration_s - reached < REST_S else reached
        ending.append(_Stretch(start, reached, "cta", words, tuple(dict.fromkeys(call.analyzer for call in group))))
        if reached < duration_s:
            ending.append(_Stretch(reached, duration_s, "outro", "what follows the call to action", ()))
    elif farewell is not None:
        ending.append(
            _Stretch(max(hook_end, farewell.start), duration_s, "outro", f"'{farewell.words}'", (farewell.analyzer,))
        )
    else:
        ending += _fading(found, hook_end, duration_s)
    return ending


def _fading(found: Curves, hook_end: float, duration_s: float) -> list[_Stretch]:
    """An outro that no words announce: the energy falls below half of the mean until the end."""
    first = max(hook_end + REST_S, duration_s * (1 - OUTRO_SHARE))
    by = tuple(ENERGY_FROM[name] for name in found.parts if name in ENERGY_FROM)
    mean = float(found.energy.mean())
    start = len(found.energy)
    while start > 0 and found.energy[start - 1] < FADING * mean and start - 1 >= first:
        start -= 1
    if duration_s - start < REST_S + SNAP_S or len(by) < ENERGY_PARTS_MIN:
        return []
    return [_Stretch(float(start), duration_s, "outro", "less than half of the mean energy until the end", by)]


def _body(found: Curves, cuts: Sequence[float], start: float, end: float) -> list[_Stretch]:
    """Build-up, and the peak if one stands out."""
    by = tuple(ENERGY_FROM[name] for name in found.parts if name in ENERGY_FROM)
    if end - start <= 0:
        return []
    plain = _Stretch(start, end, "build", "between hook and end", ())
    if end - start < PEAK_S + 2 * REST_S or len(by) < ENERGY_PARTS_MIN:
        return [plain]
    offsets = np.arange(start, end - PEAK_S + 1e-6, 0.5)
    energies = [_mean(found.energy, at, at + PEAK_S) for at in offsets]
    best, mean = max(energies), _mean(found.energy, start, end)
    if best < PEAK_RATIO * mean or best < mean + PEAK_STEP:
        return [plain]
    at = float(offsets[int(np.argmax(energies))])
    peak_start, _, _ = _snapped(at, cuts, start, end)
    peak_end, _, _ = _snapped(at + PEAK_S, cuts, peak_start + REST_S, end)
    peak_start = start if peak_start - start < REST_S else peak_start
    peak_end = end if end - peak_end < REST_S else peak_end
    risen = {
        name: _mean(c, at, at + PEAK_S) - _mean(c, start, end) for name, c in found.parts.items() if name in ENERGY_FROM
    }
    most = [name for name, step in sorted(risen.items(), key=lambda item: -item[1]) if step > 0][:2]
    why = f"most energy: {best:.2f} against {mean:.2f}" + (f", by {' and '.join(most)}" if most else "")
    return [
        *([_Stretch(start, peak_start, "build", "before the peak", ())] if peak_start > start else []),
        _Stretch(peak_start, peak_end, "peak", why, by),
        *([_Stretch(peak_end, end, "build", "after the peak", ())] if peak_end < end else []),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def hook(reports: Mapping[str, Any], found: Curves, duration_s: float) -> HookFigures:
    """Figures of the first three seconds."""
    end = min(HOOK_S, duration_s)
    cuts = captions = words = None
    first_caption = first_word = None
    asks = False
    if "cut_analysis" in reports:
        cuts = sum(cut.time < end for cut in reports["cut_analysis"].summary.cuts)
    if "text_overlay" in reports:
        shown = [s for s in reports["text_overlay"].segments if s.kind == "overlay"]
        captions = sum(s.start < end for s in shown)
        first_caption = min((s.start for s in shown), default=None)
        asks = any(s.start < end and _QUESTION.search(s.text) for s in shown)
    if "speech_transcription" in reports:
        spoken = [word for s in reports["speech_transcription"].segments for word in s.words]
        words = sum(word.start < end for word in spoken)
        first_word = min((word.start for word in spoken), default=None)
        asks = asks or any(word.start < end and _QUESTION.search(word.word) for word in spoken)
    pace, rest = _mean(found.pace, 0, end), _mean(found.pace, end, duration_s)
    return HookFigures(
        seconds=end,
        cuts=cuts,
        captions=captions,
        first_caption_s=first_caption,
        words=words,
        first_word_s=first_word,
        question=asks,
        louder_db=_louder_db(reports, end),
        pace=pace,
        energy=_mean(found.energy, 0, end),
        pace_ratio=pace / rest if rest > 0.01 else None,
    )


def _louder_db(reports: Mapping[str, Any], end: float) -> float | None:
    """Level of the first seconds over that of the rest, by mean power; null where one of both is silent."""
    if "audio_analysis" not in reports:
        return None
    segments = [s for s in reports["audio_analysis"].segments if s.rms_db > -70]
    first = [10 ** (s.rms_db / 10) for s in segments if s.start < end]
    rest = [10 ** (s.rms_db / 10) for s in segments if s.start >= end]
    return float(10 * np.log10(np.mean(first) / np.mean(rest))) if first and rest else None


def trend(pace: Any) -> Literal["rising", "falling", "steady"]:
    """Whether the second half is faster or slower than the first by a fifth and by 0.05."""
    half = len(pace) // 2
    if half < 2:
        return "steady"
    first, second = float(np.mean(pace[:half])), float(np.mean(pace[-half:]))
    if abs(second - first) < PEAK_STEP or max(first, second) < PEAK_RATIO * min(first, second):
        return "steady"
    return "rising" if second > first else "falling"


def _mean(curve: Any, start: float, end: float) -> float:
    """Mean of a curve with one value per second over a stretch, by the time in each second."""
    seconds = np.arange(len(curve))
    shared = np.clip(np.minimum(end, seconds + 1) - np.maximum(start, seconds), 0, 1)
    return float((curve * shared).sum() / shared.sum()) if shared.sum() > 0 else 0.0
