"""The Ray path: the same report as over threads, no copies, nothing spilled, logical GPUs, several videos."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from actors.pool import RayPool
from benchmarks.measure import spilled
from pipeline import stream as stream_module
from pipeline.blocks import from_table, to_table
from pipeline.errors import DecoderCrashed, MediaError, MediaMissing, MediaUnreadable
from pipeline.media import DecodeStats, decode, decode_groups
from pipeline.settings import Limits, Settings
from pipeline.source import ChunkGroup
from pipeline.stream import AHEAD_BYTES, RayFrameSource
from pipeline.types import MOTION, READ, SCAN, THUMB, FrameBatch
from tests import toys
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern
from tests.support import content, run, run_on, running

ROOT = Path(__file__).resolve().parents[2]
BOOKKEEPING_BYTES = 200_000  # Ray Data's own small objects; the clip's chunks are 8 MB
CLASSES = (toys.Brightness, toys.Frames, toys.Sound, toys.Needs, toys.Uses)


def test_blocks_keep_everything_and_are_read_only(clip: Path) -> None:
    for group in decode_groups(clip, video_id="v", views=(MOTION, THUMB), audio=True):
        if isinstance(group, DecodeStats):
            continue
        table = to_table(group)
        for position, item in enumerate(group):
            back = from_table(table, position)
            assert repr(back) == repr(item)
            array = back.frames if isinstance(back, FrameBatch) else back.samples
            assert not array.flags.writeable
            assert (array == (item.frames if isinstance(item, FrameBatch) else item.samples)).all()


async def test_the_report_is_the_same_as_over_threads(clip: Path, ray_machine: Any) -> None:
    over_ray, _ = await run(clip, *CLASSES, machine=ray_machine)
    over_threads, _ = await run(clip, *CLASSES)
    assert content(over_ray) == content(over_threads)
    assert over_ray.run.decode_passes == 1


async def test_analyzers_that_share_a_process_give_the_same_report_and_die_together_without_loss(
    clip: Path, ray_machine: Any, tmp_path: Path
) -> None:
    settings = Settings(
        ray={"together": [["brightness", "frames", "needs"]]},  # type: ignore[arg-type]
        analyzers={"brightness": {"folder": str(tmp_path)}},
    )
    report, _ = await run(clip, toys.DiesOnce, toys.Frames, toys.Needs, machine=ray_machine, settings=settings)
    assert (tmp_path / "died").exists()
    apart, _ = await run(clip, toys.Brightness, toys.Frames, toys.Needs)
    assert content(report) == content(apart)


async def test_several_videos_at_once(clip: Path, ray_machine: Any) -> None:
    async with running(*CLASSES, machine=ray_machine) as (engine, source, _):
        reports = await asyncio.gather(*(run_on(engine, source, clip) for _ in range(3)))
    assert len({str(content(report)) for report, _ in reports}) == 1


async def test_chunks_arrive_by_reference_in_order(clip: Path, ray_machine: Any) -> None:
    source = RayFrameSource(decode_cpus=0.5)
    items = [item async for item in source.stream(str(clip), video_id="v", views=(THUMB, SCAN), audio=True)]
    chunks = [chunk for group in items if isinstance(group, ChunkGroup) for chunk in group.chunks]
    assert all(isinstance(chunk.item.block, ray.ObjectRef) for chunk in chunks)
    here = list(decode(clip, video_id="v", views=(THUMB, SCAN), audio=True))[:-1]
    assert [repr(from_table(ray.get(chunk.item.block), chunk.item.position)) for chunk in chunks] == [
        repr(item) for item in here
    ]


async def test_the_store_is_empty_after_a_run_and_nothing_was_spilled(clip: Path, ray_machine: Any) -> None:
    async with running(*CLASSES, machine=ray_machine) as (engine, source, _):
        before = _store_bytes()
        await run_on(engine, source, clip)
        await _freed(before)
    assert not spilled()


async def test_an_unread_stream_is_held_back_and_freed_when_it_is_closed(tmp_path: Path, ray_machine: Any) -> None:
    path = write_clip(tmp_path / "long.mp4", moving_pattern(720, 720, 900))
    whole_bytes = 30 * 4 * (480**2 + 720**2) * 3
    source, before = RayFrameSource(decode_cpus=0.5), _store_bytes()
    stream = source.stream(str(path), video_id="v", views=(SCAN, READ), audio=False)
    await anext(stream)
    await asyncio.sleep(4)
    assert 0 < _store_bytes() - before < min(whole_bytes, AHEAD_BYTES * 3)
    await stream.aclose()
    await _freed(before)


async def test_probe_errors_keep_their_type(tmp_path: Path, ray_machine: Any) -> None:
    source = RayFrameSource()
    with pytest.raises(MediaMissing, match="there is no file"):
        await source.probe(str(tmp_path / "none.mp4"))
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 100)
    with pytest.raises(MediaUnreadable, match="cannot be opened"):
        await source.probe(str(text))


async def test_a_limit_found_while_decoding_ends_the_stream_with_its_message(clip: Path, ray_machine: Any) -> None:
    source = RayFrameSource(Limits(decoded_pixels_max=320 * 568 * 10), decode_cpus=0.5)
    with pytest.raises(MediaError, match=r"limits\.decoded_pixels_max"):
        await _read_all(source, clip)


async def test_closing_a_stream_early_frees_the_decoder(clip: Path, ray_machine: Any) -> None:
    source = RayFrameSource(decode_cpus=0.5)
    for _ in range(4):  # a decoder that was not freed would hold its CPU share, and the third would wait for it
        stream = source.stream(str(clip), video_id="v", views=(SCAN,), audio=False)
        assert isinstance(await asyncio.wait_for(anext(stream), 30), ChunkGroup)
        await stream.aclose()


async def test_a_decoder_that_is_told_to_stop_lives_on_for_the_next_video(tmp_path: Path, ray_machine: Any) -> None:
    path = write_clip(tmp_path / "long.mp4", moving_pattern(720, 720, 600))
    source, before = RayFrameSource(decode_cpus=0.5), _store_bytes()
    await source.warm()
    workers = _ray_workers()
    for _ in range(3):
        stream = source.stream(str(path), video_id="v", views=(SCAN, READ), audio=False)
        await asyncio.wait_for(anext(stream), 30)
        await stream.aclose()
        await _ended()
        await _freed(before)
    assert workers <= _ray_workers(), "none was killed"


async def test_a_decoder_that_does_not_listen_is_ended(
    clip: Path, ray_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_decode_stage", _sleeps_after_one)
    monkeypatch.setattr(stream_module, "STOP_S", 0.5)
    source = RayFrameSource(Limits(decode_stall_s_max=0.5), decode_cpus=0.5)
    with pytest.raises(DecoderCrashed, match=r"no chunk for 0\.5 s"):
        await _read_all(source, clip)
    await _ended()


async def _freed(before: float) -> None:
    """Wait until the store holds what it did before; Ray's reports of it come late."""
    deadline = time.monotonic() + 20
    while _store_bytes() > before + BOOKKEEPING_BYTES:
        assert time.monotonic() < deadline, f"{_store_bytes() - before:.0f} bytes are still held"
        await asyncio.sleep(0.1)


async def _ended() -> None:
    """Wait until no stream's thread is left."""
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("decode-stream") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a stream's thread did not end"
        await asyncio.sleep(0.05)


def _sleeps_after_one(batch: Any) -> Any:
    yield stream_module.row({"started": True})
    time.sleep(600)
    yield batch


def _ray_workers() -> set[int]:
    found = psutil.process_iter(["name", "cmdline"])
    return {process.pid for process in found if "ray::" in " ".join(process.info["cmdline"] or ())}


async def test_a_killed_actor_is_restarted_and_its_chunks_are_sent_again(
    clip: Path, ray_machine: Any, tmp_path: Path
) -> None:
    settings = Settings(analyzers={"brightness": {"folder": str(tmp_path)}})
    report, _ = await run(clip, toys.DiesOnce, toys.Needs, machine=ray_machine, settings=settings)
    assert (tmp_path / "died").exists()
    whole, _ = await run(clip, toys.Brightness, toys.Needs, machine=ray_machine)
    assert content(report) == content(whole)


async def test_a_chunk_that_always_kills_its_worker_fails_that_analyzer_alone(clip: Path, ray_machine: Any) -> None:
    report, _ = await run(clip, toys.DiesAlways, toys.Sound, machine=ray_machine)
    error = report.analyzers["brightness"].error
    assert error is not None
    assert (error.type, "given up after 3 tries" in error.message) == ("WorkerDied", True)
    assert report.analyzers["sound"].status == "ok"


async def test_a_hanging_actor_is_ended_at_its_limit(clip: Path, ray_machine: Any) -> None:
    report, _ = await run(clip, toys.Hangs, toys.Sound, machine=ray_machine)
    error = report.analyzers["brightness"].error
    assert error is not None
    assert error.type == "WorkerTimeout"


async def test_a_file_that_kills_the_decoder_is_an_error_within_a_bound(
    clip: Path, ray_machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_decode_stage", _die)
    source = RayFrameSource(decode_cpus=0.5)
    with pytest.raises(DecoderCrashed):
        await _read_all(source, clip)


async def _read_all(source: RayFrameSource, path: Path) -> None:
    async for _ in source.stream(str(path), video_id="v", views=(SCAN,), audio=False):
        continue


def _die(batch: Any) -> Any:
    os._exit(1)
    yield batch


async def test_actors_are_named(ray_machine: Any) -> None:
    pool = RayPool(Settings(), ray_machine)
    await pool.start({"brightness": toys.Brightness})
    try:
        assert (await pool.loaded("brightness")).ok
        names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
        assert any(name.startswith("brightness:0:") for name in names)
    finally:
        await pool.close()


def test_two_actors_share_a_logical_gpu_by_fraction() -> None:
    """In an interpreter of its own, since its Ray is told of a GPU that is not there."""
    code = """
import asyncio, ray
from actors.pool import RayPool
from cluster.plan import Machine
from pipeline.settings import Settings
from tests import toys

ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)

async def main():
    pool = RayPool(Settings(), Machine(cpus=2, gpus_gb=(24.0,)))
    await pool.start({"big": toys.OnGpu, "small": toys.OnGpuToo})
    outcomes = await pool.ready()
    assert [outcome.value.device for outcome in outcomes.values()] == ["cuda:0", "cuda:0"], outcomes
    left = ray.available_resources().get("GPU", 0)
    assert left == 0, "the plan's GPUs are reserved whole"
    await pool.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def _store_bytes() -> float:
    return sum(node["used"] for node in _memory())


def _memory() -> list[dict[str, float]]:
    total = ray.cluster_resources().get("object_store_memory", 0.0)
    free = ray.available_resources().get("object_store_memory", 0.0)
    return [{"used": total - free}]
