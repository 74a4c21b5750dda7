"""On-screen text: odd pictures, what is read again and what is not, how readings become texts, safe zones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from analyzers.methods import safe_zones as safe_zones_module
from analyzers.methods.safe_zones import covering, safe_zones
from analyzers.models.onnx import zero_tiny_weights
from analyzers.models.pp_ocr import PpOcr, Reading, cores_to_boxes, join_lines
from analyzers.models.read_changes import Line, changed_rows, small_light
from analyzers.models.store import ModelStore
from analyzers.text_overlay import (
    Sample,
    TextOverlay,
    TextOverlayOptions,
    TextPart,
    TextReport,
    alike,
    follow,
    shown,
)
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import READ, FrameBatch
from tests.media.scenes import scene
from tests.media.text_clips import Caption, draw, pan, photo

STILL, MOVING = bytes(64), bytes([20] * 64)
PLACE = (0.2, 0.70, 0.8, 0.75)


@pytest.fixture(scope="module")
def analyzer() -> TextOverlay:
    loaded = TextOverlay()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def upstream() -> Upstream:
    return Upstream(VideoFacts(source="v", sha256="0", bytes=1, duration_s=1.0))


def batch(frames: Sequence[npt.NDArray[np.uint8]], index: int = 0) -> FrameBatch:
    start_s = index * 1.0 - (0.25 if index else 0.0)
    pts_s = start_s + np.arange(len(frames), dtype=np.float64) * 0.25
    return FrameBatch("v", READ, index, np.stack(frames), pts_s, last=False, end_s=float(pts_s[-1]) + 0.25)


def report_of(analyzer: TextOverlay, *items: FrameBatch) -> TextReport:
    return analyzer.summarize([analyzer.analyze(item) for item in items], upstream())


def background(seed: int = 5, height: int = 1280, width: int = 720) -> npt.NDArray[np.uint8]:
    return scene(seed, width, height, shapes=6)


def line(text: str, score: float = 0.95, box: tuple[float, float, float, float] = PLACE, even: bool = True) -> Line:
    return Line(text, score, box, even)


def sample(step: int, *lines: Line, motion: bytes = MOVING, rows: tuple[float, float] | None = (0.0, 1.0)) -> Sample:
    return Sample(step * 0.25, rows, lines, motion)


def summarized(*samples: Sample) -> TextReport:
    part = TextPart(samples, 9 / 16, samples[-1].pts_s + 0.25)
    return TextOverlay().summarize([part], upstream())


# --- reading ----------------------------------------------------------------------------------------------------------


def test_umlauts_and_signs_are_read_right(analyzer: TextOverlay) -> None:
    captions = [
        Caption("Größe zählt: Übung für Ärzte", 0, 1, y=0.3, outline=3),
        Caption("100 % süß und 5 € #ad @mich!", 0, 1, y=0.5, size=50, outline=3),
    ]
    report = report_of(analyzer, batch([draw(background(), captions)]))
    assert [segment.text.replace(" ", "") for segment in report.segments] == [
        "Größezählt:ÜbungfürÄrzte", "100%süßund5€#ad@mich!",
    ]  # fmt: skip
    assert report.summary.full_text == "\n".join(segment.text for segment in report.segments)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (8, 8), (32, 2000), (180, 720), (2880, 720), (27, 48), (1280, 720)]
)
@pytest.mark.parametrize("kind", ["black", "noise", "shapes"])
def test_nothing_is_read_where_nothing_is_written(analyzer: TextOverlay, height: int, width: int, kind: str) -> None:
    rng = np.random.default_rng(height)
    if kind == "black":
        frame = np.zeros((height, width, 3), np.uint8)
    elif kind == "noise":
        frame = np.asarray(rng.integers(0, 256, (height, width, 3)), np.uint8)
    else:
        frame = background(3, max(64, height), max(64, width))[:height, :width]
    assert report_of(analyzer, batch([frame])).segments == []


def test_textured_photos_without_letters_give_no_text(analyzer: TextOverlay) -> None:
    picture = photo("t1.jpg")
    assert report_of(analyzer, batch([pan(picture, share) for share in (0.1, 0.3, 0.5)])).segments == []


def test_small_and_square_videos_are_read_too(analyzer: TextOverlay) -> None:
    for height, width in ((426, 240), (720, 720), (360, 640)):
        frame = draw(background(4, height, width), [Caption("Hello World", 0, 1, y=0.5, size=80)])
        assert [s.text.replace(" ", "") for s in report_of(analyzer, batch([frame])).segments] == ["HelloWorld"]


def test_the_answer_is_the_same_twice_and_parts_are_small(analyzer: TextOverlay) -> None:
    item = batch([draw(background(n), [Caption("Same again", 0, 1, outline=4)]) for n in range(3)])
    other = pickle.loads(pickle.dumps(TextOverlay()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)
    assert len(pickle.dumps(analyzer.analyze(item))) < 100_000


class Counting:
    """Counts how often a network is asked."""

    def __init__(self, analyzer: TextOverlay, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found = self.read = 0
        engine = analyzer._engine
        assert isinstance(engine, PpOcr)
        find, read = engine.detector.find, engine.reader.read

        def counted_find(picture: npt.NDArray[np.uint8], scale: float) -> list[tuple[int, int, int, int]]:
            self.found += 1
            return find(picture, scale)

        def counted_read(crop: npt.NDArray[np.uint8]) -> Reading:
            self.read += 1
            return read(crop)

        monkeypatch.setattr(engine.detector, "find", counted_find)
        monkeypatch.setattr(engine.reader, "read", counted_read)


def test_what_did_not_change_since_the_chunk_before_is_not_looked_at(
    analyzer: TextOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = draw(background(), [Caption("Standing still", 0, 9, outline=4)])
    counting = Counting(analyzer, monkeypatch)
    report = report_of(analyzer, batch([frame] * 4), batch([frame] * 5, index=1))
    assert (counting.found, counting.read) == (1, 1)
    assert [(s.text, s.start, s.end) for s in report.segments] == [("Standing still", 0.0, 2.0)]


def test_standing_letters_are_read_once_a_chunk_while_the_picture_moves(
    analyzer: TextOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo("zidane.jpg")
    frames = [draw(pan(picture, n / 8), [Caption("It stays", 0, 9, y=0.2, size=60)]) for n in range(4)]
    counting = Counting(analyzer, monkeypatch)
    report = report_of(analyzer, batch(frames))
    assert counting.read <= 2
    assert [(s.text, s.kind) for s in report.segments] == [("It stays", "overlay")]


def test_one_changed_digit_is_read_again(analyzer: TextOverlay) -> None:
    plain = background()
    frames = [draw(plain, [Caption(f"Tip number {n} of 9", 0, 1, size=56, outline=4)]) for n in (1, 1, 2, 2)]
    report = report_of(analyzer, batch(frames))
    assert [(s.text.replace(" ", ""), s.start, s.end) for s in report.segments] == [
        ("Tipnumber1of9", 0.0, 0.5), ("Tipnumber2of9", 0.5, 1.0),
    ]  # fmt: skip


def test_text_that_comes_in_a_later_chunk_starts_there(analyzer: TextOverlay) -> None:
    plain = background()
    written = draw(plain, [Caption("Now you see me", 0, 9, outline=4)])
    report = report_of(analyzer, batch([plain] * 4), batch([plain, plain, written, written, plain], index=1))
    assert [(s.text, s.start, s.end) for s in report.segments] == [("Now you see me", 1.25, 1.75)]


def test_only_rows_with_changed_strokes_are_looked_at() -> None:
    plain = background()
    low = draw(plain, [Caption("down here", 0, 1, y=0.8)])
    assert changed_rows(small_light(plain), small_light(plain)) is None
    rows = changed_rows(small_light(plain), small_light(low))
    assert rows is not None
    assert 0.6 < rows[0] < 0.79
    assert 0.81 < rows[1] < 0.95


# --- joining ----------------------------------------------------------------------------------------------------------


def test_variants_of_one_text_are_one_and_the_best_reading_stays() -> None:
    report = summarized(
        sample(0, line("Hello wor1d", 0.8)), sample(1, line("Hello world", 0.99)), sample(2, line("Helo world", 0.85))
    )
    assert [(s.text, s.start, s.end, s.kind) for s in report.segments] == [("Hello world", 0.0, 0.75, "overlay")]


def test_captions_that_follow_one_another_are_apart() -> None:
    report = summarized(*(sample(n, line(text, 0.99)) for n, text in enumerate(["ONE", "ONE", "TWO", "THREE"])))
    assert [(s.text, s.start, s.end) for s in report.segments] == [
        ("ONE", 0.0, 0.5), ("TWO", 0.5, 0.75), ("THREE", 0.75, 1.0),
    ]  # fmt: skip
    assert report.summary.overlay_text == "ONE\nTWO\nTHREE"


def test_text_typed_letter_by_letter_is_one_text() -> None:
    report = summarized(*(sample(n, line("I LOVE YOU"[: n + 4], 0.99)) for n in range(7)))
    assert [s.text for s in report.segments] == ["I LOVE YOU"]


def test_a_text_missed_once_goes_on_and_missed_for_long_is_two() -> None:
    assert len(summarized(sample(0, line("text")), sample(1), sample(2, line("text"))).segments) == 1
    gaps = [sample(n) for n in range(1, 6)]
    report = summarized(sample(0, line("text", 0.99)), *gaps, sample(6, line("text", 0.99)))
    assert [s.start for s in report.segments] == [0.0, 1.5]


def test_one_surely_misread_sample_does_not_tear_a_text() -> None:
    told = ["eléctrico", "eléctrico", "eléctrican", "eléctrico", "eléctrico"]
    report = summarized(*(sample(n, line(text, 0.99)) for n, text in enumerate(told)))
    assert [(s.text, s.start, s.end) for s in report.segments] == [("eléctrico", 0.0, 1.25)]
    counted = ["Tip 1", "Tip 1", "Tip 2", "Tip 1", "Tip 1"]
    report = summarized(*(sample(n, line(text, 0.99)) for n, text in enumerate(counted)))
    assert "Tip 2" in [s.text for s in report.segments]


def test_what_moves_with_the_picture_is_scene_text() -> None:
    moving = [line("BAKERY", 0.99, (0.1 + 0.04 * n, 0.3, 0.4 + 0.04 * n, 0.36)) for n in range(4)]
    report = summarized(*(sample(n, moving[n], line("caption")) for n in range(4)))
    assert {s.text: s.kind for s in report.segments} == {"BAKERY": "scene", "caption": "overlay"}


def test_where_nothing_moves_the_letters_decide() -> None:
    drawn, photographed = line("drawn"), line("painted", box=(0.1, 0.1, 0.5, 0.2), even=False)
    report = summarized(*(sample(n, drawn, photographed, motion=STILL) for n in range(3)))
    assert {s.text: s.kind for s in report.segments} == {"drawn": "overlay", "painted": "scene"}


def test_unsure_text_seen_once_is_left_out_but_not_from_a_single_picture() -> None:
    assert summarized(sample(0, line("maybe", 0.8)), sample(1)).segments == []
    assert [s.text for s in summarized(sample(0, line("maybe", 0.8), motion=STILL)).segments] == ["maybe"]


def test_rows_that_were_not_looked_at_keep_their_lines() -> None:
    top, low = line("top", box=(0.2, 0.1, 0.8, 0.15)), line("low", box=(0.2, 0.8, 0.8, 0.85))
    samples = [sample(0, top, low), sample(1, line("new", box=low.box), rows=(0.7, 0.95)), sample(2, rows=None)]
    assert [[n.text for n in lines] for lines in shown(samples)] == [["top", "low"], ["top", "new"], ["top", "new"]]
    assert len(follow(samples, 9 / 16)) == 3


def test_two_sure_readings_that_differ_are_two_texts() -> None:
    assert alike(line("Tip 1", 0.99), line("Tip 2", 0.99), 0.56) == 0
    assert alike(line("Tip 1", 0.99), line("Tip l", 0.8), 0.56) > 0
    assert alike(line("Hello"), line("Goodbye"), 0.56) == 0


def test_the_summary_counts_overlays_and_their_time() -> None:
    report = summarized(sample(0), sample(1, line("here", 0.99)), sample(2, line("here", 0.99)), sample(3))
    summary = report.summary
    assert (summary.overlays, summary.scene_texts, summary.overlay_share) == (1, 0, 0.5)
    assert summary.first_overlay_s == 0.25
    assert TextOverlay().summarize([], upstream()).summary.first_overlay_s is None


# --- safe zones -------------------------------------------------------------------------------------------------------


ZONES = safe_zones()


def test_a_box_in_the_middle_is_safe_and_one_under_the_buttons_is_not() -> None:
    assert covering((0.2, 0.4, 0.8, 0.5), 9 / 16, ZONES) == []
    assert covering((0.2, 0.9, 0.8, 0.95), 9 / 16, ZONES) == ["reels", "shorts", "tiktok"]
    assert covering((0.2, 0.1, 0.8, 0.13), 9 / 16, ZONES) == ["reels", "shorts"]
    assert covering((0.2, 0.68, 0.8, 0.72), 9 / 16, ZONES) == ["reels", "shorts"]
    assert covering((0.5, 0.4, 0.85, 0.5), 9 / 16, ZONES) == ["shorts"]


def test_a_wide_video_stands_in_the_middle_of_the_screen() -> None:
    assert covering((0.2, 0.8, 0.8, 0.95), 16 / 9, ZONES) == []
    assert covering((0.0, 0.4, 0.5, 0.6), 16 / 9, ZONES) == ["reels", "shorts", "tiktok"]


def test_the_zones_are_those_of_the_platforms_with_their_sources() -> None:
    data = json.loads((Path(safe_zones_module.__file__).parent / "safe_zones.json").read_text(encoding="utf-8"))
    assert {zone["name"] for zone in data["zones"]} == set(ZONES) == {"tiktok", "reels", "shorts"}
    assert all(len(zone["source"]) > 40 for zone in data["zones"])
    assert ZONES["reels"] == pytest.approx((0.06, 0.14, 0.94, 0.65), abs=0.001)


def test_a_deployment_may_set_its_own_zones() -> None:
    options = TextOverlayOptions(safe_zones={"mine": (0.0, 0.0, 1.0, 0.5)})
    low = sample(0, line("low down", box=(0.2, 0.7, 0.8, 0.75)))
    report = TextOverlay(options).summarize([TextPart((low,), 9 / 16, 0.25)], upstream())
    assert [(s.in_safe_zone, s.covered_by) for s in report.segments] == [(False, ["mine"])]
    assert report.summary.covered == {"mine": 1}


# --- networks ---------------------------------------------------------------------------------------------------------


def test_words_of_one_line_are_joined_and_lines_are_not() -> None:
    boxes = [(200, 100, 300, 140), (60, 104, 180, 142), (60, 150, 300, 190), (700, 100, 800, 140)]
    assert join_lines(boxes) == [(60, 100, 300, 142), (700, 100, 800, 140), (60, 150, 300, 190)]


def test_cores_grow_to_boxes_and_specks_do_not() -> None:
    probability = np.zeros((64, 96), np.float32)
    probability[20:28, 10:70] = 0.9
    probability[50:52, 50:52] = 0.9
    ((x0, y0, x1, y1),) = cores_to_boxes(probability)
    grow = 8 * 60 * 1.6 / (2 * 68)
    assert (x0, y0, x1, y1) == pytest.approx((10 - grow, 20 - grow, 70 + grow, 28 + grow))


def test_zeroing_tiny_weights_speeds_up_and_changes_no_answer() -> None:
    path: Path = ModelStore().path("pp_ocr_v6_small", "detection.onnx")
    model = bytearray(path.read_bytes())
    assert zero_tiny_weights(model) > 100_000
    assert zero_tiny_weights(model) == 0
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 96)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": picture})[0]
        for data in (path.read_bytes(), bytes(model))
    )
    np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("content", [b"\x0b", b"\x3a\xff\x01", b"\xff" * 12, b"\x80"])
def test_what_is_no_network_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not an ONNX network"):
        zero_tiny_weights(bytearray(content))
