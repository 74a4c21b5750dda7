"""Reports made by hand, with the fields that DESIGN names, for tests of what is done with a report."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.results import (
    AnalyzerResult,
    Coverage,
    ErrorInfo,
    ModelInfo,
    RunFigures,
    SecondCoverage,
    Timing,
    VideoFacts,
    VideoReport,
)

Segments = list[dict[str, Any]]
PHRASES: Final = ("Wo fährt der rote Bus hin?", "And so, my fellow Americans,", "ask not what your country", "can do")
CAMERA: Final = ("static", "pan_right", "static", "zoom_in", "handheld", "tilt_up")
HEXES: Final = ("#2f4a68", "#d9c7a3", "#8a2d2d", "#3c6e47", "#e8e4dc", "#15181d")


def result(name: str, segments: Segments, summary: dict[str, Any] | None = None) -> AnalyzerResult:
    """An analyzer that is ok."""
    busy_s = 0.2 + len(name) % 7 * 0.6
    return AnalyzerResult(
        name=name,
        version="1",
        status="ok",
        model=ModelInfo(id=f"model of {name}", revision="1", backend="numpy"),
        timing=Timing(queued_s=0.1, busy_s=busy_s, cpu_s=busy_s * 0.8, first_s=0.3, done_s=busy_s + 2, chunks=30),
        report={"segments": segments, "summary": summary or {}},
    )


def without_report(name: str, status: str, reason: str) -> AnalyzerResult:
    """An analyzer that failed or was skipped."""
    error = ErrorInfo(type="MemoryError", message="batch of 1 x 1080x1920") if status == "failed" else None
    return AnalyzerResult.model_validate(
        {"name": name, "version": "1", "status": status, "reason": reason, "error": error}
    )


def document(*results: AnalyzerResult, covered: bool = False, **facts: Any) -> VideoReport:
    """A report of these results; `facts` change the video's, a 30 s portrait clip with sound."""
    video: dict[str, Any] = {
        "source": "clip.mp4",
        "sha256": "0" * 64,
        "bytes": 5_000_000,
        "duration_s": 30.0,
        "width": 1080,
        "height": 1920,
        "fps": 30.0,
        "frames": 900,
        "video_codec": "h264",
        "audio_codec": "aac",
        "has_audio": True,
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
    }
    facts = video | facts
    return VideoReport(
        created_at=datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        profile="embedded",
        video=VideoFacts.model_validate(facts),
        analyzers={one.name: one for one in results},
        coverage=_coverage(int(facts["duration_s"])) if covered else None,
        run=RunFigures(
            wall_s=24.6,
            rtf=0.82,
            speed_x=1.22,
            decode_s=5.1,
            decode_passes=1,
            overlap=0.87,
            cpu_util=0.96,
            host={"cores": 2, "system": "Linux"},
            versions={"reelscope": "0.1.0"},
        ),
    )


def _coverage(seconds: int) -> Coverage:
    per_second = [
        SecondCoverage(second=at, seen=0.9, heard=0.5 + at % 3 * 0.2, said=float(at % 5 > 1), described=0.3)
        for at in range(seconds)
    ]
    return Coverage(score=73.4, formula_version="1", per_second=per_second, uncovered=[])


def cut_up(duration_s: float, step_s: float) -> list[tuple[int, float, float]]:
    """(number, start, end) of equal pieces."""
    count = math.ceil(duration_s / step_s)
    return [(at, round(at * step_s, 3), round(min((at + 1) * step_s, duration_s), 3)) for at in range(count)]


def everything(duration_s: float = 30.0) -> list[AnalyzerResult]:
    """The ten analyzers of the embedded profile, two that failed or were skipped, and one that nobody knows."""
    shots = [(0.0, 5.2), (5.2, 11.0), (11.0, 16.4), (16.4, 22.0), (22.0, duration_s)]
    kinds = ("cut", "cut", "dissolve", "fade")
    return [
        result(
            "cut_analysis",
            [{"start": a, "end": b, "index": i, "enter": "cut" if i else "start"} for i, (a, b) in enumerate(shots)],
            {"cuts": [{"time": a, "kind": kind, "score": 0.9} for (a, _), kind in zip(shots[1:], kinds, strict=True)]},
        ),
        result(
            "camera_analysis",
            [
                {"start": a, "end": b, "motion": CAMERA[i % 6], "speed": 0.2, "pan": math.sin(i) / 5, "tilt": 0.0}
                for i, a, b in cut_up(duration_s, 2.5)
            ],
            {"shares": {"static": 0.4, "pan_right": 0.3}},
        ),
        objects(duration_s),
        result(
            "color_analysis",
            [
                {
                    "start": a,
                    "end": b,
                    "palette": [
                        {"hex": HEXES[(i + k) % 6], "name": f"colour {k}", "share": share}
                        for k, share in enumerate((0.5, 0.3, 0.2))
                    ],
                    "brightness": 0.5 + 0.3 * math.sin(i / 3),
                    "contrast": 0.4,
                    "saturation": 0.5 + 0.2 * math.cos(i / 2),
                    "warmth": 0.1,
                }
                for i, a, b in cut_up(duration_s, 1.0)
            ],
        ),
        result(
            "content_quality",
            [
                {"start": a, "end": b, "score": 70 + 20 * math.sin(i), "sharpness": 60.0, "causes": ["noise"] * (i % 2)}
                for i, a, b in cut_up(duration_s, 1.0)
            ],
        ),
        result(
            "text_overlay",
            [
                _text(0.8, 4.6, "Grüße aus Köln", [0.2, 0.1, 0.8, 0.16], True),
                _text(2.0, 6.0, "LINIE 12 <b>fett</b> & mehr", [0.15, 0.4, 0.6, 0.44], True, "scene"),
                _text(12.0, 19.0, "Jetzt folgen!", [0.3, 0.86, 0.7, 0.91], False),
            ],
            {"full_text": "Grüße aus Köln\nJetzt folgen!"},
        ),
        speech(duration_s),
        result(
            "audio_analysis",
            [
                {"start": a, "end": b, "rms_db": -22 + 9 * math.sin(i / 2), "speech": float(i // 9 % 2), "music": 0.7}
                for i, a, b in cut_up(duration_s, 0.5)
            ],
            {"loudness_lufs": -16.2, "tempo_bpm": 120.0, "beats": [at / 2 for at in range(60)], "key": "A minor"},
        ),
        result(
            "speech_rate",
            [
                {"start": a, "end": b, "words": 14, "words_per_minute": 140 + 20 * math.sin(i) if i % 3 else None}
                for i, a, b in cut_up(duration_s, 5.0)
            ],
        ),
        result(
            "cross_analyzer_intelligence",
            [
                {
                    "start": a,
                    "end": b,
                    "line": f"0:{int(a):02d} A bus and two people, the camera pans; a voice asks {i}.",
                    "evidence": ["object_detection", "camera_analysis", "speech_transcription"],
                }
                for i, a, b in cut_up(duration_s, 1.0)
            ],
            {
                "key_moments": [{"time": 5.2, "kind": "cut_on_beat", "why": "A cut, a beat and a new text at once."}],
                "contradictions": [{"time": 12.0, "what": "The text says bus, no bus is in the picture."}],
                "agreements": ["Speech and on-screen text name the same number."],
                "beat_cut_sync": 0.75,
            },
        ),
        result(
            "smell_detection",
            [{"start": 3.0, "end": 9.0, "smell": "fresh bread", "strength": 0.7, "box": [0.4, 0.4, 0.7, 0.6]}],
            {"smells": ["fresh bread"]},
        ),
        result("visual_effects", [], {"counts": {}}),
        without_report("body_pose", "failed", "out of memory at the smallest batch"),
        without_report("blip2", "skipped", "no weights in the embedded profile"),
    ]


def _text(start: float, end: float, text: str, box: list[float], safe: bool, kind: str = "overlay") -> dict[str, Any]:
    covered = [] if safe else ["tiktok"]
    return {"start": start, "end": end, "text": text, "score": 0.98, "box": box, "kind": kind, "in_safe_zone": safe,
            "covered_by": covered}  # fmt: skip


def objects(duration_s: float, step_s: float = 0.25) -> AnalyzerResult:
    """A bus all the time, one or two people, and rare things."""
    segments = []
    for i, a, b in cut_up(duration_s, step_s):
        x = 0.1 + 0.3 * i * step_s / duration_s
        found = [_object("bus", 0.93, [x, 0.3, x + 0.5, 0.7], 1)]
        found += [_object("person", 0.8, [0.6, 0.45, 0.8, 0.95], 2)] * (i % 40 < 24)
        found += [_object("person", 0.6, [0.82, 0.5, 0.95, 0.9], 3)] * (i % 40 < 8)
        found += [_object(("dog", "cup", "tie", "cat")[i // 9 % 4], 0.7, [0.1, 0.02, 0.3, 0.2], 4 + i)] * (i % 9 < 3)
        segments.append({"start": a, "end": b, "objects": found})
    return result("object_detection", segments, {"counts": {"bus": 1, "person": 2}})


def _object(label: str, score: float, box: list[float], track: int) -> dict[str, Any]:
    return {"label": label, "score": score, "box": [round(edge, 4) for edge in box], "track": track}


def speech(duration_s: float) -> AnalyzerResult:
    """A phrase every four seconds, with words."""
    segments = []
    for i, a, _ in cut_up(duration_s, 4.0):
        text = PHRASES[i % len(PHRASES)]
        spoken = text.split()
        words = [
            {"word": word, "start": round(a + k * 0.4, 3), "end": round(a + k * 0.4 + 0.36, 3), "score": 0.3 + k / 10}
            for k, word in enumerate(spoken)
        ]
        end = words[-1]["end"]
        segments.append({"start": a, "end": end, "text": text, "words": words, "pitch_hz": 180.0 + 20 * (i % 3)})
    return result("speech_transcription", segments, {"language": "de", "text": " ".join(PHRASES)})
