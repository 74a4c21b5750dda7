"""Open-vocabulary detection in the full profile: the library's answers, names read once, evidence beside others'."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from analyzers.methods.goods import QUERIES, group_of
from analyzers.models import open_vocabulary
from analyzers.models.hub import LocalModel
from analyzers.models.ssd import LABELS
from analyzers.models.tracking import Detection
from analyzers.product_detection import GOODS, ProductDetection, ProductOptions, ProductPart
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable, NotApplicable
from pipeline.results import Upstream, VideoFacts
from pipeline.types import NATIVE, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.open_vocabulary import NAMES, write_grounding_dino, write_owlv2

FACTS = VideoFacts(source="made", sha256="0" * 64, bytes=0, duration_s=2.0)
ROUNDING = 2e-4
KINDS = {"owlv2_base": write_owlv2, "grounding_dino_tiny": write_grounding_dino}


def pictures(count: int, height: int = 160, width: int = 90, seed: int = 5) -> npt.NDArray[np.uint8]:
    """Patches of colour, [N, H, W, 3]."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (count, 10, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in coarse])


def chunk(frames: npt.NDArray[np.uint8], video: str = "v") -> FrameBatch:
    pts_s = np.arange(len(frames), dtype=np.float64)
    return FrameBatch(video, NATIVE, 0, frames, pts_s, last=True, end_s=float(pts_s[-1] + 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_vocabulary")
    for name, write in KINDS.items():
        write(folder / name)
    return folder


def opened(store: Path, name: str, names: Sequence[str] = NAMES) -> open_vocabulary.OpenVocabulary:
    local = LocalModel(store / name, name, "local", "unknown", random_weights=True)
    return open_vocabulary.open_detector(local, "cpu", ProductOptions(), names)


@pytest.fixture(scope="module", params=list(KINDS))
def detector(store: Path, request: pytest.FixtureRequest) -> open_vocabulary.OpenVocabulary:
    return opened(store, request.param)


def same(one: open_vocabulary.Found, other: open_vocabulary.Found) -> None:
    assert len(one.scores) == len(other.scores) > 0
    assert one.scores == pytest.approx(other.scores, abs=ROUNDING)
    assert one.boxes == pytest.approx(other.boxes, abs=ROUNDING)
    assert (one.labels == other.labels).mean() > 0.9  # names of nearly equal score may change places


# --- the library's answers --------------------------------------------------------------------------------------------


def test_owlv2_answers_as_the_library_with_text_and_picture_together(store: Path) -> None:
    import torch
    from PIL import Image
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    processor = Owlv2Processor.from_pretrained(store / "owlv2_base")
    network = Owlv2ForObjectDetection.from_pretrained(store / "owlv2_base").eval()
    prompts = [[open_vocabulary.PROMPT.format(name) for name in NAMES]]
    for frame in (pictures(1)[0], pictures(1, 96, 170)[0]):
        height, width = frame.shape[:2]
        given = processor(text=prompts, images=Image.fromarray(frame), truncation=True, return_tensors="pt")
        with torch.inference_mode():
            outputs = network(**given)
        (theirs,) = processor.post_process_grounded_object_detection(
            outputs, threshold=0.3, target_sizes=torch.tensor([(height, width)])
        )
        (ours,) = opened(store, "owlv2_base")([frame], 0.3)
        order = theirs["scores"].argsort(descending=True, stable=True)
        boxes = theirs["boxes"][order].numpy() / [width, height, width, height]
        assert ours.scores == pytest.approx(theirs["scores"][order].numpy(), abs=ROUNDING)
        assert ours.boxes == pytest.approx(np.clip(boxes, 0, 1), abs=ROUNDING)
        assert ours.labels.tolist() == theirs["labels"][order].tolist()
        assert len(set(ours.labels.tolist())) > 2


@pytest.mark.filterwarnings("ignore:The key `labels` is will return:FutureWarning")
def test_grounding_dino_answers_as_the_library_without_words_kept(store: Path) -> None:
    import torch
    from PIL import Image
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    processor = GroundingDinoProcessor.from_pretrained(store / "grounding_dino_tiny")
    network = GroundingDinoForObjectDetection.from_pretrained(
        store / "grounding_dino_tiny", attn_implementation="eager"
    ).eval()
    frame = pictures(1)[0]
    given = processor(text=[list(NAMES)], images=Image.fromarray(frame), return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**given)
    (ours,) = opened(store, "grounding_dino_tiny")([frame], 0.0)
    named = outputs.logits[0].sigmoid().numpy()
    stops = np.isin(given["input_ids"][0].numpy(), [101, 102, 1012])
    named[:, : len(stops)][:, stops] = 0  # the library counts the separators too
    scores = named.max(axis=1)
    order = np.argsort(-scores, kind="stable")
    assert ours.scores == pytest.approx(scores[order], abs=ROUNDING)
    middle = outputs.pred_boxes[0].numpy()[order]
    corners = np.concatenate([middle[:, :2] - middle[:, 2:] / 2, middle[:, :2] + middle[:, 2:] / 2], axis=1)
    assert ours.boxes == pytest.approx(np.clip(corners, 0, 1), abs=ROUNDING)
    words = processor.tokenizer.convert_ids_to_tokens(given["input_ids"][0, named[order[0]].argmax()].item())
    assert words in NAMES[ours.labels[0]].split()


def test_pictures_of_all_sizes_in_one_batch_are_told_as_each_alone(detector: open_vocabulary.OpenVocabulary) -> None:
    frames = [*pictures(2), *pictures(2, 90, 160), *pictures(1, 120, 120)]
    mixed = [frames[k] for k in (2, 0, 4, 1, 3)]
    for picture, found in zip(mixed, detector(mixed, 0.0), strict=True):
        same(found, detector([picture], 0.0)[0])


def test_names_are_read_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.bert.modeling_bert import BertModel
    from transformers.models.owlv2.modeling_owlv2 import Owlv2TextTransformer

    calls: list[str] = []
    for kind in (Owlv2TextTransformer, BertModel):
        forward = kind.forward

        def counted(self: Any, *given: Any, _forward: Any = forward, **named: Any) -> Any:
            calls.append(type(self).__name__)
            return _forward(self, *given, **named)

        monkeypatch.setattr(kind, "forward", counted)
    for name in KINDS:
        network = opened(store, name)
        network(list(pictures(2)), 0.3)
        network(list(pictures(3)), 0.3)
    assert len(calls) == 2


def test_a_call_is_bounded(detector: open_vocabulary.OpenVocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_vocabulary.PICTURES_MAX, detector.kind, 2)
    sizes: list[int] = []
    ask = type(detector)._ask
    monkeypatch.setattr(type(detector), "_ask", lambda self, given: [sizes.append(len(given)), ask(self, given)][1])
    assert len(detector(list(pictures(5)), 0.9)) == 5
    assert sizes == [2, 2, 1]


# --- the analyzer -----------------------------------------------------------------------------------------------------


def loaded(store: Path, **options: Any) -> ProductDetection:
    analyzer = ProductDetection(ProductOptions(**options))
    analyzer.load("cpu", Profile("full", store))
    return analyzer


def test_chunks_of_several_videos_at_once_give_the_parts_of_each_alone(store: Path) -> None:
    analyzer = loaded(store)
    items = [chunk(pictures(3), "a"), chunk(pictures(2, 90, 160), "b"), chunk(pictures(1, seed=9), "c")]
    for item, part in zip(items, analyzer.analyze_many(items), strict=True):
        alone = analyzer.analyze(item)
        assert len(pickle.dumps(part)) < 1_000_000
        assert [(a, b) for a, b, _ in part.seen] == [(k, k + 1) for k in range(len(item.frames))]
        for (_, _, ours), (_, _, theirs) in zip(part.seen, alone.seen, strict=True):
            assert [thing.score for thing in ours] == pytest.approx([thing.score for thing in theirs], abs=ROUNDING)
            assert ours


def test_what_is_seen_is_evidence_of_its_own_and_the_report_says_that_weights_are_random(store: Path) -> None:
    analyzer = loaded(store)
    report = analyzer.summarize([analyzer.analyze(chunk(np.repeat(pictures(1), 3, axis=0)))], Upstream(FACTS))
    assert report.segments
    for segment in report.segments:
        assert segment.product in NAMES
        assert segment.category in QUERIES
        assert {evidence.analyzer for evidence in segment.evidence} == {"product_detection"}
        assert (segment.start, segment.end) == (0.0, 3.0)
    assert report.summary.looked_at == ["product_detection"]
    assert analyzer.model.random_weights
    assert "random weights" in str(analyzer.model.note)


def part(*seen: tuple[float, str, float]) -> ProductPart:
    return ProductPart(tuple((t, t + 1, (Detection(label, score, (0.2, 0.2, 0.6, 0.6)),)) for t, label, score in seen))


def test_a_thing_seen_once_must_be_certain() -> None:
    analyzer = ProductDetection()
    report = analyzer.summarize(
        [part((0, "lipstick", 0.3), (3, "candle", 0.5), (6, "laptop", 0.3), (7, "laptop", 0.4))], Upstream(FACTS)
    )
    assert [(s.product, s.start, s.end, s.score) for s in report.segments] == [
        ("candle", 3.0, 4.0, 0.5),
        ("laptop", 6.0, 8.0, 0.35),
    ]


def test_two_looks_at_the_same_pictures_are_not_two_witnesses() -> None:
    from analyzers.object_detection import DetectedObject, ObjectsReport, ObjectsSegment, ObjectsSummary

    thing = DetectedObject(label="laptop", score=0.6, box=(0.2, 0.2, 0.6, 0.6), track=1)
    objects = ObjectsReport(
        segments=[ObjectsSegment(start=t / 4, end=t / 4 + 0.25, objects=[thing]) for t in range(8)],
        summary=ObjectsSummary(counts={"laptop": 1}, labels=[]),
    )
    upstream = Upstream(FACTS, {"object_detection": objects})
    (segment,) = ProductDetection().summarize([part((0, "laptop", 0.5), (1, "laptop", 0.5))], upstream).segments
    assert {evidence.analyzer for evidence in segment.evidence} == {"object_detection", "product_detection"}
    assert segment.score == pytest.approx(0.6)


def test_names_that_coco_has_are_its_names() -> None:
    goods = {name for names in GOODS.values() for name in names}
    assert {"cell phone", "laptop", "handbag", "hair drier", "teddy bear"} <= set(NAMES) & goods
    assert len(set(NAMES)) == len(NAMES)
    assert goods <= set(LABELS.values())
    assert group_of("lipstick") == "beauty"
    assert group_of("my own thing") == "other"


def test_queries_come_from_the_settings_and_are_bounded() -> None:
    assert ProductOptions(queries=("sun cream", "Marker-pen")).queries == ("sun cream", "Marker-pen")
    for wrong in ((), ("x" * 41,), ("a. b.",), ("<|endoftext|>",), ("thing",) * 65):
        with pytest.raises(ValidationError):
            ProductOptions(queries=wrong)


def test_a_view_and_a_gpu_are_asked_for_in_the_full_profile_only() -> None:
    full = ProductDetection.spec_for("full", ProductOptions())
    assert full.needs == NATIVE
    assert 1 < full.gpu_gb < 5
    assert full.after_if_ok == ProductDetection.spec.after_if_ok
    assert ProductDetection.spec_for("full", ProductOptions(model="grounding_dino_tiny")).gpu_gb > full.gpu_gb
    assert ProductDetection.spec_for("embedded", ProductOptions()) == ProductDetection.spec
    with pytest.raises(NotApplicable):
        ProductDetection().summarize([], Upstream(FACTS))


def test_out_of_memory_halves_the_batch(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    worker = AnalyzerWorker(ProductDetection, ProductOptions(), "cpu", Profile("full", store))
    assert worker.load().ok
    sizes: list[int] = []
    ask = open_vocabulary.Owlv2._ask

    def scarce(self: open_vocabulary.Owlv2, given: Any) -> Any:
        sizes.append(len(given))
        if len(given) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ask(self, given)

    monkeypatch.setattr(open_vocabulary.Owlv2, "_ask", scarce)
    assert all(outcome.ok for outcome in worker.analyze([chunk(pictures(1), str(k)) for k in range(4)]))
    assert sizes == [4, 2, 2]


def test_missing_damaged_and_other_files_name_the_remedy(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch owlv2_base"):
        loaded(tmp_path)
    for name in KINDS:
        folder = tmp_path / name
        folder.mkdir()
        for file in (store / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(ModelUnavailable, match="cannot be used"):
            loaded(tmp_path, model=name)
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(ModelUnavailable, match="neither OWLv2 nor Grounding DINO"):
            loaded(tmp_path, model=name)
        (folder / "config.json").unlink()
        with pytest.raises(ModelUnavailable, match=r"config\.json"):
            loaded(tmp_path, model=name)


def test_more_names_than_grounding_dino_reads_are_refused(store: Path) -> None:
    with pytest.raises(ModelUnavailable, match="256 can be read"):
        opened(store, "grounding_dino_tiny", ("a b c d e f",) * 60)
