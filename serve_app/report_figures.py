"""What the HTML page says about the file, the run and each analyzer, as pairs of name and text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.results import AnalyzerResult, VideoReport
from serve_app.report_text import clock, short, size

Pairs = list[list[str]]


def facts(report: VideoReport) -> Pairs:
    """What the file is."""
    video = report.video
    picture = f"{video.width}×{video.height}, {video.fps:.4g} fps, {video.frames} frames" if video.has_video else "none"
    found = [
        ["source", video.source],
        ["duration", f"{clock(video.duration_s)} ({video.duration_s:.3f} s)"],
        ["picture", picture],
        ["turned by", f"{video.rotation}°" if video.rotation else ""],
        ["picture codec", video.video_codec or ""],
        ["sound codec", video.audio_codec or ("" if video.has_audio else "no sound")],
        ["container", video.container],
        ["size", size(video.bytes)],
        ["damaged packets", str(video.bad_packets) if video.bad_packets else ""],
        ["lost", ", ".join(f"{clock(start)} to {clock(end)}" for start, end in video.lost)],
        ["sha256", video.sha256],
    ]
    return [pair for pair in found if pair[1]]


def figures(report: VideoReport) -> Pairs:
    """What the run cost, the most telling first."""
    run = report.run
    coverage = f"{report.coverage.score:.1f} of 100" if report.coverage else ""
    gpu = f"{run.gpu_util:.0%} ({run.gpu_samples} samples)" if run.gpu_util is not None else ""
    found = [
        ["wall time", f"{run.wall_s:.2f} s"],
        ["times the video's length (rtf)", f"{run.rtf:.3f}"],
        ["speed", f"{run.speed_x:.2f}×"],
        ["useful share of the cores (overlap)", f"{run.overlap:.0%}"],
        ["decode passes", str(run.decode_passes)],
        ["decoding", f"{run.decode_s:.2f} s"],
        ["first chunk at an analyzer", f"{run.first_chunk_s:.2f} s" if run.first_chunk_s is not None else ""],
        ["CPU in use", f"{run.cpu_util:.0%}" if run.cpu_util is not None else ""],
        ["GPU in use", gpu],
        ["GPU memory peak", f"{run.gpu_mem_peak_gb:.2f} GB" if run.gpu_mem_peak_gb is not None else ""],
        ["coverage", coverage],
        ["profile", report.profile],
        ["made", report.created_at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()],
        ["machine", short(run.host)],
        ["versions", short(run.versions)],
        ["document schema", report.schema_version],
    ]
    return [pair for pair in found if pair[1]]


def analyzer_rows(results: Iterable[AnalyzerResult], title: Callable[[str], str]) -> list[dict[str, Any]]:
    """One entry per analyzer: outcome, model, cost, and its summary in short."""
    return [
        {
            "name": result.name,
            "title": title(result.name),
            "version": result.version,
            "status": result.status,
            "reason": result.reason or "",
            "error": f"{result.error.type}: {result.error.message}" if result.error else "",
            "model": _model(result),
            "note": (result.model.note or "") if result.model else "",
            "queued_s": result.timing.queued_s,
            "busy_s": result.timing.busy_s,
            "cpu_s": result.timing.cpu_s,
            "first_s": result.timing.first_s,
            "done_s": result.timing.done_s,
            "chunks": result.timing.chunks,
            "segments": len((result.report or {}).get("segments") or ()),
            "summary": _texts((result.report or {}).get("summary") or {}),
        }
        for result in results
    ]


def _texts(summary: dict[str, Any]) -> Pairs:
    return [[key, text] for key, value in summary.items() if (text := short(value))]


def _model(result: AnalyzerResult) -> Pairs:
    if result.model is None:
        return []
    model = result.model
    return [
        ["model", model.id],
        ["revision", model.revision],
        ["backend", model.backend],
        ["device", model.device],
        ["precision", model.precision],
        ["licence", model.licence],
    ]
