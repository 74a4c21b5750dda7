"""Whisper of the full profile: many stretches at once say the same as one by one, and its files are checked.

Words come from the real weights of Whisper base, which lie in the embedded store in the same format: the code is that
of large-v3-turbo. Files, arithmetic and marks are tried on a small random checkpoint of large-v3's shape.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.models.hub import RANDOM_NOTE
from analyzers.models.whisper import compute_type
from analyzers.speech_transcription import SpeechOptions, SpeechPart, SpeechReport, SpeechTranscription
from benchmarks.truth.speech_transcription import word_error_rate
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import AudioTrack
from pipeline.worker import AnalyzerWorker
from tests.full.checkpoints.whisper import write_whisper
from tests.media import audio_clips as clips

FACTS = VideoFacts(source="", sha256="", bytes=0, duration_s=0)
STORE = load_settings().models_dir
REAL = SpeechOptions(model=str(STORE / "whisper_base"), batch_size=8, beam_size=2)


def loaded(options: SpeechOptions, models_dir: Path = STORE) -> SpeechTranscription:
    analyzer = SpeechTranscription(options)
    analyzer.load("cpu", Profile("full", models_dir))
    return analyzer


@pytest.fixture(scope="module")
def analyzer() -> SpeechTranscription:
    return loaded(REAL)


@pytest.fixture(scope="module")
def tracks() -> list[AudioTrack]:
    """English, German, both in one clip, a song, and silence."""
    speech, german = clips.speech(), clips.german()
    both = np.concatenate([speech[: 5 * clips.RATE_HZ], clips.silence(1), german[: 4 * clips.RATE_HZ]])
    return [clips.track(s, float(i)) for i, s in enumerate([speech, german, both, clips.not_speech()["song"]])] + [
        clips.track(clips.silence(5))
    ]


@pytest.fixture(scope="module")
def together(analyzer: SpeechTranscription, tracks: list[AudioTrack]) -> list[SpeechPart]:
    return analyzer.analyze_many(tracks)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small random large-v3-turbo."""
    store = tmp_path_factory.mktemp("models")
    write_whisper(store / "whisper_large_v3_turbo")
    return store


def report(analyzer: SpeechTranscription, part: SpeechPart) -> SpeechReport:
    return analyzer.summarize([part], Upstream(FACTS))


def test_real_english_is_written_down_without_an_error(
    analyzer: SpeechTranscription, together: list[SpeechPart]
) -> None:
    found = report(analyzer, together[0])
    assert word_error_rate(clips.JFK_TEXT, found.summary.text) == 0
    assert (found.summary.language, found.summary.languages.keys()) == ("en", {"en"})


def test_german_is_found_among_the_candidates(analyzer: SpeechTranscription, together: list[SpeechPart]) -> None:
    found = report(analyzer, together[1])
    assert found.summary.language == "de"
    assert word_error_rate(clips.GERMAN_TEXT, found.summary.text) <= 0.15
    assert set(report(analyzer, together[2]).summary.languages) == {"en", "de"}


def test_music_and_silence_have_no_words(analyzer: SpeechTranscription, together: list[SpeechPart]) -> None:
    assert [report(analyzer, part).summary.text for part in together[3:]] == ["", ""]


def test_clips_together_say_what_each_says_alone(
    analyzer: SpeechTranscription, tracks: list[AudioTrack], together: list[SpeechPart]
) -> None:
    assert [analyzer.analyze(track) for track in tracks] == together


def test_neither_order_nor_threads_beside_a_gpu_matter(
    analyzer: SpeechTranscription, tracks: list[AudioTrack], together: list[SpeechPart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyzer, "_threads", 3)
    monkeypatch.setattr(analyzer._whisper, "_threads", 3)
    assert analyzer.analyze_many([tracks[3], tracks[1]]) == [together[3], together[1]]


def test_stretches_of_several_clips_share_a_call(
    analyzer: SpeechTranscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper: Any = analyzer._whisper
    sizes: list[int] = []
    encode = whisper._whisper.encode
    monkeypatch.setattr(whisper._whisper, "encode", lambda batch: (sizes.append(len(batch)), encode(batch))[1])
    analyzer.analyze_many([clips.track(clips.speech()[: 4 * clips.RATE_HZ])] * 3)
    assert 3 <= max(sizes) <= REAL.batch_size
    assert sum(sizes) % 3 == 0


def test_what_memory_has_no_room_for_is_tried_in_halves(
    analyzer: SpeechTranscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper: Any = analyzer._whisper
    encode, sizes = whisper._whisper.encode, []

    def narrow(batch: np.ndarray[Any, Any]) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError("CUDA failed with error out of memory")
        return encode(batch)

    short = clips.track(clips.speech()[: 4 * clips.RATE_HZ])
    alone = analyzer.analyze(short)
    monkeypatch.setattr(whisper._whisper, "encode", narrow)
    assert analyzer.analyze_many([short] * 3) == [alone] * 3
    assert max(sizes) > 2


def test_a_gpu_without_room_for_one_stretch_fails_each_clip_with_its_size(
    tracks: list[AudioTrack], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = AnalyzerWorker(SpeechTranscription, REAL, "cpu", Profile("full", STORE))
    assert worker.load().ok
    whisper: Any = worker._analyzer._whisper  # type: ignore[attr-defined]

    def full(batch: Any) -> Any:
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(whisper._whisper, "encode", full)
    spoken, silent = worker.analyze([tracks[0], tracks[4]])
    assert spoken.error is not None and spoken.error.type == "CudaOutOfMemory"
    assert "176000 at 16000 Hz" in spoken.error.message
    assert silent.ok


def test_a_local_folder_is_named_and_has_no_known_licence(analyzer: SpeechTranscription) -> None:
    model = analyzer.model
    assert (model.id, model.revision, model.licence, model.random_weights) == (
        "whisper_base", "local", "unknown", False
    )  # fmt: skip
    assert "folder whisper_base" in str(model.note)
    assert model.backend.startswith("ctranslate2 4.")


def test_a_random_checkpoint_runs_and_says_that_it_is_no_answer(small: Path, tracks: list[AudioTrack]) -> None:
    analyzer = loaded(SpeechOptions(), small)
    assert analyzer.model.id == "random:whisper_large_v3_turbo"
    assert analyzer.model.random_weights
    assert RANDOM_NOTE in str(analyzer.model.note)
    part = analyzer.analyze(tracks[0])
    assert SpeechReport.model_validate_json(report(analyzer, part).model_dump_json()).summary.words == 0


def test_random_stretches_of_one_length_decode_together_as_alone(small: Path) -> None:
    whisper = loaded(SpeechOptions(), small)._whisper
    speech = clips.speech()
    sounds = [(speech[:48_000], "en"), (speech[16_000:60_000], "en"), (speech, "de"), (speech[:9_000], "de")]
    alone = [whisper.transcribe([sound], 2)[0] for sound in sounds]
    assert whisper.transcribe(sounds, 2) == alone
    assert whisper.language_scores([s for s, _ in sounds]) == [dict(one.languages) for one in alone]


@pytest.mark.parametrize("file", ["model.bin", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named_with_the_remedy(small: Path, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(small / "whisper_large_v3_turbo", folder)
    (folder / file).unlink()
    with pytest.raises(ModelUnavailable, match=f"{file} is missing.*models fetch"):
        loaded(SpeechOptions(model=str(folder)))


@pytest.mark.parametrize(("file", "content"), [("model.bin", b"no model"), ("tokenizer.json", b"{"), ("", b"")])
def test_damaged_files_are_refused(small: Path, tmp_path: Path, file: str, content: bytes) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(small / "whisper_large_v3_turbo", folder)
    if file:
        (folder / file).write_bytes(content)
    else:  # without it faster-whisper would make 80 bands for a model that takes 128
        (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        loaded(SpeechOptions(model=str(folder)))


def test_weights_that_are_not_there_have_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch whisper_large_v3_turbo"):
        loaded(SpeechOptions(), tmp_path)


def wished(supported: Sequence[str], *, on_gpu: bool, **options: Any) -> tuple[str, bool]:
    chosen, note = compute_type(SpeechOptions(**options), supported, on_gpu)
    return chosen, note is not None


def test_arithmetic_is_what_was_asked_for_or_the_report_says_why_not() -> None:
    gpu = ("float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16")
    assert wished(gpu, on_gpu=True) == ("float16", False)
    assert wished(gpu, on_gpu=True, quantize="8bit") == ("int8_float16", False)
    assert wished(gpu, on_gpu=True, quantize="8bit", precision="bfloat16") == ("int8_bfloat16", False)
    assert wished(gpu, on_gpu=True, quantize="4bit") == ("int8_float16", True)
    assert wished(("float32", "int8"), on_gpu=False) == ("int8", False)
    assert wished(("float32", "int8"), on_gpu=False, quantize="8bit") == ("int8", False)
    assert wished(("float32", "int8"), on_gpu=False, precision="float16") == ("float32", True)


def test_only_the_full_profile_takes_a_gpu_and_8_bit_takes_less_of_it() -> None:
    assert SpeechTranscription.spec_for("embedded", SpeechOptions()) == SpeechTranscription.spec
    full, small = (SpeechTranscription.spec_for("full", SpeechOptions(quantize=q)) for q in ("none", "8bit"))
    assert 0 < small.gpu_gb < full.gpu_gb
    assert SpeechTranscription.spec_for("full", SpeechOptions(batch_size=1)).gpu_gb < full.gpu_gb
    assert full.batch > 1
