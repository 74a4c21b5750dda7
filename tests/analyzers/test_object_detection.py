"""Objects: what is seen in odd pictures, that nothing is invented, and that tracks persist."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.models.ssd import SsdMobileNet, anchors, changed, decode, is_picture
from analyzers.models.store import ModelStore
from analyzers.models.tracking import Detection, Sample, camera_shift, confirmed, interpolate, link, suppress
from analyzers.object_detection import ObjectDetection, ObjectsPart, ObjectsReport, SsdDetector
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import SCAN, FrameBatch
from tests.media.text_clips import photo

THUMB = bytes(range(192))
OTHER_THUMB = bytes(255 - value for value in THUMB)


@pytest.fixture(scope="module")
def analyzer() -> ObjectDetection:
    loaded = ObjectDetection()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def upstream() -> Upstream:
    return Upstream(VideoFacts(source="v", sha256="0", bytes=1, duration_s=1.0))


def batch(*frames: npt.NDArray[np.uint8], step_s: float = 0.25) -> FrameBatch:
    pts_s = np.arange(len(frames), dtype=np.float64) * step_s
    return FrameBatch("v", SCAN, 0, np.stack(frames), pts_s, last=True, end_s=len(frames) * step_s)


def report_of(analyzer: ObjectDetection, *frames: npt.NDArray[np.uint8]) -> ObjectsReport:
    return analyzer.summarize([analyzer.analyze(batch(*frames))], upstream())


def seen(*detections: tuple[str, float, tuple[float, float, float, float]]) -> tuple[Detection, ...]:
    return tuple(Detection(*detection) for detection in detections)


def samples_of(steps: Sequence[tuple[Detection, ...] | None], thumbs: dict[int, bytes] | None = None) -> list[Sample]:
    return [Sample(n * 0.25, found, (thumbs or {}).get(n, THUMB)) for n, found in enumerate(steps)]


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_people_and_the_bus_are_found_in_a_photo_and_once_seen_persist(analyzer: ObjectDetection) -> None:
    report = report_of(analyzer, photo("bus.jpg"), photo("bus.jpg"))
    assert report.summary.counts == {"bus": 1, "person": 3}
    first, second = report.segments
    assert first.objects == second.objects
    assert {found.track for found in first.objects} == {1, 2, 3, 4}
    assert (first.start, first.end, second.end) == (0.0, 0.25, 0.5)
    person = next(figures for figures in report.summary.labels if figures.label == "person")
    assert (person.most_at_once, person.on_screen_s, person.longest_s) == (3, 0.5, 0.5)


SIZES = [(1, 1), (8, 8), (27, 48), (40, 640), (1920, 480), (853, 480)]
# Noise below the network's input size is enlarged to blobs, which may look like anything.
NOISE_SIZES = [(1, 1), (1920, 480), (853, 480)]


@pytest.mark.parametrize(
    ("kind", "height", "width"),
    [(kind, *size) for kind in ("black", "white", "ramp") for size in SIZES]
    + [(kind, *size) for kind in ("noise", "grey noise") for size in NOISE_SIZES],
)
def test_nothing_is_invented_in_pictures_of_nothing(
    analyzer: ObjectDetection, kind: str, height: int, width: int
) -> None:
    rng = np.random.default_rng(height)
    frame = {
        "black": np.zeros((height, width, 3), np.uint8),
        "white": np.full((height, width, 3), 255, np.uint8),
        "noise": np.asarray(rng.integers(0, 256, (height, width, 3)), np.uint8),
        "grey noise": np.repeat(np.asarray(rng.integers(0, 256, (height, width, 1)), np.uint8), 3, axis=2),
        "ramp": np.repeat(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))[:, :, None], 3, axis=2),
    }[kind]
    assert report_of(analyzer, frame).segments[0].objects == []


def test_the_answer_is_the_same_twice_and_from_another_worker(analyzer: ObjectDetection) -> None:
    item = batch(photo("zidane.jpg")[:, 100:505], photo("zidane.jpg")[:, 140:545])
    other = pickle.loads(pickle.dumps(ObjectDetection()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)
    assert len(pickle.dumps(analyzer.analyze(item))) < 1_000_000


def test_an_unchanged_picture_is_asked_about_once(analyzer: ObjectDetection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    network = analyzer._detector
    assert isinstance(network, SsdDetector)
    detect = network._detect

    def counted(small: npt.NDArray[np.uint8]) -> tuple[Detection, ...]:
        asked.append(1)
        return detect(small)

    monkeypatch.setattr(network, "_detect", counted)
    frame = photo("bus.jpg")
    noise = np.random.default_rng(0).integers(-2, 3, frame.shape)
    flicker = np.asarray(np.clip(frame.astype(np.int16) + noise, 0, 255), np.uint8)
    part = analyzer.analyze(batch(frame, flicker, frame[:, ::-1].copy()))
    assert len(asked) == 2
    assert part.samples[0].detections == part.samples[1].detections


def test_a_missing_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        ObjectDetection().load("cpu", Profile("embedded", tmp_path))


def test_a_small_change_in_one_place_counts_as_changed() -> None:
    before = np.zeros((300, 300, 3), np.uint8)
    after = before.copy()
    after[100:115, 100:115] = 60
    assert changed(before, after)
    assert not changed(before, before + 1)


def test_noise_and_plain_colour_are_no_pictures() -> None:
    rng = np.random.default_rng(0)
    assert not is_picture(np.asarray(rng.integers(0, 256, (300, 300, 3)), np.uint8))
    assert not is_picture(np.full((300, 300, 3), 77, np.uint8))
    assert is_picture(photo("bus.jpg")[:300, :300])


def test_boxes_of_one_object_become_one() -> None:
    a, b, c = (0.1, 0.1, 0.5, 0.9), (0.12, 0.1, 0.52, 0.9), (0.6, 0.1, 0.9, 0.9)
    kept = suppress(seen(("person", 0.6, b), ("person", 0.9, a), ("person", 0.7, c), ("dog", 0.5, a)))
    assert [(d.label, d.score) for d in kept] == [("person", 0.9), ("person", 0.7)]


# --- the network ------------------------------------------------------------------------------------------------------


def test_the_rewritten_network_answers_as_the_graph_does() -> None:
    path = ModelStore().path("ssd_mobilenet_v2_coco", "frozen_inference_graph.pb")
    picture = cv2.resize(photo("bus.jpg"), (300, 300), interpolation=cv2.INTER_AREA)
    boxes, scores = SsdMobileNet(path)(np.asarray(picture, np.uint8))
    assert (boxes.shape, scores.shape) == ((1917, 4), (1917, 91))
    best = scores[:, 6].argmax()  # what OpenCV's runtime answers for the bus, with the graph as it is
    assert scores[best, 6] == pytest.approx(0.8611, abs=1e-3)
    assert boxes[best] == pytest.approx((0.015, 0.193, 0.994, 0.706), abs=2e-3)


def test_codes_of_zero_are_the_anchors_themselves() -> None:
    around = anchors()
    assert around.shape == (1917, 4)
    assert around[0] == pytest.approx((0.5 / 19, 0.5 / 19, 0.1, 0.1))
    assert around[-1] == pytest.approx((0.5, 0.5, (0.95 * 1.0) ** 0.5, (0.95 * 1.0) ** 0.5))
    x0, y0, x1, y1 = decode(np.zeros((1, 4), np.float32), around[:1])[0]
    assert (x0, y0, x1, y1) == pytest.approx((0.5 / 19 - 0.05, 0.5 / 19 - 0.05, 0.5 / 19 + 0.05, 0.5 / 19 + 0.05))


def test_another_graph_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "graph.pb"
    other.write_bytes(b"\x0a\x06\x0a\x01a\x12\x01b")
    with pytest.raises(ValueError, match="not SSD MobileNet v2"):
        SsdMobileNet(other)


# --- tracks -----------------------------------------------------------------------------------------------------------


def test_a_moving_object_keeps_its_track_through_a_short_occlusion() -> None:
    boxes = [(0.05 * n, 0.2, 0.05 * n + 0.2, 0.7) for n in range(10)]
    steps = [seen(("person", 0.9, box)) if n not in (4, 5) else () for n, box in enumerate(boxes)]
    tracks = link(samples_of(steps), 0.5)
    assert [sorted(track.seen) for track in tracks] == [[0, 1, 2, 3, 6, 7, 8, 9]]


def test_people_who_pass_are_told_apart_by_their_clothes() -> None:
    red, blue = (200.0, 20.0, 20.0) * 2, (20.0, 20.0, 200.0) * 2
    steps = []
    for n in range(10):
        a = Detection("person", 0.9, (0.1 + 0.05 * n, 0.2, 0.3 + 0.05 * n, 0.7), red)
        b = Detection("person", 0.8, (0.55 - 0.05 * n, 0.2, 0.75 - 0.05 * n, 0.7), blue)
        steps.append((a, b) if n not in (4, 5) else (a,))  # for half a second one hides the other
    tracks = link(samples_of(steps), 0.5)
    assert [{d.look for d in track.seen.values()} for track in tracks] == [{red}, {blue}]


def test_a_fast_pan_switches_no_tracks() -> None:
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 256, (10, 40)).astype(np.uint8), (256, 64), interpolation=cv2.INTER_CUBIC)
    samples = []
    for n in range(8):
        x = 16 * n  # a quarter of the picture from sample to sample, while people stand as near to each other
        boxes = [(0.7 + 0.3 * p - x / 64, 0.2, 0.85 + 0.3 * p - x / 64, 0.8) for p in range(6)]
        found = seen(*[("person", 0.9, box) for box in boxes if box[0] >= 0 and box[2] <= 1])
        samples.append(Sample(n * 0.25, found, THUMB, wide[:, x : x + 64].tobytes()))
    tracks = link(samples, 0.5)
    places = [{round(d.box[0] + 16 * n / 64, 2) for n, d in track.seen.items()} for track in tracks]
    assert all(len(place) == 1 for place in places)
    assert len(tracks) == len(set().union(*places)) == 6


def test_a_pan_is_seen_and_a_walker_is_none() -> None:
    rng = np.random.default_rng(1)
    wide = cv2.resize(rng.integers(0, 256, (12, 24)).astype(np.uint8), (128, 64), interpolation=cv2.INTER_CUBIC)
    first, panned = (Sample(0.0, (), THUMB, wide[:, x : x + 64].tobytes()) for x in (0, 12))
    assert camera_shift(first, panned) == pytest.approx((-12 / 64, 0), abs=0.02)
    here, there = (np.full((64, 64), 128, np.uint8) for _ in range(2))
    here[20:60, 10:20] = there[20:60, 30:40] = 250
    still = wide[:, :64] // 2
    assert camera_shift(*(Sample(0.0, (), THUMB, (still + p // 4).tobytes()) for p in (here, there))) == (0.0, 0.0)
    assert camera_shift(Sample(0.0, (), THUMB), panned) == (0.0, 0.0)


def test_after_a_long_absence_it_is_another_track() -> None:
    box = (0.2, 0.2, 0.5, 0.7)
    steps = [seen(("dog", 0.9, box)), *[()] * 5, seen(("dog", 0.9, box))]
    assert len(link(samples_of(steps), 0.5)) == 2


def test_two_people_who_pass_keep_their_tracks() -> None:
    left = [(0.04 * n, 0.2, 0.04 * n + 0.15, 0.7) for n in range(12)]
    right = [(0.6 - 0.04 * n, 0.25, 0.75 - 0.04 * n, 0.75) for n in range(12)]
    steps = [seen(("person", 0.9, a), ("person", 0.8, b)) for a, b in zip(left, right, strict=True)]
    tracks = link(samples_of(steps), 0.5)
    assert len(tracks) == 2
    assert tracks[0].seen[11].box == left[11]
    assert tracks[1].seen[11].box == right[11]


def test_doubtful_boxes_continue_a_track_and_never_begin_one() -> None:
    box = (0.2, 0.2, 0.5, 0.7)
    assert link(samples_of([seen(("cat", 0.4, box))] * 3), 0.5) == []
    tracks = link(samples_of([seen(("cat", 0.8, box)), seen(("cat", 0.4, box))]), 0.5)
    assert [sorted(track.seen) for track in tracks] == [[0, 1]]


def test_a_cut_ends_every_track() -> None:
    found = seen(("person", 0.9, (0.2, 0.2, 0.5, 0.7)))
    tracks = link(samples_of([found] * 4, {2: OTHER_THUMB, 3: OTHER_THUMB}), 0.5)
    assert [sorted(track.seen) for track in tracks] == [[0, 1], [2, 3]]


def test_a_flash_and_a_fade_end_no_track() -> None:
    found = seen(("person", 0.9, (0.2, 0.2, 0.5, 0.7)))
    flash = samples_of([found, found, (), found, found], {2: bytes([255] * 192)})
    assert [sorted(track.seen) for track in link(flash, 0.5)] == [[0, 1, 3, 4]]
    small = np.random.default_rng(0).integers(0, 250, (64, 64)).astype(np.uint8)
    fade = [Sample(0.25 * n, found, bytes([40 + 80 * n] * 192), (small // (3 - n)).tobytes()) for n in range(3)]
    assert [sorted(track.seen) for track in link(fade, 0.5)] == [[0, 1, 2]]


def test_who_is_in_a_cutaway_is_nobody_from_around_it() -> None:
    found = seen(("person", 0.9, (0.2, 0.2, 0.5, 0.7)))
    tracks = link(samples_of([found] * 5, {2: OTHER_THUMB}), 0.5)
    assert [sorted(track.seen) for track in tracks] == [[0, 1, 3, 4], [2]]


def test_samples_not_looked_at_are_filled_between_sightings_and_before_a_cut() -> None:
    a, b = seen(("car", 0.9, (0.0, 0.2, 0.4, 0.6))), seen(("car", 0.7, (0.2, 0.2, 0.6, 0.6)))
    samples = samples_of([a, None, b, None, ()], {4: OTHER_THUMB})
    (track,) = link(samples, 0.5)
    interpolate(track, samples)
    assert track.seen[1].box == pytest.approx((0.1, 0.2, 0.5, 0.6))
    assert track.seen[1].score == 0.7
    assert track.seen[3] == track.seen[2]
    gone = samples_of([a, b, None, ()])
    (track,) = link(gone, 0.5)
    interpolate(track, gone)
    assert sorted(track.seen) == [0, 1]


def test_what_is_seen_once_must_be_certain() -> None:
    sure, unsure = seen(("bird", 0.8, (0.1, 0.1, 0.2, 0.2))), seen(("kite", 0.6, (0.6, 0.6, 0.8, 0.8)))
    tracks = link(samples_of([sure + unsure, (), ()]), 0.5)
    assert [track.last.label for track in confirmed(tracks, lone_score_min=0.7)] == ["bird"]


def test_a_video_without_parts_has_an_empty_report(analyzer: ObjectDetection) -> None:
    report = analyzer.summarize([], upstream())
    assert report.segments == []
    assert report.summary.counts == {}


def test_parts_of_several_chunks_make_one_timeline(analyzer: ObjectDetection) -> None:
    found = seen(("person", 0.9, (0.2, 0.2, 0.5, 0.7)))
    parts = [
        ObjectsPart((Sample(0.0, found, THUMB), Sample(0.25, found, THUMB)), 0.5),
        ObjectsPart((Sample(0.5, found, THUMB),), 0.7),
    ]
    report = analyzer.summarize(parts, upstream())
    assert [(s.start, s.end) for s in report.segments] == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.7)]
    assert report.summary.counts == {"person": 1}
    assert report.summary.labels[0].on_screen_s == 0.7
