"""wav2vec 2.0 in speech_emotion: stretches together are rated as each alone, by classes or by dimensions.

Weights are random, so nothing here says that moods are right.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.models.wav2vec2 import AFFECT, CLASSES_RIGHT, VoiceEmotion, by_length
from analyzers.speech_emotion import EmotionOptions, EmotionReport, SpeechEmotion
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.wav2vec2 import write_wav2vec2
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)
KINDS = ("classes", "dimensions")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with both small random models; the dimensional one as a folder of one's own; and YAMNet."""
    folder = tmp_path_factory.mktemp("models")
    write_wav2vec2(folder / "wav2vec2_base_superb_er")
    write_wav2vec2(folder / "dimensions", kind="dimensions")
    (folder / "yamnet").symlink_to(load_settings().models_dir / "yamnet")
    return folder


def options(store: Path, kind: str, **more: Any) -> EmotionOptions:
    return EmotionOptions(**more) if kind == "classes" else EmotionOptions(model=str(store / "dimensions"), **more)


def loaded(store: Path, chosen: EmotionOptions) -> SpeechEmotion:
    analyzer = SpeechEmotion(chosen)
    analyzer.load("cpu", Profile("full", store))
    return analyzer


@pytest.fixture(scope="module", params=KINDS)
def analyzer(request: pytest.FixtureRequest, store: Path) -> SpeechEmotion:
    return loaded(store, options(store, request.param))


def rater(analyzer: SpeechEmotion) -> VoiceEmotion:
    assert analyzer._rater is not None
    return analyzer._rater


@pytest.fixture(scope="module")
def stretches() -> list[clips.Samples]:
    """Speech of six lengths from 0.5 to 4 s, two of them nearly equal."""
    speech = clips.speech()
    where = ((0, 64_000), (5_000, 8_000), (60_000, 30_001), (90_000, 30_000), (20_000, 17_777), (1_000, 12_345))
    return [speech[start : start + length] for start, length in where]


def numbers(ratings: Any) -> np.ndarray[Any, Any]:
    return np.array([[r.arousal, r.valence, r.confidence, *(score for _, score in sorted(r.labels))] for r in ratings])


def test_stretches_together_are_rated_as_each_alone_in_any_order(
    analyzer: SpeechEmotion, stretches: list[clips.Samples]
) -> None:
    together = numbers(rater(analyzer).rate(stretches))
    alone = np.concatenate([numbers(rater(analyzer).rate([stretch])) for stretch in stretches])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(together, numbers(rater(analyzer).rate(stretches[::-1]))[::-1], atol=2e-6)
    assert np.ptp(together, axis=0)[:2].min() > 1e-4  # they differ, so that equality says something


def test_classes_are_those_of_the_official_model_on_one_unpadded_stretch(
    store: Path, stretches: list[clips.Samples]
) -> None:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    folder = store / "wav2vec2_base_superb_er"
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    ours = rater(loaded(store, EmotionOptions())).rate(stretches)
    for stretch, rating in zip(stretches, ours, strict=True):
        values = extractor(stretch, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.inference_mode():
            shares = model(values).logits.softmax(-1)[0].tolist()
        said = dict(rating.labels)
        assert [said[name] for name in ("neutral", "happy", "angry", "sad")] == pytest.approx(shares, abs=1e-5)


def test_padding_in_one_call_would_change_what_the_official_base_model_says(
    store: Path, stretches: list[clips.Samples]
) -> None:
    """Why the convolutions run on each stretch by itself."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    folder = store / "wav2vec2_base_superb_er"
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    batch = extractor(stretches[:2], sampling_rate=16_000, return_tensors="pt", padding=True)
    alone = extractor(stretches[1], sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        padded, plain = model(batch.input_values).logits[1], model(alone.input_values).logits[0]
    assert float((padded - plain).abs().max()) > 1e-3


def test_dimensions_are_the_mean_of_the_states_through_audeerings_head(
    store: Path, stretches: list[clips.Samples]
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    folder = store / "dimensions"
    body = Wav2Vec2Model.from_pretrained(folder, key_mapping={r"^wav2vec2\.": ""}).eval()
    tensors = load_file(folder / "model.safetensors")
    values = Wav2Vec2FeatureExtractor.from_pretrained(folder)(
        stretches[2], sampling_rate=16_000, return_tensors="pt"
    ).input_values
    with torch.inference_mode():
        state = body(values).last_hidden_state.mean(1)
        for layer, after in (("dense", torch.tanh), ("out_proj", torch.nn.Identity())):
            state = after(state @ tensors[f"classifier.{layer}.weight"].T + tensors[f"classifier.{layer}.bias"])
    rating = rater(loaded(store, options(store, "dimensions"))).rate(stretches)[2]
    said = [min(1.0, max(0.0, float(value))) for value in state[0]]
    assert [rating.arousal, rating.valence] == pytest.approx([said[0], said[2]], abs=1e-5)
    assert rating.labels == ()


def test_classes_become_arousal_and_valence_by_the_published_table(store: Path) -> None:
    model = rater(loaded(store, EmotionOptions()))
    angry = model._rating(np.array([0, 0, 50, 0], np.float32))
    assert (angry.arousal, angry.valence) == pytest.approx(tuple((1 + v) / 2 for v in AFFECT["angry"]))
    assert angry.confidence == pytest.approx(CLASSES_RIGHT)
    unsure = model._rating(np.zeros(4, np.float32))
    assert unsure.confidence == pytest.approx(CLASSES_RIGHT / 4)
    assert angry.labels[0][0] == "angry"
    assert sum(score for _, score in angry.labels) == pytest.approx(1)


def test_several_videos_report_as_each_alone(analyzer: SpeechEmotion) -> None:
    speech = clips.speech()
    tracks = [clips.track(speech, 1.0), clips.track(clips.silence(2)), clips.track(speech[80_000:], 4.0)]
    together = analyzer.analyze_many(tracks)
    assert [len(own) > 0 for own in together] == [True, False, True]
    for track, own in zip(tracks, together, strict=True):
        alone = analyzer.analyze(track)
        assert [(s.start_s, s.end_s) for s in own] == [(s.start_s, s.end_s) for s in alone]
        if own:
            np.testing.assert_allclose(numbers([s.rating for s in own]), numbers([s.rating for s in alone]), atol=2e-6)


def test_threads_beside_a_gpu_find_the_same(analyzer: SpeechEmotion, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [clips.track(clips.speech()[start:], 0.0) for start in (0, 50_000, 80_000)]
    one = analyzer.analyze_many(tracks)
    monkeypatch.setattr(analyzer, "_threads", 3)
    for own, other in zip(one, analyzer.analyze_many(tracks), strict=True):
        np.testing.assert_array_equal(numbers([s.rating for s in own]), numbers([s.rating for s in other]))


def test_where_nobody_speaks_the_model_is_not_asked(analyzer: SpeechEmotion) -> None:
    report = analyzer.summarize([analyzer.analyze(clips.track(clips.not_speech()["song"]))], Upstream(FACTS))
    assert (report.segments, report.summary.arousal) == ([], None)


def test_reports_validate_have_the_embedded_fields_and_say_that_weights_are_random(
    analyzer: SpeechEmotion, store: Path
) -> None:
    track = clips.track(clips.speech(), 2.0)
    report = analyzer.summarize([analyzer.analyze(track)], Upstream(FACTS))
    assert EmotionReport.model_validate_json(report.model_dump_json()) == report
    embedded = SpeechEmotion()
    embedded.load("cpu", Profile("embedded", store))
    plain = embedded.summarize([embedded.analyze(track)], Upstream(FACTS))
    assert [(s.start, s.end, s.pitch_st) for s in report.segments] == [
        (s.start, s.end, s.pitch_st) for s in plain.segments
    ]
    assert plain.segments[0].model_dump().keys() == report.segments[0].model_dump().keys()
    assert all(segment.labels == [] for segment in plain.segments)
    assert analyzer.model.random_weights and "not an answer" in str(analyzer.model.note)
    assert not embedded.model.random_weights


def test_stretches_are_grouped_by_length_within_the_room() -> None:
    assert by_length([1, 2, 3, 4, 9], 8) == [[0, 1], [2, 3], [4]]
    assert by_length([1, 1, 1, 1], 4) == [[0, 1, 2, 3]]
    assert by_length([], 4) == []


def narrow(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """A GPU with room for so many stretches."""
    import torch

    asked: list[int] = []
    logits = VoiceEmotion._logits

    def compute(self: VoiceEmotion, stretches: Any) -> Any:
        asked.append(len(stretches))
        if len(stretches) > room:
            raise torch.OutOfMemoryError("injected")
        return logits(self, stretches)

    monkeypatch.setattr(VoiceEmotion, "_logits", compute)
    return asked


def test_what_memory_has_no_room_for_is_tried_in_halves(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = AnalyzerWorker(SpeechEmotion, EmotionOptions(), "cpu", Profile("full", store))
    assert worker.load().ok
    tracks = [clips.track(clips.speech()), clips.track(clips.silence(3))]
    wide = worker.analyze(tracks)
    asked = narrow(monkeypatch, 1)
    halved = worker.analyze(tracks)
    assert max(asked) > 1 and asked.count(1) == len(wide[0].value)
    np.testing.assert_allclose(
        numbers([s.rating for s in wide[0].value]), numbers([s.rating for s in halved[0].value]), atol=2e-6
    )
    narrow(monkeypatch, 0)
    spoken, silent = worker.analyze(tracks)
    assert spoken.error is not None and spoken.error.type == "OutOfMemoryError"
    assert "176000 at 16000 Hz" in spoken.error.message
    assert silent.ok


def copied(store: Path, target: Path) -> Path:
    return Path(shutil.copytree(store / "wav2vec2_base_superb_er", target / "mine"))


def test_names_of_older_checkpoints_are_understood(store: Path, tmp_path: Path, stretches: list[clips.Samples]) -> None:
    """The published ones write the positional convolution's weight norm as weight_g and weight_v."""
    from safetensors.torch import load_file, save_file

    folder = copied(store, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): values
        for name, values in tensors.items()
    }
    assert older.keys() != tensors.keys()
    save_file(older, folder / "model.safetensors", {"format": "pt"})
    ratings = rater(loaded(store, EmotionOptions(model=str(folder)))).rate(stretches[:1])
    assert ratings == rater(loaded(store, EmotionOptions())).rate(stretches[:1])


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_missing_file_has_a_remedy(store: Path, tmp_path: Path, file: str) -> None:
    folder = copied(store, tmp_path)
    (folder / file).unlink()
    with pytest.raises(ModelUnavailable, match=r"cannot be used.*models fetch"):
        loaded(store, EmotionOptions(model=str(folder)))


def test_weights_that_are_not_there_have_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "yamnet").symlink_to(load_settings().models_dir / "yamnet")
    with pytest.raises(ModelUnavailable, match="reelscope models fetch wav2vec2_base_superb_er"):
        loaded(tmp_path, EmotionOptions())


def test_a_checkpoint_without_the_head_is_refused(store: Path, tmp_path: Path) -> None:
    """transformers would fill the head with random numbers."""
    from safetensors.torch import load_file, save_file

    folder = copied(store, tmp_path)
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("classifier")}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailable, match="missing"):
        loaded(store, EmotionOptions(model=str(folder)))


@pytest.mark.parametrize("labels", [{0: "LABEL_0", 1: "LABEL_1"}, {0: "english", 1: "german"}])
def test_a_model_of_other_things_is_refused(store: Path, tmp_path: Path, labels: dict[int, str]) -> None:
    folder = copied(store, tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "id2label": labels}), encoding="utf-8")
    with pytest.raises(ModelUnavailable, match="nor known emotions"):
        loaded(store, EmotionOptions(model=str(folder)))


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_a_quantized_model_rates_about_the_same(store: Path, stretches: list[clips.Samples], quantize: str) -> None:
    plain = rater(loaded(store, EmotionOptions())).rate(stretches)
    analyzer = loaded(store, EmotionOptions(quantize=quantize))
    assert analyzer.model.precision == f"{quantize} float32"
    np.testing.assert_allclose(
        [one.arousal for one in rater(analyzer).rate(stretches)], [one.arousal for one in plain], atol=0.15
    )


def test_only_the_full_profile_takes_a_gpu() -> None:
    assert SpeechEmotion.spec_for("embedded", EmotionOptions()) == SpeechEmotion.spec
    full = SpeechEmotion.spec_for("full", EmotionOptions())
    assert full.gpu_gb > SpeechEmotion.spec_for("full", EmotionOptions(batch_s=30)).gpu_gb > 0
    assert full.batch > 1
