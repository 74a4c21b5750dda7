"""How fast a run is, on the sample reel or any file: `python -m benchmarks.run [FILE] [--runs N]`.

All figures come from this one process and its Ray, the alternatives interleaved; medians are quoted. Exits 1 when a bar
is missed. docs/performance.md explains each figure and keeps the last ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import psutil

from benchmarks.measure import Memory, Row, median, show, spilled
from pipeline.media import decode
from pipeline.results import VideoFacts, VideoReport
from pipeline.stream import RayFrameSource
from pipeline.types import View
from serve_app.session import Session
from tests.media.reel import sample_reel


async def main(path: Path, runs: int) -> int:
    """Measure and print. Returns the exit code."""
    rows: list[Row] = []
    started_s = time.perf_counter()
    async with Session() as session:
        await session.ready()
        rows.append(Row("start: Ray up and all analyzers loaded", time.perf_counter() - started_s, "s"))
        facts = await session.probe(path)
        with Memory() as memory:  # the first run fills caches and is not timed, and sampling memory costs time
            await session.analyze(facts)
        rows += await _stream(session, facts, runs)
        reports, waits = await _whole(session, path, runs)
        rows += _figures(reports, waits)
        rows += await _alternatives(session, facts, reports)
        rows += await _scaling(session, facts, reports)
        rows.append(Row("objects spilled", float(spilled()), "", 0))
    rows.append(Row("peak memory of all processes", memory.peak_bytes / 1e9, "GB", 6))
    cores = psutil.cpu_count() or 1
    size = f"{facts.width}x{facts.height}, {facts.fps:.3g} fps"
    show(f"{path.name}: {facts.duration_s:.1f} s, {size}; {cores} cores", rows)
    return 0 if all(row.reached for row in rows) else 1


async def _stream(session: Session, facts: VideoFacts, runs: int) -> list[Row]:
    """The stream against the bare decoder loop in this process: the same views, nothing else running."""
    views: tuple[View, ...] = tuple(session.selection.views)
    source = RayFrameSource(session.settings.limits, decode_cpus=0.5)
    ratios = []
    for _ in range(runs):
        start_s = time.perf_counter()
        for _item in decode(facts.source, video_id="v", views=views, audio=facts.has_audio):
            pass
        bare_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        async for _chunk in source.stream(facts.source, video_id="v", views=views, audio=facts.has_audio):
            pass
        ratios.append((time.perf_counter() - start_s) / bare_s)
    return [Row("stream / bare decoder loop, wall", median(ratios), "x", 1.15)]


async def _whole(session: Session, path: Path, runs: int) -> tuple[list[VideoReport], list[float]]:
    """Whole runs from the request on, and for each the time until the first analyzer began its first chunk."""
    reports, waits = [], []
    for _ in range(runs):
        start_s = time.perf_counter()
        facts = await session.probe(path)
        probed_s = time.perf_counter() - start_s
        report = await session.analyze(facts)
        reports.append(report)
        waits.append(probed_s + (report.run.first_chunk_s or 0.0))
    return reports, waits


def _figures(reports: list[VideoReport], waits: list[float]) -> list[Row]:
    statuses = reports[-1].statuses()
    contents = {_content(report) for report in reports}
    return [
        Row("analyzers ok", statuses["ok"]),
        Row("analyzers failed", statuses["failed"], "", 0),
        Row("warm rtf (wall / duration)", median([report.run.rtf for report in reports]), "x", 1.2),
        Row("overlap (useful core-seconds / cores x wall)", median([r.run.overlap for r in reports]), "", 0.85, False),
        Row("request to first chunk at an analyzer", median(waits), "s", 0.5),
        Row("decode passes", max(report.run.decode_passes for report in reports), "", 1),
        Row("decode, CPU seconds", median([report.run.decode_s for report in reports]), "s"),
        Row("different reports in these runs", len(contents), "", 1),
    ]


def _content(report: VideoReport) -> str:
    return json.dumps({name: result.report for name, result in report.analyzers.items()}, sort_keys=True)


async def _alternatives(session: Session, facts: VideoFacts, reports: list[VideoReport]) -> list[Row]:
    """Each analyzer alone and undisturbed, one after another, over the same warm workers."""
    alone_wall_s = alone_cpu_s = 0.0
    for name in session.selection.names:
        if session.graph.specs[name].needs is None:
            continue  # a dependant: its time is in the whole run, and nearly nothing
        report = await session.analyze(facts, [name])
        alone_wall_s += report.run.wall_s
        alone_cpu_s += report.analyzers[name].timing.cpu_s
    wall_s = median([report.run.wall_s for report in reports])
    decode_s = median([report.run.decode_s for report in reports])
    cores = psutil.cpu_count() or 1
    return [
        Row("one after another / all at once, wall", alone_wall_s / wall_s, "x"),
        Row("core-seconds alone and undisturbed / cores x wall", (alone_cpu_s + decode_s) / (cores * wall_s), ""),
    ]


async def _scaling(session: Session, facts: VideoFacts, reports: list[VideoReport]) -> list[Row]:
    """Three videos at once against one."""
    start_s = time.perf_counter()
    await asyncio.gather(*(session.analyze(facts) for _ in range(3)))
    together_s = time.perf_counter() - start_s
    wall_s = median([report.run.wall_s for report in reports])
    return [Row("three videos at once, per video / one alone", together_s / 3 / wall_s, "x", 1.0)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="default: the sample reel")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.file or sample_reel().path, arguments.runs)))
