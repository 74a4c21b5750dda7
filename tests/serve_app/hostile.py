"""Reports that are hard to write: with texts that a format could take for its own signs, or with little in them."""

from __future__ import annotations

from typing import Any, Final

from pipeline.results import AnalyzerResult, ModelInfo, VideoReport
from tests.serve_app.documents import document, everything, result, without_report

TEXTS: Final = (
    'She said "no", twice',
    "tab\there and\nnew line\r\nand \u2028 another",
    "👩\u200d👩\u200d👧 family 👍🏽",
    "مرحبا بالعالم، كيف حالك؟",
    "nul\0inside \x1b[31m bell\x07",
    "lone \ud83d surrogate",
    "00:00:09.000 --> 00:00:10.000",
    "</c><b>bold</b> <i>& STYLE ::cue{color:red}",
    "{\\an8}{c:$ff} \\N NOTE",
    '=HYPERLINK("http://x","y")',
    "@SUM(1)",
    "＝1+1",
    "-2+3 cmd",
    "+49 30 1234",
    "\u200b=1",
    "]]> <!-- &amp;",
)
"""What speech, on-screen text and labels may say."""


def hostile(**facts: Any) -> VideoReport:
    """Every text of `TEXTS` as speech, as on-screen text and as the label of an object."""
    times = [(round(i * 2.0, 3), round(i * 2.0 + 1.5, 3)) for i in range(len(TEXTS))]
    spoken = [
        {"start": a, "end": b, "text": text, "words": _words(text, a, b) if i % 2 else [], "pitch_hz": -1.5}
        for i, ((a, b), text) in enumerate(zip(times, TEXTS, strict=True))
    ]
    shown = [{"start": a, "end": b + 1, "text": text} for (a, b), text in zip(times, TEXTS, strict=True)]
    seen = [
        {"start": a, "end": b, "objects": [{"label": text, "score": 0.9, "box": [-0.1, 0.2, 0.5, 1.2], "track": 1}]}
        for (a, b), text in zip(times, TEXTS, strict=True)
    ]
    return document(
        result("speech_transcription", spoken),
        result("text_overlay", shown),
        result("object_detection", seen),
        **({"source": 'a "b" <c>&\tд.mp4'} | facts),
    )


def _words(text: str, start: float, end: float) -> list[dict[str, Any]]:
    words = text.split()
    step = (end - start) / len(words)
    return [
        {"word": word, "start": start + i * step, "end": start + (i + 1) * step, "score": 0.5}
        for i, word in enumerate(words)
    ]


def random_weights(name: str, text: str) -> AnalyzerResult:
    """An analyzer whose model has learned nothing."""
    told = result(name, [{"start": 0.0, "end": 5.0, "text": text}])
    model = ModelInfo(id="m", revision="1", backend="torch", random_weights=True)
    return told.model_copy(update={"model": model})


def silent() -> VideoReport:
    """A video in which nobody speaks."""
    return document(
        *(one for one in everything() if one.name != "speech_transcription"), result("speech_transcription", [])
    )


def sound_only() -> VideoReport:
    """A sound file."""
    heard = ("speech_transcription", "audio_analysis", "speech_rate")
    return document(
        *(one for one in everything() if one.name in heard),
        without_report("object_detection", "skipped", "no picture"),
        source="talk.wav", width=0, height=0, fps=0.0, frames=0, video_codec=None, has_video=False, container="wav",
    )  # fmt: skip


def nothing() -> VideoReport:
    """No analyzer answered."""
    return document(
        without_report("cut_analysis", "failed", "out of memory"),
        without_report("blip2", "skipped", "no weights"),
        random_weights("qwen2_vl_temporal", "RANDOM WORDS"),
    )


REPORTS: Final = {
    "everything": lambda: document(*everything()),
    "hostile": hostile,
    "silent": silent,
    "sound only": sound_only,
    "nothing": nothing,
}
"""By name, what every format is tried with."""
