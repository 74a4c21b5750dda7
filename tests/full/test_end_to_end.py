"""The full profile from the command line to the document: small checkpoints, Ray, GPUs that are only counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.registry import discover, options_of
from pipeline.results import VideoReport
from pipeline.settings import Settings
from tests.full.checkpoints.everything import WRITERS, write_everything
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone

# AST's own feature settings, said by the library that reads them.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[ray]
logical_gpus_gb = [80.0, 80.0]
together_on_gpu = [
    ["qwen2_vl_temporal", "video_llava", "blip2", "composition_analysis", "scene_segmentation", "speech_transcription",
     "speech_emotion", "audio_environment", "sound_effects"],
    ["object_detection", "body_pose", "background_segmentation", "product_detection", "age_estimation", "cut_analysis",
     "text_overlay"],
]
together = [
    ["eye_tracking", "camera_analysis", "visual_effects", "color_analysis", "content_quality", "audio_analysis",
     "speech_flow", "speech_rate", "temporal_flow", "cross_analyzer_intelligence", "age_estimation"],
]
"""
"""A process imports torch and transformers for as long as a small model needs for a minute of video."""
WITHOUT_A_MODEL_OF_ITS_OWN = {
    "audio_analysis", "camera_analysis", "color_analysis", "content_quality", "cut_analysis", "eye_tracking",
    "speech_flow", "speech_rate", "temporal_flow", "text_overlay", "visual_effects", "cross_analyzer_intelligence",
}  # fmt: skip
"""Those whose answer is the embedded profile's, or comes from real weights out of packages."""


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_everything(tmp_path_factory.mktemp("models"), "small")


def analyze(models_dir: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    clip = write_clip(folder / "clip.mp4", moving_pattern(284, 160, 75), fps=25, sound=tone(440.0, 3.0))
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    command = [sys.executable, "-m", "reelscope", "analyze", str(clip), "--profile", "full", "--out", str(folder)]
    command += ["--models-dir", str(models_dir), "--config", str(folder / "config.toml"), *more]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=580)


@pytest.mark.timeout(600)
def test_a_folder_of_small_checkpoints_is_analyzed_through_ray(models_dir: Path, tmp_path: Path) -> None:
    done = analyze(models_dir, tmp_path, "--format", "html")
    assert done.returncode == 0, done.stderr + done.stdout
    report = VideoReport.model_validate_json((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report.profile == "full"
    assert report.run.decode_passes == 1
    outcome = {name: result.reason for name, result in report.analyzers.items() if result.status != "ok"}
    # The clip has no speech, no face and no cut.
    assert set(outcome) <= {"age_estimation", "speech_rate", "speech_flow", "speech_emotion"}, outcome
    random = {name for name, result in report.analyzers.items() if result.is_random}
    assert random >= {"qwen2_vl_temporal", "video_llava", "blip2", "object_detection", "body_pose"}
    assert not random & (WITHOUT_A_MODEL_OF_ITS_OWN - {"cross_analyzer_intelligence"} - _built_on(random))
    described = report.analyzers["qwen2_vl_temporal"].report
    assert described is not None
    assert [(s["start"], s["end"]) for s in described["segments"]] == [
        (0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.5, 2.5), (2.0, 3.0),
    ]  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "random weights: no answer" in page
    assert "random weights, no answer" in done.stdout
    evidence = _evidence(report)
    assert not evidence & random, "random weights are no evidence"


def _built_on(random: set[str]) -> set[str]:
    """Those that cannot do without one of them."""
    classes = discover()
    return {name for name, cls in classes.items() if set(cls.spec.after) & random}


def _evidence(report: VideoReport) -> set[str]:
    lines: dict[str, Any] = report.analyzers["cross_analyzer_intelligence"].report or {}
    return {name for segment in lines["segments"] for name in segment["evidence"]}


def test_the_store_of_small_checkpoints_holds_what_the_default_settings_ask_for() -> None:
    settings = Settings(profile="full")
    asked = {getattr(options_of(cls, settings), "model", None) for cls in discover().values()} - {None}
    assert asked == set(WRITERS)


def test_missing_models_fail_alone_and_say_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "store"
    empty.mkdir()
    done = analyze(empty, tmp_path, "--analyzers", "object_detection,color_analysis", "--json")
    assert done.returncode == 3, done.stderr
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["analyzers"]["color_analysis"]["status"] == "ok"
    assert "reelscope models fetch yolo11m" in document["analyzers"]["object_detection"]["reason"]
