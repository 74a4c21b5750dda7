"""What the full profile costs on a GPU: `python -m benchmarks.gpu [--size real|small] [--videos 1,3,8] [--out FILE]`.

The checkpoints are the real architectures with random weights, made on the spot: right for speed, and never an answer.
Two parts, each in this one run. The engine: Qwen2-VL describes every window of the reel, batched, against the loop that
takes one window at a time. The whole: all analyzers over the reel through Ray, with one, three and eight videos in
flight. `--size small` runs both anywhere, to know that they work. Without `--clip` the sample reel is drawn.

What it prints goes to docs/performance.md with the hardware's name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
import psutil

from actors.monitor import GpuMonitor
from benchmarks.gpu_engine import compare
from benchmarks.measure import Row, median, show
from pipeline.results import VideoReport
from pipeline.settings import RaySettings, Settings
from serve_app.session import Session
from tests.full.checkpoints.everything import write_everything
from tests.media.encode import write_clip

REEL_S: Final = 49.0
"""Length of the clip that the systems before this one were measured on."""
LOGICAL_GPU_GB: Final = 141.0
"""Counted where there is no GPU, so that the plan and the shares are those of a data-centre card."""
Frame = npt.NDArray[np.uint8]


def make_clips(source: Path, folder: Path, count: int, seconds: float = REEL_S) -> list[Path]:
    """Clips of that length out of a shorter one, no two pictures alike: what was seen before is not looked at again.

    Each next lap is mirrored; each clip has a brightness of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{source.stem}-{seconds:g}s-{number}.mp4" for number in range(count)]
    missing = [(source, path, seconds, number) for number, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(max_workers=max(1, min(len(missing), (psutil.cpu_count() or 2) // 2))) as pool:
        list(pool.map(_make_clip, missing))
    return paths


def _make_clip(job: tuple[Path, Path, float, int]) -> None:
    source, target, seconds, number = job
    part = target.with_suffix(".part.mp4")
    with av.open(str(source)) as container:
        fps = float(container.streams.video[0].average_rate or 30)
    sound = _sound(source, seconds) * np.float32(1 - 0.02 * number)
    write_clip(part, _pictures(source, round(seconds * fps), number), fps=fps, sound=sound, sound_rate=16_000)
    part.replace(target)


def _pictures(source: Path, count: int, number: int) -> Iterator[Frame]:
    shades = np.clip(np.arange(256) * (1 - 0.015 * number) + 2 * number, 0, 255).astype(np.uint8)
    lap = made = 0
    while made < count:
        with av.open(str(source)) as container:
            for frame in container.decode(video=0):
                if made == count:
                    return
                picture = shades[frame.to_ndarray(format="rgb24")]
                yield np.ascontiguousarray(picture[:, ::-1]) if lap % 2 else picture
                made += 1
        lap += 1


def _sound(source: Path, seconds: float) -> npt.NDArray[np.float32]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    with av.open(str(source)) as container:
        pieces = [
            out.to_ndarray().reshape(-1) for frame in container.decode(audio=0) for out in resampler.resample(frame)
        ]
    lap = np.concatenate(pieces)
    return np.tile(lap, int(np.ceil(seconds * 16_000 / len(lap))))[: int(seconds * 16_000)].astype(np.float32)


async def whole(clips: Sequence[Path], models_dir: Path, flights: Sequence[int]) -> list[Row]:
    """All analyzers through Ray: one session, several numbers of videos in flight; the last clip is for warming up."""
    ray_settings = RaySettings() if GpuMonitor.available() else RaySettings(logical_gpus_gb=[LOGICAL_GPU_GB])
    settings = Settings(profile="full", models_dir=models_dir, ray=ray_settings)
    rows: list[Row] = []
    began_s = time.perf_counter()
    async with Session(settings) as session:
        await session.ready()
        rows.append(Row("start: Ray up and all analyzers loaded", time.perf_counter() - began_s, "s"))
        facts = [await session.probe(clip) for clip in clips]
        # Lengths and shapes of the first video compile kernels and fill caches; its figures are not counted.
        first = await session.analyze(facts[-1])
        rows.append(Row("first, cold video: rtf", first.run.rtf, "x"))
        for flight in flights:
            with GpuMonitor() as monitor:
                start_s = time.perf_counter()
                reports = await asyncio.gather(*(session.analyze(one) for one in facts[:flight]))
                wall_s = time.perf_counter() - start_s
            rows += _flight_rows(flight, wall_s, reports, monitor)
        rows += _failures(reports)
    return rows


def _flight_rows(flight: int, wall_s: float, reports: Sequence[VideoReport], monitor: GpuMonitor) -> list[Row]:
    seconds = sum(report.video.duration_s for report in reports)
    what = f"{flight} in flight"
    bar = 0.15 if flight == 1 else 0.10 if flight >= 8 else None
    on_gpu = bool(monitor.figures())
    rows = [Row(f"{what}: rtf (wall / seconds of video)", wall_s / seconds, "x", bar if on_gpu else None)]
    if on_gpu:
        figures = monitor.figures()
        rows.append(
            Row(f"{what}: NVML utilization, mean", figures["gpu_util"], "", 0.7 if flight >= 8 else None, False)
        )
        rows.append(Row(f"{what}: NVML samples", figures["gpu_samples"]))
        rows.append(Row(f"{what}: GPU memory, peak", figures["gpu_mem_peak_gb"], "GB"))
        for process, used_gb in sorted(monitor.process_memory_gb().items(), key=lambda item: -item[1]):
            rows.append(Row(f"{what}: GPU memory of {process}", used_gb, "GB"))
    busy = sorted(((r.timing.busy_s, name) for name, r in reports[0].analyzers.items()), reverse=True)[:6]
    rows += [Row(f"{what}: busy {name}", busy_s, "s") for busy_s, name in busy]
    rows.append(Row(f"{what}: decode, CPU seconds", median([report.run.decode_s for report in reports]), "s"))
    return rows


def _failures(reports: Sequence[VideoReport]) -> list[Row]:
    last = reports[-1]
    for name, result in last.analyzers.items():
        if result.status != "ok":
            print(f"{name}: {result.status}: {result.reason}")
    statuses = last.statuses()
    return [Row("analyzers ok", statuses["ok"]), Row("analyzers failed", statuses["failed"], "", 0)]


def hardware() -> str:
    """What this ran on."""
    cores = f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB"
    return f"{', '.join(GpuMonitor.names()) or 'no GPU'}; {cores}"


def main() -> int:
    """Measure, print and write. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("real", "small"), default="real", help="of the checkpoints")
    parser.add_argument("--videos", default="1,3,8", help="how many in flight, one measurement each")
    parser.add_argument("--part", choices=("engine", "whole", "both"), default="both")
    parser.add_argument("--clip", type=Path, help="the reel; default: the sample reel is drawn")
    parser.add_argument("--seconds", type=float, default=REEL_S, help="length of each video")
    parser.add_argument("--models-dir", type=Path, default=Path(".cache/random-models"))
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    arguments = parser.parse_args()
    flights = [int(number) for number in arguments.videos.split(",")]
    models_dir = arguments.models_dir / arguments.size
    real = arguments.size == "real"
    write_everything(models_dir, arguments.size, more=real)
    if arguments.clip is None:
        from tests.media.reel import sample_reel

        arguments.clip = sample_reel().path
    clips = make_clips(arguments.clip, arguments.models_dir / "clips", max(flights) + 1, arguments.seconds)
    rows: list[Row] = []
    if arguments.part != "whole":
        device = "cuda:0" if GpuMonitor.available() else "cpu"
        for name in ("qwen2_vl_2b_instruct", "qwen2_vl_7b_instruct")[: 2 if real else 1]:
            rows += compare(models_dir / name, clips[0], device)
    if arguments.part != "engine":
        rows += asyncio.run(whole(clips, models_dir, flights))
    title = f"{hardware()}; {arguments.size} checkpoints, random weights; {arguments.seconds:g} s clips"
    show(title, rows)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"title": title, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
