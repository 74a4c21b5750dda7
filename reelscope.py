"""Reelscope's public face: what users import, and `python -m reelscope`.

    import asyncio, reelscope
    report = asyncio.run(reelscope.analyze("clip.mp4"))
    print(report.analyzers["speech_transcription"].report["summary"]["text"])

For several videos, or results as they come, keep a `Session`:

    async with reelscope.Session(analyzers=["cut_analysis"]) as session:
        async for event in session.stream("clip.mp4"):
            ...

Where a server runs, a `Client` asks it (docs/client.md):

    with reelscope.Client("http://127.0.0.1:8003") as client:
        report = client.analyze("clip.mp4")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.engine import Event, Progress
from pipeline.errors import (
    DecoderCrashed,
    MediaError,
    MediaLimit,
    MediaMissing,
    MediaUnreadable,
    ModelUnavailable,
    NotApplicable,
    PlanError,
    ReelscopeError,
    UsageError,
    WorkerDied,
    WorkerTimeout,
)
from pipeline.results import (
    AnalyzerResult,
    ModelInfo,
    Report,
    Segment,
    Summary,
    Upstream,
    VideoFacts,
    VideoReport,
)
from pipeline.settings import Settings, load_settings
from pipeline.types import (
    ALL,
    AUDIO,
    MOTION,
    NATIVE,
    READ,
    SCAN,
    THUMB,
    AnalyzerSpec,
    Audio,
    AudioTrack,
    FrameBatch,
    View,
)
from serve_app.problems import Problem
from serve_app.session import Session

if TYPE_CHECKING:
    from serve_app.client import AsyncClient, Client

__all__ = [
    "ALL",
    "AUDIO",
    "MOTION",
    "NATIVE",
    "READ",
    "SCAN",
    "THUMB",
    "Analyzer",
    "AnalyzerResult",
    "AnalyzerSpec",
    "AsyncClient",
    "Audio",
    "AudioTrack",
    "Client",
    "DecoderCrashed",
    "Event",
    "FrameBatch",
    "MediaError",
    "MediaLimit",
    "MediaMissing",
    "MediaUnreadable",
    "ModelInfo",
    "ModelUnavailable",
    "NotApplicable",
    "Options",
    "PlanError",
    "Problem",
    "Profile",
    "Progress",
    "ReelscopeError",
    "Report",
    "Segment",
    "Session",
    "Settings",
    "Summary",
    "Upstream",
    "UsageError",
    "VideoFacts",
    "VideoReport",
    "View",
    "WorkerDied",
    "WorkerTimeout",
    "analyze",
    "load_settings",
    "stream",
]


def __getattr__(name: str) -> Any:
    """The clients are imported when they are asked for: who works without a server does not wait for httpx."""
    if name in ("AsyncClient", "Client"):
        from serve_app import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


async def analyze(
    source: str | Path, analyzers: Sequence[str] | None = None, profile: ProfileName | None = None
) -> VideoReport:
    """Analyze one video from start to end: bring Ray up, load what is needed, run, shut down.

    Args:
        source: path of a video or sound file.
        analyzers: names; None is all. What they depend on runs too.
        profile: ``embedded`` or ``full``; None takes the setting.

    Raises:
        MediaError: the file cannot be analyzed.
        UsageError: an analyzer does not exist.
    """
    report: VideoReport | None = None
    async with aclosing(stream(source, analyzers, profile)) as events:
        async for event in events:
            if isinstance(event, VideoReport):
                report = event
    assert report is not None
    return report


async def stream(
    source: str | Path, analyzers: Sequence[str] | None = None, profile: ProfileName | None = None
) -> AsyncGenerator[Event, None]:
    """As `analyze`, but yields progress and results as they come, and the `VideoReport` last."""
    session = Session(load_settings(profile=profile), analyzers=analyzers)
    facts = await session.probe(source)
    async with session, aclosing(session.stream(facts, analyzers)) as events:
        async for event in events:
            yield event


if __name__ == "__main__":
    from serve_app.cli import main

    main()
