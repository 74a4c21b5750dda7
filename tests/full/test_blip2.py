"""BLIP-2 small and random: the same captions as transformers', in batches over videos, like pictures captioned once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.blip2 import RENEWED, Blip2, Blip2Options, goes_on, thumb_of
from analyzers.models.hub import RANDOM_NOTE, LocalModel, ModelOptions
from analyzers.models.vlm.blip2 import Blip2Opt, load_blip2
from analyzers.models.vlm.engine import Engine, tidy
from analyzers.models.vlm.family import Piece, Request
from analyzers.models.vlm.windows import DESCRIBE
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.worker import AnalyzerWorker
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

OPTIONS = Blip2Options(max_new_tokens=8)
PROMPTS = ("", "a photo of", "a photo of a dog that runs over")
"""Of different lengths, so that rows are padded."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the small checkpoint under the manifest's name."""
    folder = tmp_path_factory.mktemp("models")
    write_blip2(folder / "blip2_opt_2_7b")
    return folder


@pytest.fixture(scope="module")
def checkpoint(store: Path) -> LocalModel:
    return LocalModel(store / "blip2_opt_2_7b", "blip2", "local", "unknown", True)


@pytest.fixture(scope="module")
def family(checkpoint: LocalModel) -> Blip2Opt:
    return load_blip2(checkpoint, OPTIONS, "cpu")[0]


@pytest.fixture(scope="module")
def official(checkpoint: LocalModel) -> Any:
    from transformers import Blip2Processor

    return Blip2Processor.from_pretrained(checkpoint.folder, local_files_only=True)


@pytest.fixture
def analyzer(store: Path) -> Blip2:
    forget()
    return loaded(OPTIONS, store)


def loaded(options: Blip2Options, store: Path) -> Blip2:
    made = Blip2(options)
    made.load("cpu", Profile("full", store))
    return made


def questions(new_tokens_max: int = 8) -> list[Request]:
    """Six pictures under three beginnings."""
    return [
        Request(PROMPTS[number % 3], (Piece(frame[None]),), new_tokens_max=new_tokens_max)
        for number, frame in enumerate(noise(6))
    ]


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 54), (54, 96), (56, 56), (40, 30), (31, 211)])
def test_pictures_become_what_the_published_processor_makes_of_them(
    family: Blip2Opt, official: Any, size: tuple[int, int]
) -> None:
    frames = noise(3, *size)
    theirs = official.image_processor(images=list(frames), return_tensors="pt").pixel_values
    ours = family.pictures.normalized(family.pictures.square(frames), "cpu", family.dtype)
    level = 1 / (255 * min(family.pictures.std))
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1.01 * level


def test_captions_are_those_of_transformers_own_generate(family: Blip2Opt, official: Any) -> None:
    asked = questions(12)
    answers = Engine(family, remember=False).answer(asked)
    ends = sorted(family.end_tokens)
    for request, answer in zip(asked, answers, strict=True):
        given = official(images=[request.pieces[0].frames[0]], text=[request.text], return_tensors="pt")
        assert given.input_ids[0].tolist() == family.prompt(request).ids.tolist()
        made = family.model.generate(**given, max_new_tokens=12, do_sample=False, eos_token_id=ends)[0]
        made = made[given.input_ids.shape[1] :]
        assert answer == tidy(official.tokenizer.decode(made, skip_special_tokens=True))
    assert len(set(answers)) > len(PROMPTS), "the pictures make a difference"


def test_batched_says_the_same_as_one_by_one_whatever_the_order(family: Blip2Opt) -> None:
    asked = questions()
    engine = Engine(family, share=False)
    alone = [engine.answer([request])[0] for request in asked]
    assert engine.answer(asked) == alone
    assert engine.answer(asked[::-1]) == alone[::-1]
    assert Engine(family, share=False, tokens_per_batch=40).answer(asked) == alone


def test_left_padding_changes_nothing_though_positions_are_learned(family: Blip2Opt) -> None:
    import torch

    request = questions()[0]
    prompt = family.prompt(request)
    embeds = family.embeddings(torch.from_numpy(prompt.ids))
    embeds[torch.from_numpy(prompt.places)] = family.encode([family.prepare(request.pieces[0])])[0].places
    pad = 5
    padded = torch.cat([torch.ones(pad, embeds.shape[1]), embeds])
    mask = torch.cat([torch.zeros(pad, dtype=torch.int64), torch.ones(len(embeds), dtype=torch.int64)])[None]
    positions = torch.from_numpy(prompt.positions)[:, None]
    shifted = torch.cat([torch.zeros(1, 1, pad, dtype=torch.int64), positions], dim=2)
    with torch.inference_mode():
        plain = family.hidden(embeds[None], None, positions, None)[0]
        behind = family.hidden(padded[None], mask, shifted, None)[0, pad:]
        wrong = family.hidden(padded[None], mask, torch.arange(pad + len(embeds))[None, None], None)[0, pad:]
    assert torch.allclose(behind, plain, atol=1e-4)
    assert not torch.allclose(wrong, plain, atol=1e-1), "positions that count padding would tell"


def test_a_repeated_picture_is_encoded_once_and_said_the_same_about(family: Blip2Opt) -> None:
    asked = questions() + questions()
    shared, unshared = Engine(family, remember=False), Engine(family, share=False)
    assert shared.answer(asked) == unshared.answer(asked)
    assert (shared.figures.pieces_encoded, unshared.figures.pieces_encoded) == (6, 12)


def test_a_pictures_features_do_not_depend_on_its_neighbours(family: Blip2Opt) -> None:
    import torch

    prepared = [family.prepare(Piece(frame[None])) for frame in noise(4)]
    together = family.encode(prepared)
    for one, found in zip(prepared, together, strict=True):
        assert torch.allclose(family.encode([one])[0].places, found.places, atol=1e-4)
        assert found.places.shape == (family.queries, 64)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_in_half_precision_it_runs(checkpoint: LocalModel, precision: Any) -> None:
    half, info = load_blip2(checkpoint, ModelOptions(model="x", precision=precision), "cpu")
    assert info.precision == precision
    assert str(half.embeddings.weight.dtype) == f"torch.{precision}"
    assert len(Engine(half, share=False).answer(questions(4))) == 6


@pytest.mark.parametrize(("quantize", "layer"), [("8bit", "Linear8bitLt"), ("4bit", "Linear4bit")])
def test_quantized_it_runs_and_keeps_its_eyes(
    checkpoint: LocalModel, family: Blip2Opt, quantize: Any, layer: str
) -> None:
    quantized, info = load_blip2(checkpoint, ModelOptions(model="x", quantize=quantize), "cpu")
    assert info.precision == f"{quantize} float32"
    assert type(quantized.language_model.layers[0].fc1).__name__ == layer
    assert type(quantized.model.vision_model.encoder.layers[0].mlp.fc1).__name__ == "Linear"
    assert type(quantized.model.language_projection).__name__ == "Linear"
    assert quantized.decoder_parameters == family.decoder_parameters
    assert len(Engine(quantized, share=False).answer(questions(4))) == 6


# --- files ------------------------------------------------------------------------------------------------------------

DAMAGES: dict[str, tuple[Any, str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "a torn file": (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" * 40), "header too large"),
    "a tensor is missing": (lambda folder: without_tensor(folder, "query_tokens"), "1 tensors are missing"),
    "no settings": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
        "the tokenizer's files are missing",
    ),
    "no processor": (
        lambda folder: (folder / "preprocessor_config.json").unlink(),
        "preprocessor_config.json is missing",
    ),
    "a processor without a mean": (
        lambda folder: changed(folder, "preprocessor_config.json", lambda said: said.pop("image_mean")),
        "do not tell how pictures are normalized",
    ),
    "a processor of another size": (
        lambda folder: changed(
            folder, "preprocessor_config.json", lambda said: said.update(size={"height": 28, "width": 28})
        ),
        "takes 56 px and its processor gives 28 px",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named_with_the_remedy(checkpoint: LocalModel, tmp_path: Path, damage: str) -> None:
    folder = copied(checkpoint.folder, tmp_path / "damaged")
    change, said = DAMAGES[damage]
    change(folder)
    with pytest.raises(ModelUnavailable, match=said) as caught:
        loaded(Blip2Options(model=str(folder)), tmp_path)
    assert "reelscope models fetch" in str(caught.value)


def test_another_architectures_files_are_refused(tmp_path: Path) -> None:
    write_llava_next_video(tmp_path / "blip2_opt_2_7b")
    with pytest.raises(ModelUnavailable, match="architecture 'llava_next_video', and 'blip-2' is needed"):
        loaded(OPTIONS, tmp_path)


def test_without_files_it_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch blip2_opt_2_7b"):
        loaded(OPTIONS, tmp_path)


# --- the analyzer -----------------------------------------------------------------------------------------------------


def report(analyzer: Blip2, items: list[Any]) -> Any:
    return analyzer.summarize(analyzer.analyze_many(items), Upstream(FACTS))


@pytest.mark.parametrize("duration_s", [0.04, 0.3, 1.0, 3.2, 12.0])
def test_segments_of_a_second_cover_the_video(analyzer: Blip2, duration_s: float) -> None:
    found = report(analyzer, chunks(duration_s))
    assert found.segments[0].start == 0.0
    assert found.segments[-1].end == duration_s
    assert all(one.end == other.start for one, other in pairwise(found.segments))
    assert len(found.segments) == max(1, int(np.ceil(duration_s)) - (duration_s == 3.2))
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_chunks_of_several_videos_are_captioned_together_and_as_if_alone(analyzer: Blip2) -> None:
    one, other = chunks(3.0, "one", seed=3), chunks(2.0, "other", seed=4)
    mixed = [one[0], other[0], one[1], other[1], one[2]]
    together = [part.text for part in analyzer.analyze_many(mixed)]
    assert analyzer.engine.figures.batches == 1
    forget()
    assert [analyzer.analyze(chunk).text for chunk in mixed] == together
    assert len(set(together)) > 1


def test_a_picture_like_the_one_before_takes_its_caption_and_is_not_asked_about(analyzer: Blip2) -> None:
    still = np.concatenate([np.repeat(noise(1, seed=1), 12, axis=0), np.repeat(noise(1, seed=2), 8, axis=0)])
    grain = np.random.default_rng(0).integers(-2, 3, still.shape)
    frames = np.clip(still.astype(int) + grain, 0, 255).astype(np.uint8)
    items = of_frames(frames, 5.0)
    parts = analyzer.analyze_many(items)
    assert [part.text is None for part in parts] == [False, True, True, False, True]
    found = analyzer.summarize(parts, Upstream(FACTS))
    said = [segment.description for segment in found.segments]
    assert said == [said[0]] * 3 + [said[3]] * 2
    assert found.summary.description == f"{said[0]} (60 %); {said[3]} (40 %)"
    forget()
    alone = [analyzer.analyze(item) for item in items]
    assert all(part.text is not None for part in alone)
    assert analyzer.summarize(alone, Upstream(FACTS)) == found, "how chunks were batched makes no difference"


def test_a_slow_change_gets_new_words_from_time_to_time() -> None:
    thumb = thumb_of(noise(1)[0])
    assert [goes_on(index, thumb, thumb) for index in range(RENEWED + 2)] == [False] + [True] * 7 + [False, True]
    assert not goes_on(1, None, thumb), "the first picture of a video goes on from nothing"
    moved = thumb.copy()
    moved[3, 4, 0] = int(moved[3, 4, 0]) + 60 if moved[3, 4, 0] < 128 else int(moved[3, 4, 0]) - 60
    assert not goes_on(1, thumb, moved), "one place of 256 has changed"


def test_the_beginning_is_part_of_the_caption(store: Path) -> None:
    forget()
    started = loaded(Blip2Options(prompt="a photo of", max_new_tokens=4), store)
    assert all(part.text.startswith("a photo of") for part in started.analyze_many(chunks(2.0)) if part.text)


def test_parts_are_small(analyzer: Blip2) -> None:
    assert all(len(pickle.dumps(part)) < 4096 for part in analyzer.analyze_many(chunks(2.0)))


def test_out_of_memory_halves_the_chunks(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    worker = AnalyzerWorker(Blip2, OPTIONS, "cpu", Profile("full", store))
    assert worker.load().ok
    items = chunks(8.0)
    expected = [outcome.value.text for outcome in worker.analyze(items)]
    forget()
    tried = memory_for(2, monkeypatch)
    outcomes = worker.analyze(items)
    assert all(outcome.ok for outcome in outcomes)
    assert [outcome.value.text for outcome in outcomes] == expected
    assert tried == [8, 4, 2, 2, 4, 2, 2]


def test_too_little_memory_for_one_picture_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    worker = AnalyzerWorker(Blip2, OPTIONS, "cpu", Profile("full", store))
    assert worker.load().ok
    memory_for(0, monkeypatch)
    (outcome,) = worker.analyze(chunks(1.0))
    assert outcome.error is not None
    assert outcome.error.type == "OutOfMemoryError"
    assert "out of memory with a single item left" in outcome.error.message


def test_its_answers_are_marked_as_those_of_random_weights(analyzer: Blip2) -> None:
    assert analyzer.model.random_weights
    assert analyzer.model.note is not None
    assert RANDOM_NOTE in analyzer.model.note
    assert analyzer.model.id == "random:blip2_opt_2_7b"


def test_the_full_profile_asks_for_a_view_and_a_gpu() -> None:
    spec = Blip2.spec_for("full", Blip2Options())
    assert spec.needs == DESCRIBE
    assert spec.batch == 64
    assert 8 < spec.gpu_gb < 14
    assert Blip2.spec_for("full", Blip2Options(quantize="4bit")).gpu_gb < spec.gpu_gb
    assert Blip2.spec_for("embedded", Blip2Options()) is Blip2.spec


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 65}, {"prompt": "x" * 201}, {"tokens_per_batch": 1}])
def test_settings_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Blip2Options(**wrong)


def test_more_text_than_the_model_has_learned_is_refused(family: Blip2Opt) -> None:
    small = replace(family, tokens_max=10)
    with pytest.raises(ValueError, match="more than 10, which this model has learned"):
        small.prompt(Request("", (Piece(noise(1)),), new_tokens_max=8))
