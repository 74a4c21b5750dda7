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
from importlib import import_module
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
from serve_app.schemas import Health, Job, JobEvent
from serve_app.session import Session

if TYPE_CHECKING:
    from serve_app.client import AsyncClient, Client, ConnectionLost, ServerError, ServerMissing
    from serve_app.jobs.webhooks import NotAuthentic, verify_webhook

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
    "ConnectionLost",
    "DecoderCrashed",
    "Event",
    "FrameBatch",
    "Health",
    "Job",
    "JobEvent",
    "MediaError",
    "MediaLimit",
    "MediaMissing",
    "MediaUnreadable",
    "ModelInfo",
    "ModelUnavailable",
    "NotApplicable",
    "NotAuthentic",
    "Options",
    "PlanError",
    "Problem",
    "Profile",
    "Progress",
    "ReelscopeError",
    "Report",
    "Segment",
    "ServerError",
    "ServerMissing",
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
    "verify_webhook",
]


_LATER = {
    "AsyncClient": "serve_app.client",
    "Client": "serve_app.client",
    "ConnectionLost": "serve_app.client",
    "NotAuthentic": "serve_app.jobs.webhooks",
    "ServerError": "serve_app.client",
    "ServerMissing": "serve_app.client",
    "verify_webhook": "serve_app.jobs.webhooks",
}
"""Where names are that need httpx: who works without a server does not wait for it."""


def __getattr__(name: str) -> Any:
    """Import what is in `_LATER` when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


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
