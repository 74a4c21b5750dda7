"""All analyzers together, on Ray, over the sample reel and a dozen other clips: which are ok, which skipped and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.results import VideoReport
from pipeline.settings import EngineSettings, Settings
from serve_app.session import Session
from tests.media import audio_clips
from tests.media.clips import camera_clip, cut_clip, no_cut_clip
from tests.media.encode import write_clip
from tests.media.packages import package_file
from tests.media.patterns import flat, moving_pattern, tone
from tests.media.reel import sample_reel
from tests.media.scenes import noise_frame
from tests.support import content

pytestmark = pytest.mark.timeout(900)  # the first test makes thirteen reports

MIB = 1024 * 1024
NO_WEIGHTS = {"blip2", "qwen2_vl_temporal", "video_llava"}
NEED_SOUND = {
    "audio_analysis",
    "audio_environment",
    "sound_effects",
    "speech_emotion",
    "speech_flow",
    "speech_rate",
    "speech_transcription",
}
NEED_PICTURE = {
    "age_estimation",
    "background_segmentation",
    "body_pose",
    "camera_analysis",
    "color_analysis",
    "composition_analysis",
    "content_quality",
    "cut_analysis",
    "eye_tracking",
    "object_detection",
    "scene_segmentation",
    "text_overlay",
    "visual_effects",
}


def _jfk(seconds: float) -> Any:
    return audio_clips.speech()[: int(seconds * audio_clips.RATE_HZ)]


def _clips(folder: Path) -> dict[str, Path]:
    rng = np.random.default_rng(5)
    uneven = np.cumsum(rng.uniform(0.02, 0.06, 75))
    return {
        "reel": sample_reel().path,
        "street": package_file("bikes.mp4"),
        "animation": package_file("bigbuckbunny.mp4"),
        "face": package_file("carphone_pristine.mp4"),
        "cuts": cut_clip(3).path,
        "uncut": no_cut_clip(2).path,
        "moves": camera_clip(4, upright=True).path,
        "spoken": write_clip(folder / "spoken.mp4", moving_pattern(640, 360, 120), sound=_jfk(4), sound_rate=16_000),
        "music": write_clip(
            folder / "music.avi", moving_pattern(360, 200, 90), codec="mjpeg", pix_fmt="yuvj420p", sound=tone(440, 3.0)
        ),
        "variable": write_clip(folder / "vfr.mkv", moving_pattern(240, 320, 75), pts_s=uneven - uneven[0]),
        "black": write_clip(folder / "black.mp4", flat(360, 202, 60, 0), sound=np.zeros(96_000, np.float32)),
        "noise": write_clip(
            folder / "noise.mkv",
            (noise_frame(seed, 200, 360) for seed in range(45)),
            sound=rng.normal(0, 0.1, 72_000).astype(np.float32),
        ),
        "sound": package_file("jfk.wav"),
        "short": write_clip(folder / "short.mp4", moving_pattern(568, 320, 45), sound=_jfk(1.5), sound_rate=16_000),
    }


@pytest.fixture(scope="module")
def reports(ray_machine: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoReport]:
    """What all analyzers say about each clip, over Ray; and about `short` once more over threads."""
    clips = _clips(tmp_path_factory.mktemp("every"))
    # The tests' Ray has a smaller store than the one that the settings start.
    settings = Settings(engine=EngineSettings(video_bytes_in_flight=150 * MIB, bytes_in_flight=250 * MIB))

    async def run() -> dict[str, VideoReport]:
        async with Session(settings) as session:
            await session.ready()
            made = {name: await session.analyze(path) for name, path in clips.items()}
        async with Session(settings, local=True) as session:
            await session.ready()
            made["short, threads"] = await session.analyze(clips["short"])
        return made

    return asyncio.run(run())


@pytest.mark.parametrize("clip", ["reel", "animation", "spoken", "music", "black", "noise", "short"])
def test_with_picture_and_sound_all_but_three_answer(clip: str, reports: dict[str, VideoReport]) -> None:
    _expect(reports[clip], NO_WEIGHTS)
    for name in NO_WEIGHTS:
        assert reports[clip].analyzers[name].reason == "no weights in this profile"


@pytest.mark.parametrize("clip", ["street", "face", "cuts", "uncut", "moves", "variable"])
def test_without_sound_its_analyzers_say_so(clip: str, reports: dict[str, VideoReport]) -> None:
    _expect(reports[clip], NO_WEIGHTS | NEED_SOUND)
    for name in NEED_SOUND:
        assert "the source has no sound" in str(reports[clip].analyzers[name].reason)


def test_without_picture_its_analyzers_say_so(reports: dict[str, VideoReport]) -> None:
    _expect(reports["sound"], NO_WEIGHTS | NEED_PICTURE)
    for name in NEED_PICTURE | NO_WEIGHTS:
        assert "the source has no picture" in str(reports["sound"].analyzers[name].reason)


def test_threads_and_ray_give_the_same_report(reports: dict[str, VideoReport]) -> None:
    assert content(reports["short"]) == content(reports["short, threads"])


def _expect(report: VideoReport, skipped: set[str]) -> None:
    assert len(report.analyzers) >= 26
    failed = {name: str(result.error) for name, result in report.analyzers.items() if result.status == "failed"}
    assert not failed
    assert {name for name, result in report.analyzers.items() if result.status == "skipped"} == skipped
