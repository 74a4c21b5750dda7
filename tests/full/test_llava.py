"""LLaVA-NeXT-Video small and random: the same words as transformers', in batches, from shared pictures, by scenes."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analyzers.blip2 import Blip2
from analyzers.models.hub import RANDOM_NOTE, LocalModel, ModelOptions
from analyzers.models.vlm.engine import Engine, tidy
from analyzers.models.vlm.family import Piece, Request
from analyzers.models.vlm.llava import LlavaNextVideo, load_llava_next_video
from analyzers.models.vlm.pictures import read_format
from analyzers.models.vlm.windows import DESCRIBE
from analyzers.video_llava import SAMPLES_MAX, VideoLlava, VideoLlavaOptions, from_jpeg, sampled, to_jpeg
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import Settings
from pipeline.types import SCAN, AnalyzerSpec
from pipeline.worker import AnalyzerWorker
from tests import toys
from tests.full.checkpoints.blip2 import write_blip2
from tests.full.checkpoints.llava import write_llava_next_video
from tests.full.describing import (
    FACTS,
    changed,
    chunks,
    copied,
    forget,
    memory_for,
    noise,
    of_frames,
    without_tensor,
)
from tests.support import run

PLAIN = VideoLlavaOptions(quantize="none", max_new_tokens=8, whole_max_new_tokens=12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the small checkpoint under the manifest's name."""
    folder = tmp_path_factory.mktemp("models")
    write_llava_next_video(folder / "llava_next_video_7b")
    return folder


@pytest.fixture(scope="module")
def checkpoint(store: Path) -> LocalModel:
    return LocalModel(store / "llava_next_video_7b", "llava", "local", "unknown", True)


@pytest.fixture(scope="module")
def family(checkpoint: LocalModel) -> LlavaNextVideo:
    return load_llava_next_video(checkpoint, PLAIN, "cpu")[0]


@pytest.fixture(scope="module")
def official(checkpoint: LocalModel) -> Any:
    from transformers import LlavaNextVideoProcessor

    return LlavaNextVideoProcessor.from_pretrained(checkpoint.folder, local_files_only=True)


@pytest.fixture
def analyzer(store: Path) -> VideoLlava:
    forget()
    return loaded(PLAIN, store)


def loaded(options: VideoLlavaOptions, store: Path) -> VideoLlava:
    made = VideoLlava(options)
    made.load("cpu", Profile("full", store))
    return made


def questions(new_tokens_max: int = 8) -> list[Request]:
    """One, two, three and six pictures, some of them shared, under prompts of different lengths."""
    pieces = [Piece(frame[None]) for frame in noise(6)]
    asked = (
        (1, "What?"),
        (2, "Describe what happens in this video."),
        (3, "What happens?"),
        (6, "Describe the scene."),
    )
    return [Request(text, tuple(pieces[:count]), new_tokens_max=new_tokens_max) for count, text in asked]


def report(analyzer: VideoLlava, duration_s: float, upstream: Upstream | None = None) -> Any:
    return analyzer.summarize(analyzer.analyze_many(chunks(duration_s)), upstream or Upstream(FACTS))


def scenes(*starts_s: float) -> Upstream:
    found = SimpleNamespace(segments=[SimpleNamespace(start=start_s) for start_s in starts_s])
    return Upstream(FACTS, {"scene_segmentation": found})


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 54), (54, 96), (56, 56), (40, 30), (31, 211), (101, 57)])
def test_pictures_become_what_the_published_processor_makes_of_them(
    family: LlavaNextVideo, official: Any, size: tuple[int, int]
) -> None:
    frames = noise(3, *size)
    theirs = official.video_processor(videos=[frames], return_tensors="pt").pixel_values_videos[0]
    ours = family.pictures.normalized(family.pictures.square(frames), "cpu", family.dtype)
    level = 1 / (255 * min(family.pictures.std))
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1.01 * level


@pytest.mark.parametrize("layout", ["video_preprocessor_config.json", "preprocessor_config.json", "nested"])
def test_every_layout_of_the_processors_files_is_read_as_transformers_reads_it(tmp_path: Path, layout: str) -> None:
    from transformers import LlavaNextVideoVideoProcessor

    said = {
        "size": {"shortest_edge": 42}, "crop_size": {"height": 28, "width": 28}, "resample": 2,
        "image_mean": [0.5, 0.4, 0.3], "image_std": [0.3, 0.2, 0.1],
        "video_processor_type": "LlavaNextVideoVideoProcessor",
    }  # fmt: skip
    name, content = ("processor_config.json", {"video_processor": said}) if layout == "nested" else (layout, said)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    ours = read_format(LocalModel(tmp_path, "x", "local", "unknown"), "video", "crop")
    theirs = LlavaNextVideoVideoProcessor.from_pretrained(tmp_path, local_files_only=True)
    frames = noise(2, 80, 60)
    levels = ours.normalized(ours.square(frames), "cpu", None)
    expected = theirs(videos=[frames], return_tensors="pt").pixel_values_videos[0]
    assert float((levels - expected).abs().max()) <= 1.01 / (255 * 0.1)


def test_padding_shows_the_whole_of_an_upright_picture(checkpoint: LocalModel) -> None:
    padded = load_llava_next_video(checkpoint, PLAIN, "cpu", "pad")[0].pictures
    frames = np.zeros((1, 112, 56, 3), np.uint8)
    frames[:, :4], frames[:, -4:] = 255, 255
    square = padded.square(frames)[0]
    assert int(square[:, 0, 28].min()) > 200
    assert int(square[:, -1, 28].min()) > 200
    assert square[:, 28, 0].tolist() == [123, 117, 104], "the mean colour beside it"


def test_answers_are_those_of_transformers_own_generate(family: LlavaNextVideo, official: Any) -> None:
    asked = questions(12)
    answers = Engine(family, remember=False).answer(asked)
    for request, answer in zip(asked, answers, strict=True):
        content = [{"type": "video"}, {"type": "text", "text": request.text}]
        words = official.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        clip = np.concatenate([piece.frames for piece in request.pieces])
        given = official(text=[words], videos=[clip], return_tensors="pt")
        assert given.input_ids[0].tolist() == family.prompt(request).ids.tolist()
        made = family.model.generate(**given, max_new_tokens=12, do_sample=False)[0, given.input_ids.shape[1] :]
        assert answer == tidy(official.tokenizer.decode(made, skip_special_tokens=True))
    assert len(set(answers)) == len(answers), "the pictures make a difference"


def test_batched_says_the_same_as_one_by_one_whatever_the_padding_and_the_order(family: LlavaNextVideo) -> None:
    asked = questions()
    engine = Engine(family, share=False)
    alone = [engine.answer([request])[0] for request in asked]
    assert engine.answer(asked) == alone
    assert engine.answer(asked[::-1]) == alone[::-1]
    assert Engine(family, share=False, tokens_per_batch=64).answer(asked) == alone


def test_shared_pictures_say_the_same_as_unshared_ones_and_are_encoded_once(family: LlavaNextVideo) -> None:
    asked = questions()
    shared, unshared = Engine(family, remember=False), Engine(family, share=False)
    assert shared.answer(asked) == unshared.answer(asked)
    assert unshared.figures.pieces_encoded == 1 + 2 + 3 + 6
    assert shared.figures.pieces_encoded == 6


def test_a_pictures_features_do_not_depend_on_its_neighbours(family: LlavaNextVideo) -> None:
    import torch

    prepared = [family.prepare(Piece(frame[None])) for frame in noise(5)]
    together = family.encode(prepared)
    pixels = family.pictures.normalized(torch.cat([one.values for one in prepared]), "cpu", family.dtype)
    with torch.inference_mode():
        official = family.model.model.get_video_features(pixels[None], return_dict=True).pooler_output[0]
    assert torch.equal(torch.cat([one.places for one in together]), official)
    for one, found in zip(prepared, together, strict=True):
        assert torch.allclose(family.encode([one])[0].places, found.places, atol=1e-5)
        assert len(found.places) == family.places_of(Piece(noise(1)))


def test_a_placeholder_in_the_words_opens_no_place(family: LlavaNextVideo) -> None:
    piece = Piece(noise(1))
    prompt = family.prompt(Request("Describe <video> and <image>.", (piece,)))
    assert int(prompt.places.sum()) == family.places_of(piece)


def test_more_pictures_than_the_model_has_learned_are_refused(family: LlavaNextVideo) -> None:
    pieces = tuple(Piece(frame[None]) for frame in noise(3))
    small = replace(family, tokens_max=24)
    with pytest.raises(ValueError, match="more than 24, which this model has learned"):
        small.prompt(Request("What?", pieces, new_tokens_max=8))


def test_tensor_names_of_the_published_files_are_read(
    checkpoint: LocalModel, family: LlavaNextVideo, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(checkpoint.folder, tmp_path / "older")
    tensors = load_file(folder / "model.safetensors")
    older = {name.replace("vision_tower.", "vision_tower.vision_model."): value for name, value in tensors.items()}
    assert older.keys() != tensors.keys()
    save_file(older, folder / "model.safetensors", metadata={"format": "pt"})
    again, _ = load_llava_next_video(replace(checkpoint, folder=folder), PLAIN, "cpu")
    assert Engine(again, share=False).answer(questions()[:1]) == Engine(family, share=False).answer(questions()[:1])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_in_half_precision_it_runs(checkpoint: LocalModel, precision: Any) -> None:
    half, info = load_llava_next_video(checkpoint, ModelOptions(model="x", precision=precision), "cpu")
    assert info.precision == precision
    assert str(half.embeddings.weight.dtype) == f"torch.{precision}"
    assert len(Engine(half, share=False).answer(questions(4))) == 4


@pytest.mark.parametrize(("quantize", "layer"), [("8bit", "Linear8bitLt"), ("4bit", "Linear4bit")])
def test_quantized_it_runs_and_keeps_its_eyes(
    checkpoint: LocalModel, quantize: Any, layer: str, family: LlavaNextVideo
) -> None:
    options = ModelOptions(model="x", quantize=quantize)
    quantized, info = load_llava_next_video(checkpoint, options, "cpu")
    assert info.precision == f"{quantize} float32"
    assert type(quantized.language_model.layers[0].mlp.up_proj).__name__ == layer
    assert type(quantized.model.model.multi_modal_projector.linear_1).__name__ == "Linear"
    assert quantized.decoder_parameters == family.decoder_parameters
    assert all(isinstance(text, str) for text in Engine(quantized, share=False).answer(questions(4)))


# --- files ------------------------------------------------------------------------------------------------------------

DAMAGES: dict[str, tuple[Any, str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "a torn file": (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" * 40), "header too large"),
    "a tensor is missing": (
        lambda folder: without_tensor(folder, "multi_modal_projector.linear_1.weight"),
        "1 tensors are missing",
    ),
    "no settings": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "settings that are no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
        "backend tokenizer",
    ),
    "no processor": (
        lambda folder: [file.unlink() for file in folder.glob("*processor_config.json")],
        "preprocessor_config.json is missing",
    ),
    "a processor of another size": (
        lambda folder: changed(
            folder, "video_preprocessor_config.json", lambda said: said.update(crop_size={"height": 28, "width": 28})
        ),
        "takes 56 px and its processor gives 28 px",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named_with_the_remedy(checkpoint: LocalModel, tmp_path: Path, damage: str) -> None:
    folder = copied(checkpoint.folder, tmp_path / "damaged")
    change, said = DAMAGES[damage]
    change(folder)
    with pytest.raises(ModelUnavailable, match=said) as caught:
        VideoLlava(PLAIN.model_copy(update={"model": str(folder)})).load("cpu", Profile("full", tmp_path))
    assert "reelscope models fetch" in str(caught.value)


def test_another_architectures_files_are_refused(tmp_path: Path) -> None:
    write_blip2(tmp_path / "llava_next_video_7b")
    with pytest.raises(ModelUnavailable, match="architecture 'blip-2', and 'llava_next_video' is needed"):
        VideoLlava(PLAIN).load("cpu", Profile("full", tmp_path))


def test_without_files_it_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch llava_next_video_7b"):
        VideoLlava(PLAIN).load("cpu", Profile("full", tmp_path))


# --- the analyzer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration_s", [0.04, 0.3, 1.0, 3.2])
def test_a_short_video_is_one_stretch(analyzer: VideoLlava, duration_s: float) -> None:
    found = report(analyzer, duration_s)
    assert [(one.start, one.end) for one in found.segments] == [(0.0, duration_s)]
    assert analyzer.engine.figures.requests == 2
    assert analyzer.engine.figures.decode_tokens >= 2
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_without_scenes_stretches_of_ten_seconds_cover_the_video(analyzer: VideoLlava) -> None:
    found = report(analyzer, 28.0)
    assert [one.start for one in found.segments] == [0.0, 9.333, 18.667]
    assert found.segments[-1].end == 28.0
    assert all(one.end == other.start for one, other in pairwise(found.segments))
    assert len({one.description for one in found.segments}) == 3


def test_scenes_are_described_one_by_one_and_pictures_are_encoded_once(analyzer: VideoLlava) -> None:
    found = report(analyzer, 12.0, scenes(0.0, 2.0, 2.2, 9.0))
    assert [(one.start, one.end) for one in found.segments] == [(0.0, 2.0), (2.0, 2.2), (2.2, 9.0), (9.0, 12.0)]
    asked = 4 + 1 + 8 + 6 + 16
    assert analyzer.engine.figures.pieces == asked
    assert analyzer.engine.figures.pieces_encoded <= 24, "two a second"
    assert analyzer.engine.figures.requests == 5


def test_a_still_picture_is_encoded_once(analyzer: VideoLlava) -> None:
    still = np.repeat(noise(1), 48, axis=0)
    analyzer.summarize(analyzer.analyze_many(of_frames(still, 12.0)), Upstream(FACTS))
    assert analyzer.engine.figures.pieces == 8 + 16
    assert analyzer.engine.figures.pieces_encoded == 1


def test_chunks_give_the_same_parts_alone_and_among_those_of_other_videos(analyzer: VideoLlava) -> None:
    one, other = chunks(3.0, "one", seed=3), chunks(2.0, "other", seed=4)
    mixed = [one[0], other[0], one[1], other[1], one[2]]
    alone = [analyzer.analyze(chunk) for chunk in mixed]
    assert analyzer.analyze_many(mixed) == alone
    assert [len(part.pictures) for part in alone] == [2] * 5


def test_the_last_pictures_of_the_chunk_before_are_not_kept_twice(analyzer: VideoLlava) -> None:
    parts = analyzer.analyze_many(chunks(3.0))
    kept = [picture.pts_s for part in parts for picture in part.pictures]
    assert kept == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_a_part_stays_below_a_megabyte_even_with_noise_at_full_size() -> None:
    (chunk,) = of_frames(noise(24, 8, 8), 6.0)[:1]
    long = replace(chunk, frames=noise(40, 8, 8), pts_s=np.arange(40) / 2, end_s=20.0)
    assert len(sampled(long)) == SAMPLES_MAX
    coded = [to_jpeg(picture) for picture in noise(SAMPLES_MAX, 336, 336)]
    assert len(pickle.dumps(coded)) < 1024 * 1024
    smooth = np.repeat(np.linspace(0, 255, 336).astype(np.uint8)[:, None], 336, axis=1)[..., None].repeat(3, axis=2)
    assert float(np.abs(from_jpeg(to_jpeg(smooth)).astype(int) - smooth).mean()) < 1.0


def test_out_of_memory_halves_until_it_fits(analyzer: VideoLlava, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = analyzer.analyze_many(chunks(28.0))
    expected = analyzer.summarize(parts, Upstream(FACTS))
    forget()
    tried = memory_for(1, monkeypatch)
    assert analyzer.summarize(parts, Upstream(FACTS)) == expected
    assert max(tried) > 1
    assert tried.count(1) >= 4


def test_too_little_memory_for_one_question_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    worker = AnalyzerWorker(VideoLlava, PLAIN, "cpu", Profile("full", store))
    assert worker.load().ok
    parts = [outcome.value for outcome in worker.analyze(chunks(1.0))]
    memory_for(0, monkeypatch)
    outcome = worker.summarize(parts, Upstream(FACTS))
    assert outcome.error is not None
    assert outcome.error.type == "OutOfMemoryError"


def test_its_answers_are_marked_as_those_of_random_weights(analyzer: VideoLlava) -> None:
    assert analyzer.model.random_weights
    assert analyzer.model.note is not None
    assert RANDOM_NOTE in analyzer.model.note
    assert analyzer.model.id == "random:llava_next_video_7b"
    assert analyzer.model.backend.startswith("transformers ")
    assert analyzer.model.precision == "float32"


def test_the_full_profile_asks_for_a_view_the_scenes_and_a_gpu() -> None:
    spec = VideoLlava.spec_for("full", VideoLlavaOptions())
    assert spec.needs == DESCRIBE
    assert spec.after_if_ok == ("scene_segmentation",)
    assert 8 < spec.gpu_gb < 16, "4 bit"
    assert VideoLlava.spec_for("full", PLAIN).gpu_gb > spec.gpu_gb + 8, "16 bit"
    assert VideoLlava.spec_for("embedded", VideoLlavaOptions()) is VideoLlava.spec


class Scenes(toys.Toy):
    """Stands for scene_segmentation: a scene for each chunk."""

    spec = AnalyzerSpec("scene_segmentation", "1", SCAN)


async def test_in_a_run_it_waits_for_the_scenes_and_describes_each(store: Path, clip: Path) -> None:
    forget()
    write_blip2(store / "blip2_opt_2_7b")
    small = {"quantize": "none", "max_new_tokens": 4}
    settings = Settings(profile="full", models_dir=store, analyzers={"video_llava": small, "blip2": small})
    found, _ = await run(clip, VideoLlava, Blip2, Scenes, settings=settings)
    assert found.statuses() == {"ok": 3, "failed": 0, "skipped": 0}
    for name in ("video_llava", "blip2"):
        result = found.analyzers[name]
        assert result.report is not None
        assert [one["start"] for one in result.report["segments"]] == [0.0, 1.0, 2.0]
        assert result.is_random


@pytest.mark.parametrize(
    "wrong", [{"frames_whole": 25}, {"frames_per_scene": 0}, {"max_new_tokens": 0}, {"prompt": ""}]
)
def test_settings_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VideoLlavaOptions(**wrong)
