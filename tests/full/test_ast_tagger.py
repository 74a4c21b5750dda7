"""AST in audio_environment and sound_effects: its input is the official one, together is as alone, work is shared.

Weights are random, so nothing here says that it hears right.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.audio_environment import AudioEnvironment, EnvironmentReport
from analyzers.models import ast_tagger, yamnet
from analyzers.models.ast_tagger import FRAMES, PATCH_S, AstTagger, columns, fbank
from analyzers.models.recall import Recall
from analyzers.models.tagger import TagOptions
from analyzers.models.yamnet import HOP_S, class_names
from analyzers.sound_effects import EffectsReport, SoundEffects
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.ast import audioset_names, write_ast
from tests.media import audio_clips as clips

# The official extractor's lowest bands are narrower than a frequency of its spectrum.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values:UserWarning")
FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)
CLASS_MAP = load_settings().models_dir / "yamnet" / "class_map.csv"
OPTIONS = TagOptions(batch_size=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small random AST, and YAMNet's list of classes."""
    folder = tmp_path_factory.mktemp("models")
    write_ast(folder / "ast_audioset")
    (folder / "yamnet").mkdir()
    shutil.copy(CLASS_MAP, folder / "yamnet")
    return folder


def loaded(store: Path, options: TagOptions = OPTIONS) -> AudioEnvironment:
    analyzer = AudioEnvironment(options)
    analyzer.load("cpu", Profile("full", store))
    return analyzer


@pytest.fixture(scope="module")
def analyzer(store: Path) -> AudioEnvironment:
    return loaded(store)


@pytest.fixture
def tagger(analyzer: AudioEnvironment, monkeypatch: pytest.MonkeyPatch) -> AstTagger:
    """One that has answered nothing yet."""
    assert isinstance(analyzer._tagger, AstTagger)
    monkeypatch.setattr(Recall, "_kept", {})
    monkeypatch.setattr(analyzer._tagger, "_recall", Recall("fresh", ast_tagger.ANSWERS_KEPT))
    return analyzer._tagger


@pytest.fixture(scope="module")
def sounds() -> list[clips.Samples]:
    """Sounds of lengths that share nothing: 7.3 s, 2 s, 0.7 s, a few samples, none."""
    speech, noise = clips.speech(), clips.noise(2, -30)
    return [speech[: round(7.3 * clips.RATE_HZ)], noise, speech[-11_000:], speech[9_000:9_100], noise[:0]]


def test_the_input_is_what_the_official_extractor_makes(tagger: AstTagger, sounds: list[clips.Samples]) -> None:
    from transformers import ASTFeatureExtractor

    official = ASTFeatureExtractor()
    for samples in (*sounds[:3], clips.silence(1)):
        theirs = official(samples, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        ours = np.zeros_like(theirs)
        frames = fbank(samples, tagger._filters)
        ours[: len(frames)] = frames
        np.testing.assert_allclose((ours - official.mean) / (2 * official.std), theirs, atol=1e-4)


def test_a_patch_is_a_slice_of_the_tracks_frames(tagger: AstTagger, sounds: list[clips.Samples]) -> None:
    whole, start = fbank(sounds[0], tagger._filters), round(3 * HOP_S * clips.RATE_HZ)
    alone = fbank(sounds[0][start : start + round(PATCH_S * clips.RATE_HZ)], tagger._filters)
    assert len(alone) == FRAMES
    np.testing.assert_allclose(whole[start // 160 : start // 160 + FRAMES], alone, atol=1e-5)


def test_scores_are_those_of_the_official_model_on_the_official_input(
    store: Path, tagger: AstTagger, sounds: list[clips.Samples]
) -> None:
    import torch
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

    folder = store / "ast_audioset"
    model = ASTForAudioClassification.from_pretrained(folder).eval()
    patch = sounds[0][round(2 * HOP_S * clips.RATE_HZ) :][: round(PATCH_S * clips.RATE_HZ)]
    values = ASTFeatureExtractor.from_pretrained(folder)(patch, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**values).logits[0].numpy() + OPTIONS.score_shift
    theirs = dict(zip(audioset_names(), 1 / (1 + np.exp(-logits)), strict=True))
    ours = dict(zip(tagger.names, tagger.scores_many(sounds[:1])[0][2], strict=True))
    for name in ("Child speech, kid speaking", "Dog", "Rain", "Field recording"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-4)
    speech = ("Speech", "Male speech, man speaking", "Female speech, woman speaking")
    assert ours["Speech"] == pytest.approx(max(theirs[name] for name in speech), abs=1e-4)


def test_sounds_together_score_as_each_alone_in_any_order(
    tagger: AstTagger, sounds: list[clips.Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = tagger.scores_many(sounds)
    monkeypatch.setattr(tagger, "_recall", Recall("other", ast_tagger.ANSWERS_KEPT))
    backwards = tagger.scores_many(sounds[::-1])[::-1]
    for samples, one, other in zip(sounds, together, backwards, strict=True):
        monkeypatch.setattr(tagger, "_recall", Recall(f"alone {len(samples)}", ast_tagger.ANSWERS_KEPT))
        np.testing.assert_allclose(one, tagger.scores_many([samples])[0], atol=1e-5)
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [scores.shape for scores in together] == [(13, 521), (2, 521), (1, 521), (1, 521), (0, 521)]
    assert np.ptp(together[0], axis=0).max() > 0.01  # patches differ, so that equality says something


def test_both_analyzers_share_weights_and_answers(
    store: Path, tagger: AstTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    logits = AstTagger._logits
    monkeypatch.setattr(AstTagger, "_logits", lambda self, new: (asked.append(len(new)), logits(self, new))[1])
    environment, effects = loaded(store), SoundEffects(OPTIONS)
    effects.load("cpu", Profile("full", store))
    assert environment._tagger._model is effects._tagger._model  # type: ignore[attr-defined]
    samples = clips.laid_over(clips.noise(6, -55), [(2.3, clips.effects()["impact"])])
    environment.analyze(clips.track(samples))
    before = sum(asked)
    part = effects.analyze(clips.track(samples))
    assert before > 0 and sum(asked) == before
    assert max(asked) <= OPTIONS.batch_size
    assert part.duration_s == 6


def test_several_videos_report_as_each_alone(analyzer: AudioEnvironment, sounds: list[clips.Samples]) -> None:
    tracks = [clips.track(samples, 0.5) for samples in sounds]
    together = analyzer.analyze_many(tracks)
    for track, part in zip(tracks, together, strict=True):
        alone = analyzer.analyze(track)
        assert part.edges_s == alone.edges_s
        np.testing.assert_allclose(part.scores, alone.scores, atol=1e-5)


def test_effects_of_several_videos_are_as_each_alone(store: Path) -> None:
    effects = SoundEffects(OPTIONS)
    effects.load("cpu", Profile("full", store))
    kinds = [clips.effects()[kind] for kind in ("ding", "impact")]
    tracks = [clips.track(clips.laid_over(clips.noise(5, -55), [(2.3, sound)])) for sound in kinds]
    assert effects.analyze_many(tracks) == [effects.analyze(track) for track in tracks]


def test_threads_beside_a_gpu_make_the_same_input(
    tagger: AstTagger, sounds: list[clips.Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tagger.scores_many(sounds)
    monkeypatch.setattr(tagger, "_threads", 3)
    monkeypatch.setattr(tagger, "_recall", Recall("threads", ast_tagger.ANSWERS_KEPT))
    for one, other in zip(alone, tagger.scores_many(sounds), strict=True):
        np.testing.assert_array_equal(one, other)


def narrow(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """A GPU with room for so many patches."""
    import torch

    asked: list[int] = []
    logits = AstTagger._logits

    def compute(self: AstTagger, patches: Any) -> Any:
        asked.append(len(patches))
        if len(patches) > room:
            raise torch.OutOfMemoryError("injected")
        return logits(self, patches)

    monkeypatch.setattr(AstTagger, "_logits", compute)
    monkeypatch.setattr(Recall, "_kept", {})
    return asked


def outcomes(store: Path, tracks: list[AudioTrack]) -> list[Any]:
    worker = AnalyzerWorker(AudioEnvironment, OPTIONS, "cpu", Profile("full", store))
    assert worker.load().ok
    return worker.analyze(tracks)


def test_what_memory_has_no_room_for_is_tried_in_halves(
    store: Path, sounds: list[clips.Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = [clips.track(samples) for samples in sounds[:2]]
    wide = outcomes(store, tracks)
    asked = narrow(monkeypatch, 1)
    for one, other in zip(wide, outcomes(store, tracks), strict=True):
        np.testing.assert_allclose(one.value.scores, other.value.scores, atol=1e-5)
    assert max(asked) == 4 and asked.count(1) >= 15


def test_without_room_for_one_patch_each_video_fails_with_its_size(
    store: Path, sounds: list[clips.Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow(monkeypatch, 0)
    one, other, empty = outcomes(store, [clips.track(sounds[0]), clips.track(sounds[1]), clips.track(sounds[4])])
    assert one.error.type == other.error.type == "OutOfMemoryError"
    assert "32000 at 16000 Hz" in other.error.message
    assert empty.ok


def test_reports_validate_and_say_that_weights_are_random(store: Path, analyzer: AudioEnvironment) -> None:
    track = clips.track(clips.speech()[: 3 * clips.RATE_HZ])
    report = analyzer.summarize([analyzer.analyze(track)], Upstream(FACTS))
    assert EnvironmentReport.model_validate_json(report.model_dump_json()) == report
    assert (report.segments[0].start, report.segments[-1].end) == (0, 3)
    model = analyzer.model
    assert (model.id, model.licence, model.random_weights) == ("random:ast_audioset", "none", True)
    assert "not an answer" in str(model.note) and "not verified" in str(model.note)
    effects = SoundEffects(OPTIONS)
    effects.load("cpu", Profile("full", store))
    found = effects.summarize([effects.analyze(track)], Upstream(FACTS))
    assert EffectsReport.model_validate_json(found.model_dump_json()) == found
    assert effects.model.random_weights and "signal processing" in str(effects.model.note)


def test_classes_are_found_by_name_or_by_audiosets_number() -> None:
    names, labels = class_names(CLASS_MAP), audioset_names()
    known = {0: "Speech", 12: "Battle cry", 32: "Male singing", 72: "Animal", 137: "Music", 277: "Funny music",
             300: "Vehicle", 526: "Field recording"}  # fmt: skip
    assert {number: labels[number] for number in known} == known
    by_name, folded = columns(labels[::-1], names)
    assert [labels[::-1][column] for column in by_name] == list(names)
    assert (names.index("Singing"), labels[::-1].index("Female singing")) in folded
    labels[138] = "musical instruments"
    assert columns(labels, names)[0][133] == 138


@pytest.mark.parametrize("labels", [["Speech", "Music"], [f"class {number}" for number in range(527)]])
def test_classes_of_something_else_are_refused(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="are not AudioSet's 527"):
        columns(labels, class_names(CLASS_MAP))


def test_a_higher_shift_gives_higher_scores(store: Path, sounds: list[clips.Samples]) -> None:
    low, high = (loaded(store, TagOptions(score_shift=shift))._tagger.scores_many(sounds[1:2])[0] for shift in (0, 1))
    assert np.all(high > low)


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_a_quantized_model_scores_in_the_same_order(store: Path, sounds: list[clips.Samples], quantize: str) -> None:
    analyzer = loaded(store, TagOptions(quantize=quantize))
    assert analyzer.model.precision == f"{quantize} float32"
    plain, quantized = (one._tagger.scores_many(sounds[1:2])[0].ravel() for one in (loaded(store), analyzer))
    assert np.corrcoef(plain, quantized)[0, 1] > 0.8
    assert not np.array_equal(plain, quantized)


def copied(store: Path, target: Path) -> Path:
    return Path(shutil.copytree(store / "ast_audioset", target / "mine"))


def test_missing_weights_and_files_have_a_remedy(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch ast_audioset"):
        loaded(tmp_path)
    for file in ("model.safetensors", "config.json", "preprocessor_config.json"):
        folder = copied(store, tmp_path / file)
        (folder / file).unlink()
        with pytest.raises(ModelUnavailable, match="cannot be used"):
            loaded(store, TagOptions(model=str(folder)))


def test_a_model_of_other_classes_is_refused(store: Path, tmp_path: Path) -> None:
    folder = copied(store, tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["id2label"] = {number: f"class {number}" for number in range(527)}
    config.pop("label2id")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelUnavailable, match="not AudioSet's 527"):
        loaded(store, TagOptions(model=str(folder)))


def test_yamnets_list_of_classes_must_be_there(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store / "ast_audioset", tmp_path / "ast_audioset")
    with pytest.raises(ModelUnavailable, match="yamnet"):
        loaded(tmp_path)


def test_only_the_full_profile_takes_a_gpu() -> None:
    for kind in (AudioEnvironment, SoundEffects):
        assert kind.spec_for("embedded", TagOptions()) == kind.spec
        full = kind.spec_for("full", TagOptions())
        assert full.gpu_gb > kind.spec_for("full", TagOptions(batch_size=1)).gpu_gb > 0
        assert full.batch > 1


def test_yamnet_answers_behind_the_same_seam(sounds: list[clips.Samples]) -> None:
    tagger, _ = yamnet.load(Profile("embedded", load_settings().models_dir))
    assert [len(scores) for scores in tagger.scores_many(sounds)] == [len(tagger.scores(s)) for s in sounds]
    at = tagger.scores_at([(sounds[0], [0, 16_000]), (sounds[1], [])])
    assert [scores.shape for scores in at] == [(2, 521), (0, 521)]
    np.testing.assert_array_equal(at[0][0], tagger.scores(sounds[0][:15_360])[0])
