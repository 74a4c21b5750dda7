"""CLIP in composition_analysis and scene_segmentation: official input and answers, batches, sharing, memory, remedies.

Weights are random, so nothing here says that it sees right.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.composition_analysis import CompositionAnalysis, CompositionReport
from analyzers.methods.scene_groups import MEANING_LINK_MAX, Looks, apart, describe, group
from analyzers.models import clip as clip_module
from analyzers.models import faces
from analyzers.models.clip import Clip, ClipOptions, prompts, read_labels, shared_clip, squares
from analyzers.models.hub import locate
from analyzers.models.recall import Recall
from analyzers.models.scene_words import ClipWords
from analyzers.scene_segmentation import SceneSegmentation, ScenesReport, reason
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import load_settings
from pipeline.types import FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.analyzers.frames import FACTS, assert_covers, batches, odd_material
from tests.analyzers.test_scene_segmentation import cuts
from tests.full.checkpoints.clip import write_clip
from tests.media.effect_clips import photo
from tests.media.scenes import Look, seen

Kind = type[CompositionAnalysis] | type[SceneSegmentation]
BOTH = pytest.mark.parametrize("kind", [CompositionAnalysis, SceneSegmentation])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small random CLIP, and the face detector."""
    folder = tmp_path_factory.mktemp("models")
    write_clip(folder / clip_module.MODEL)
    shutil.copytree(load_settings().models_dir / faces.MODEL, folder / faces.MODEL)
    return folder


@pytest.fixture
def network(store: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """The model that both analyzers of this process share; it has answered nothing yet."""
    one = shared_clip(locate(store, clip_module.MODEL, "a test"), "cpu", ClipOptions())
    monkeypatch.setattr(one, "_recall", Recall(f"fresh {id(monkeypatch)}", clip_module.ANSWERS_KEPT))
    return one


def loaded(kind: Kind, store: Path) -> Any:
    analyzer = kind()
    analyzer.load("cpu", Profile("full", store))
    return analyzer


def chunks(count: int = 4) -> list[FrameBatch]:
    """Seconds of two photos, 4 frames each, upright."""
    frames = np.stack(
        [
            seen(photo(("bus.jpg", "zidane.jpg")[n // 4 % 2]), Look(0.4 + 0.02 * n, 0.5, 0.3), 135, 240)
            for n in range(4 * count)
        ]
    )
    return batches(frames, [n / 4 for n in range(4 * count)], float(count), CompositionAnalysis.spec.needs)  # type: ignore[arg-type]


def report_on(analyzer: Any, items: list[FrameBatch], end_s: float) -> Any:
    upstream = Upstream(FACTS, {"cut_analysis": cuts(0.0, end_s / 2, end_s)})
    return analyzer.summarize(analyzer.analyze_many(items), upstream)


def asked(network: Clip, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call computes, from now on."""
    counts: list[int] = []
    look = network._look
    monkeypatch.setattr(network, "_look", lambda pictures: (counts.append(len(pictures)), look(pictures))[1])
    return counts


# --- the network ------------------------------------------------------------------------------------------------------


def test_a_picture_is_prepared_as_the_official_processor_does(network: Clip, store: Path) -> None:
    from transformers import CLIPProcessor

    official = CLIPProcessor.from_pretrained(store / clip_module.MODEL)
    for picture in (photo("bus.jpg"), photo("zidane.jpg")[:333, :333]):
        for square in squares(picture):
            theirs = official(images=square.copy(), return_tensors="np")["pixel_values"]
            np.testing.assert_allclose(network.prepare(square[None].copy()).numpy(), theirs, atol=1e-5)


def test_likelihoods_are_those_of_the_official_model_and_processor(network: Clip, store: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    folder = store / clip_module.MODEL
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    texts = ["a photo of a kitchen.", "a photo of people dancing.", "a bad photo of a beach."]
    pictures = [np.ascontiguousarray(photo(name)[:400, :400]) for name in ("bus.jpg", "zidane.jpg")]
    values = processor(text=texts, images=pictures, return_tensors="pt", padding=True)
    with torch.inference_mode():
        theirs = model(**values).logits_per_image.softmax(dim=1).numpy()
    ours = network.likely(network.look(pictures), network.read(texts))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01  # the pictures differ, so that equality says something


def test_pictures_together_are_as_each_alone_in_any_order_and_any_size(
    network: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [photo("bus.jpg"), photo("zidane.jpg"), photo("bus.jpg")[:200], photo("zidane.jpg")[:300, :300]]
    together = np.stack(network._look(pictures))
    np.testing.assert_allclose(together, np.stack(network._look(pictures[::-1]))[::-1], atol=1e-5)
    monkeypatch.setattr(clip_module, "SQUARES_MAX", 1)
    np.testing.assert_allclose(together, np.stack([network._look([one])[0] for one in pictures]), atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_texts_together_are_as_each_alone(network: Clip) -> None:
    texts = ["a cat", "a very long text about a kitchen with a table and chairs", "snow"]
    np.testing.assert_allclose(network.read(texts), np.concatenate([network.read([one]) for one in texts]), atol=1e-5)


def test_squares_cover_a_picture_from_end_to_end() -> None:
    tall = np.arange(16 * 9, dtype=np.uint8).reshape(16, 9, 1).repeat(3, axis=2)
    above, below = squares(tall)
    assert (above == tall[:9]).all() and (below == tall[7:]).all()
    left, right = squares(np.ascontiguousarray(tall.transpose(1, 0, 2)))
    assert left.shape == right.shape == (9, 9, 3)
    assert len(squares(tall[:9])) == 1
    assert len(squares(np.zeros((8, 256, 3), np.uint8))) == clip_module.COVER_MAX


def test_labels_are_bounded_and_each_group_can_say_nothing(network: Clip) -> None:
    groups, templates = read_labels()
    assert set(groups) == {"place", "doing", "medium", "shot_size"}
    assert sum(len(labels) for labels in groups.values()) <= 128
    assert all(labels[0].name == "" and sum(not label.name for label in labels) == 1 for labels in groups.values())
    assert len(ClipWords(network).names) == sum(len(groups[name]) for name in ("place", "doing", "medium"))
    texts = prompts(network, groups["medium"], templates)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    one = network.read([template.format(groups["medium"][2].prompt) for template in templates]).mean(axis=0)
    np.testing.assert_allclose(texts[2], one / np.linalg.norm(one), atol=1e-5)


# --- the analyzers ----------------------------------------------------------------------------------------------------


@BOTH
def test_chunks_together_give_the_parts_of_each_alone(
    kind: Kind, store: Path, network: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer, items = loaded(kind, store), chunks()
    together = analyzer.analyze_many(items)
    monkeypatch.setattr(network, "_recall", Recall(f"alone {id(monkeypatch)}", clip_module.ANSWERS_KEPT))
    alone = [analyzer.analyze(item) for item in items[::-1]][::-1]
    upstream = Upstream(FACTS, {"cut_analysis": cuts(0.0, 1.0, 2.0, 3.0, 4.0)})
    assert analyzer.summarize(together, upstream) == analyzer.summarize(alone, upstream)
    assert all(len(pickle.dumps(part)) < 100_000 for part in together)


def test_two_analyzers_of_a_process_share_the_model_and_look_at_a_picture_once(
    store: Path, network: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    composition, scenes = loaded(CompositionAnalysis, store), loaded(SceneSegmentation, store)
    assert scenes._clip is network
    counts = asked(network, monkeypatch)
    composition.analyze_many(chunks())
    looked = sum(counts)
    scenes.analyze_many(chunks())
    assert looked > 0
    # Both look at a chunk's first frame; scene_segmentation at another one half a second later.
    assert sum(counts) - looked == 2 * 4 - 4
    scenes.analyze_many(chunks())
    assert sum(counts) == looked + 4


@BOTH
def test_random_weights_are_said_and_any_material_is_covered(kind: Kind, store: Path, network: Clip) -> None:
    analyzer = loaded(kind, store)
    assert analyzer.model.random_weights
    assert "random weights" in (analyzer.model.note or "") and "unverified" in (analyzer.model.note or "")
    for frames, pts_s, end_s in odd_material().values():
        if end_s > 0.5:
            items = batches(frames, pts_s, end_s, kind.spec.needs)  # type: ignore[arg-type]
            report = report_on(analyzer, items, end_s)
            assert isinstance(report, CompositionReport | ScenesReport)
            assert_covers(report, end_s)
            assert type(report).model_validate(report.model_dump()) == report


def test_labels_and_shot_sizes_come_from_the_list(store: Path, network: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    composition = loaded(CompositionAnalysis, store)
    words, names = composition._words, composition._names
    kitchen, close = names.index("kitchen"), [size or "" for size in words._sizes].index("close_up")
    vectors = np.eye(64, dtype=np.float32)
    monkeypatch.setattr(composition, "_faces", lambda frame: [])
    monkeypatch.setattr(network, "look", lambda pictures: np.repeat(vectors[:1], len(pictures), axis=0))
    monkeypatch.setattr(words, "_texts", {"all": np.stack([vectors[0] * (n == kitchen) for n in range(len(names))])})
    monkeypatch.setattr(words, "_size_texts", np.stack([vectors[0] * (n == close) for n in range(len(words._sizes))]))
    monkeypatch.setattr(network, "_scale", 100.0)
    summary = report_on(composition, chunks(), 4.0).summary
    assert [label.name for label in summary.labels] == ["kitchen"]
    assert summary.shot_size == "close_up"


def test_scenes_are_told_by_what_pictures_mean_and_reasons_by_what_they_look_like() -> None:
    def shot(angle: float) -> Looks:
        meaning = np.array([[np.cos(angle), np.sin(angle)]], np.float32)
        return describe([photo("bus.jpg")])._replace(meaning=meaning)

    near, far = float(np.arccos(1 - MEANING_LINK_MAX + 0.01)), float(np.arccos(1 - MEANING_LINK_MAX - 0.01))
    assert apart(shot(0), shot(near)) == pytest.approx(MEANING_LINK_MAX - 0.01, abs=1e-5)
    starts, ends = [0.0, 1.0], [1.0, 2.0]
    assert group([shot(0), shot(near)], starts, ends) == [(0, 1)]
    assert group([shot(0), shot(far)], starts, ends) == [(0, 0), (1, 1)]
    assert reason(shot(0), shot(far)) == "What is shown changes."


@BOTH
def test_out_of_memory_halves_the_batch_down_to_what_fits(
    kind: Kind, store: Path, network: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    worker = AnalyzerWorker(kind, ClipOptions(), "cpu", Profile("full", store))
    assert worker.load().ok
    look, sizes = network.look, []

    def scarce(pictures: Any) -> Any:
        sizes.append(len(pictures))
        if len(pictures) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return look(pictures)

    monkeypatch.setattr(network, "look", scarce)
    outcomes = worker.analyze(chunks())
    assert all(outcome.ok for outcome in outcomes)
    assert sizes[0] > 3 >= sizes[-1]


@BOTH
def test_missing_and_wrong_files_name_the_remedy(kind: Kind, store: Path, tmp_path: Path) -> None:
    shutil.copytree(store / faces.MODEL, tmp_path / faces.MODEL)
    with pytest.raises(ModelUnavailable, match=f"models fetch .*{clip_module.MODEL}"):
        loaded(kind, tmp_path)
    folder = tmp_path / clip_module.MODEL
    shutil.copytree(store / clip_module.MODEL, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        loaded(kind, tmp_path)
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        loaded(kind, tmp_path)
    shutil.copy(store / clip_module.MODEL / "model.safetensors", weights)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        loaded(kind, tmp_path)


def test_the_plan_counts_a_gpu_in_the_full_profile_only() -> None:
    for kind in (CompositionAnalysis, SceneSegmentation):
        assert kind.spec_for("embedded", ClipOptions()).gpu_gb == 0
        spec = kind.spec_for("full", ClipOptions())
        assert 0.5 < spec.gpu_gb < 2 and spec.batch > 1
        assert (spec.name, spec.version) == (kind.spec.name, kind.spec.version)
