"""SegFormer in the full profile: shares of the library's own maps, in batches, and what areas say about the setting."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.background_segmentation import BackgroundOptions, BackgroundSegmentation
from analyzers.methods.ade20k import INDOOR_AREAS, OUTDOOR_AREAS, evidence_of_classes
from analyzers.methods.surroundings import decide
from analyzers.models import segformer
from analyzers.models.hub import LocalModel
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.types import SCAN, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.segformer import CLASSES, write_segformer

FACTS = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=2.0)
NAME = "segformer_b2_ade"


def pictures(count: int, height: int = 320, width: int = 180, seed: int = 5) -> npt.NDArray[np.uint8]:
    """Patches of colour, [N, H, W, 3]."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse])


def chunk(frames: npt.NDArray[np.uint8], video: str = "v") -> FrameBatch:
    pts_s = np.arange(len(frames)) * 0.25
    return FrameBatch(video, SCAN, 0, frames, pts_s, last=True, end_s=float(pts_s[-1] + 0.25))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segformer")
    write_segformer(folder / NAME)
    return folder


@pytest.fixture(scope="module")
def network(store: Path) -> segformer.SegFormer:
    local = LocalModel(store / NAME, NAME, "local", "unknown", random_weights=True)
    return segformer.SegFormer(local, "cpu", BackgroundOptions())


@pytest.fixture(scope="module")
def analyzer(store: Path) -> BackgroundSegmentation:
    loaded = BackgroundSegmentation(BackgroundOptions())
    loaded.load("cpu", Profile("full", store))
    return loaded


def summarized(analyzer: BackgroundSegmentation, *items: FrameBatch) -> Any:
    return analyzer.summarize(analyzer.analyze_many(items), Upstream(FACTS))


def test_shares_are_those_of_the_librarys_own_maps(store: Path, network: segformer.SegFormer) -> None:
    import torch
    from PIL import Image
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    processor = SegformerImageProcessor.from_pretrained(store / NAME)
    theirs = SegformerForSemanticSegmentation.from_pretrained(store / NAME).eval()
    frames = pictures(3)
    for frame, shares in zip(frames, network(list(frames)), strict=True):
        with torch.inference_mode():
            outputs = theirs(**processor(images=Image.fromarray(frame), return_tensors="pt"))
        (classes,) = processor.post_process_semantic_segmentation(outputs)
        expected = np.bincount(classes.numpy().ravel(), minlength=len(CLASSES)) / classes.numel()
        assert shares == pytest.approx(expected, abs=2 / classes.numel())
        assert (expected > 0).sum() > 2
        (large,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[frame.shape[:2]])
        enlarged = np.bincount(large.numpy().ravel(), minlength=len(CLASSES)) / large.numel()
        assert np.abs(shares - enlarged).max() < 0.05


def test_pictures_of_all_sizes_in_one_batch_are_told_as_each_alone(network: segformer.SegFormer) -> None:
    frames = [*pictures(2), *pictures(2, 180, 320), *pictures(1, 200, 200)]
    mixed = [frames[k] for k in (2, 0, 4, 1, 3)]
    for picture, shares in zip(mixed, network(mixed), strict=True):
        assert shares == pytest.approx(network([picture])[0], abs=0.003)
        assert shares.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_call_is_bounded(network: segformer.SegFormer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    ask = segformer.SegFormer._ask
    monkeypatch.setattr(network, "_batch_size", 2)
    monkeypatch.setattr(
        segformer.SegFormer, "_ask", lambda self, given: [sizes.append(len(given)), ask(self, given)][1]
    )
    assert len(network(list(pictures(5)))) == 5
    assert sizes == [2, 2, 1]


def test_chunks_of_several_videos_at_once_give_the_reports_of_each_alone(analyzer: BackgroundSegmentation) -> None:
    items = [
        chunk(pictures(3), "a"),
        chunk(pictures(2, 180, 320), "b"),
        chunk(np.zeros((1, 320, 180, 3), np.uint8), "c"),
    ]
    parts = analyzer.analyze_many(items)
    for item, part in zip(items, parts, strict=True):
        alone = analyzer.analyze(item)
        for one, other in zip(part.looks, alone.looks, strict=True):
            ours, theirs = dict(one.shares), dict(other.shares)
            assert all(abs(ours.get(name, 0) - theirs.get(name, 0)) < 0.01 for name in ours | theirs)
        assert len(pickle.dumps(part)) < 1_000_000
    assert dict(parts[2].looks[0].shares) == {"background": 1.0}


def test_the_report_has_the_fields_of_the_embedded_profile_and_says_that_weights_are_random(
    analyzer: BackgroundSegmentation,
) -> None:
    report = summarized(analyzer, chunk(np.repeat(pictures(2), 3, axis=0)))
    assert report.segments[0].start == 0
    assert report.segments[-1].end == pytest.approx(1.5)
    for segment in report.segments:
        assert sum(segment.classes.values()) == pytest.approx(1.0, abs=1e-3)
        assert segment.person_share == segment.classes.get("person", 0.0)
        assert set(segment.classes) <= {name.strip() for name in CLASSES} | {"background"}
    assert len(report.summary.classes) > 2
    assert report.summary.setting in ("indoor", "outdoor", "graphic", "unknown")
    assert analyzer.model.random_weights
    assert "random weights" in str(analyzer.model.note)


def test_the_setting_follows_from_areas() -> None:
    names = {name.strip() for name in CLASSES}
    assert names >= OUTDOOR_AREAS | INDOOR_AREAS
    assert not OUTDOOR_AREAS & INDOOR_AREAS
    assert decide(evidence_of_classes({"sky": 0.3, "road": 0.2, "person": 0.4}))[0] == "outdoor"
    assert decide(evidence_of_classes({"wall": 0.5, "floor": 0.2, "bed": 0.2}))[0] == "indoor"
    assert decide(evidence_of_classes({"wall": 0.6, "person": 0.4}))[0] == "unknown"
    assert decide(evidence_of_classes({"sky": 0.4, "floor": 0.4}))[0] == "unknown"
    assert evidence_of_classes({"tree": 0.1, "sky": 0.04}) == []


def test_out_of_memory_halves_the_batch(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    worker = AnalyzerWorker(BackgroundSegmentation, BackgroundOptions(), "cpu", Profile("full", store))
    assert worker.load().ok
    sizes: list[int] = []
    logits = segformer.SegFormer._logits

    def scarce(self: segformer.SegFormer, given: Any) -> Any:
        sizes.append(len(given))
        if len(given) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(self, given)

    monkeypatch.setattr(segformer.SegFormer, "_logits", scarce)
    assert all(outcome.ok for outcome in worker.analyze([chunk(pictures(1), str(k)) for k in range(4)]))
    assert sizes == [4, 2, 2]


def test_missing_damaged_and_other_files_name_the_remedy(store: Path, tmp_path: Path) -> None:
    def load(models_dir: Path, model: str = NAME) -> None:
        BackgroundSegmentation(BackgroundOptions(model=model)).load("cpu", Profile("full", models_dir))

    with pytest.raises(ModelUnavailable, match="reelscope models fetch segformer_b2_ade"):
        load(tmp_path)
    write_segformer(tmp_path / "cats", classes=("cat", "dog"))
    with pytest.raises(ModelUnavailable, match="not trained on ADE20K"):
        load(tmp_path, str(tmp_path / "cats"))
    cut = tmp_path / NAME
    cut.mkdir()
    for file in (store / NAME).iterdir():
        (cut / file.name).write_bytes(file.read_bytes())
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        load(tmp_path)
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        load(tmp_path)


def test_a_gpu_share_is_asked_for_in_the_full_profile_only() -> None:
    full = BackgroundSegmentation.spec_for("full", BackgroundOptions())
    assert 1 < full.gpu_gb < 8
    assert full.batch > 1
    assert BackgroundSegmentation.spec_for("embedded", BackgroundOptions()) == BackgroundSegmentation.spec
