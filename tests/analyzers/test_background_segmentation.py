"""Background: shares that make 1, people who are confirmed, sky and plants that are no walls, settings with reasons."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.background_segmentation import BackgroundReport, BackgroundSegmentation
from analyzers.methods.surroundings import (
    Evidence,
    decide,
    drawn,
    evidence_of_areas,
    evidence_of_objects,
    roughness,
    settings_over_time,
    sky,
    vegetation,
)
from pipeline.analyzer import Profile
from pipeline.errors import ModelUnavailable
from pipeline.results import Upstream
from pipeline.settings import load_settings
from pipeline.types import SCAN
from tests.analyzers.frames import FACTS, assert_covers, batches
from tests.media.people import backdrop, paste
from tests.media.text_clips import photo

EVERYWHERE = np.ones((128, 128), bool)
Frame = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def analyzer() -> BackgroundSegmentation:
    loaded = BackgroundSegmentation()
    loaded.load("cpu", Profile("embedded", load_settings().models_dir))
    return loaded


def report_of(analyzer: BackgroundSegmentation, *frames: Frame) -> BackgroundReport:
    times = [number / 4 for number in range(len(frames))]
    parts = [analyzer.analyze(batch) for batch in batches(np.stack(frames), times, len(frames) / 4, SCAN)]
    return analyzer.summarize(parts, Upstream(FACTS))


def leaves(seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    blades = rng.normal(0, 25, (128, 128, 1))
    return np.asarray(np.clip(np.array([85, 125, 45]) + blades, 0, 255), np.uint8)


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Frame:
    rise = np.linspace(0, 1, 128)[:, None, None]
    return np.repeat(np.asarray(np.array(top) * (1 - rise) + np.array(bottom) * rise, np.uint8), 128, axis=1)


# --- people -----------------------------------------------------------------------------------------------------------


def test_the_share_of_people_grows_with_them_and_shares_make_one(analyzer: BackgroundSegmentation) -> None:
    found = []
    for height in (350, 600):
        frame = backdrop(7)
        _, share = paste(frame, "fur coat", height, 120, 854 - height)
        report = report_of(analyzer, frame)
        assert sum(report.segments[0].classes.values()) == pytest.approx(1, abs=1e-3)
        assert report.summary.person_share == report.segments[0].person_share == pytest.approx(share, abs=0.02)
        found.append(report.summary.person_share)
    assert found[1] > 2 * found[0]


def test_what_stands_out_is_nobody_unless_a_person_is_confirmed(analyzer: BackgroundSegmentation) -> None:
    frame = backdrop(3)
    cv2.ellipse(frame, (240, 600), (130, 240), 0, 0, 360, (200, 150, 130), -1, cv2.LINE_AA)
    cv2.circle(frame, (240, 330), 90, (215, 170, 150), -1, cv2.LINE_AA)
    assert report_of(analyzer, frame).summary.person_share == 0


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_nothing_is_all_background_in_an_unknown_place(analyzer: BackgroundSegmentation, kind: str) -> None:
    rng = np.random.default_rng(0)
    frame = {
        "black": np.zeros((320, 180, 3), np.uint8),
        "white": np.full((320, 180, 3), 255, np.uint8),
        "noise": np.asarray(rng.integers(0, 256, (853, 480, 3)), np.uint8),
    }[kind]
    report = report_of(analyzer, frame, frame)
    assert report.summary.classes == {"background": 1.0}
    assert (report.summary.setting, report.summary.setting_score) == ("unknown", 0.0)


def test_the_answer_is_the_same_twice_and_from_another_worker(analyzer: BackgroundSegmentation) -> None:
    (item,) = batches(photo("zidane.jpg")[None, :, 700:1105], [0.0], 0.25, SCAN)
    other = pickle.loads(pickle.dumps(BackgroundSegmentation()))
    other.load("cpu", Profile("embedded", load_settings().models_dir))
    assert analyzer.analyze(item) == analyzer.analyze(item) == other.analyze(item)


# --- the whole video --------------------------------------------------------------------------------------------------


def test_segments_tile_the_video_and_break_where_the_picture_does(analyzer: BackgroundSegmentation) -> None:
    street, men = photo("bus.jpg")[300:940], photo("zidane.jpg")[:640, :810]
    report = report_of(analyzer, *[street] * 6, *[men] * 6)
    assert_covers(report, 3.0)
    assert [segment.start for segment in report.segments] == [0.0, 1.5]
    assert report.segments[0].setting == "outdoor"
    assert "bus" in report.summary.setting_reason


def test_without_pictures_there_are_no_segments(analyzer: BackgroundSegmentation) -> None:
    report = analyzer.summarize([], Upstream(FACTS))
    assert (report.segments, report.summary.setting) == ([], "unknown")


def test_a_missing_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="reelscope models fetch"):
        BackgroundSegmentation().load("cpu", Profile("embedded", tmp_path))


# --- sky and plants ---------------------------------------------------------------------------------------------------


def test_leaves_are_vegetation_and_green_walls_are_none() -> None:
    half = leaves()
    half[:64] = (150, 140, 130)
    assert vegetation(half, EVERYWHERE).mean() == pytest.approx(0.5, abs=0.05)
    assert not vegetation(half, ~EVERYWHERE).any()
    for wall in (gradient((60, 160, 70), (60, 160, 70)), gradient((30, 90, 35), (80, 200, 90))):
        assert not vegetation(wall, EVERYWHERE).any()


def test_a_sky_is_blue_smooth_above_and_lighter_below() -> None:
    def share(picture: Frame) -> float:
        return float(sky(picture, roughness(picture), EVERYWHERE).mean())

    above = gradient((60, 120, 210), (190, 215, 245))
    above[64:] = (120, 110, 100)
    assert share(above) == pytest.approx(0.5, abs=0.05)
    assert share(above[::-1].copy()) == 0, "not at the top"
    assert share(gradient((70, 120, 210), (70, 120, 210))) == 0, "a painted wall"
    assert share(gradient((190, 210, 245), (60, 120, 210))) == 0, "darker below"
    assert share(gradient((215, 215, 215), (245, 245, 245))) == 0, "grey may be a wall"


# --- settings ---------------------------------------------------------------------------------------------------------


def test_reasons_add_up_and_contradictions_mean_unknown() -> None:
    car, bus, bed = (Evidence(s, w, 0.6) for s, w in (("outdoor", "car"), ("outdoor", "bus"), ("indoor", "bed")))
    assert decide([car])[:2] == ("outdoor", pytest.approx(0.6))
    assert decide([car, car, bus])[:2] == ("outdoor", pytest.approx(0.84))
    setting, score, reason = decide([car, bed])
    assert (setting, score) == ("unknown", 0.0)
    assert "against" in reason
    assert decide([])[0] == "unknown"


def test_a_setting_holds_for_seconds_around_in_its_shot_and_not_beyond() -> None:
    times = [0.25 * n for n in range(40)]
    shots = [0] * 20 + [1] * 20
    bus = [[Evidence("outdoor", "bus", 0.8)] if n == 4 else [] for n in range(40)]
    passing = [[Evidence("outdoor", "vegetation", 0.9)] if n in (30, 31) else [] for n in range(40)]
    settings = [setting for setting, _, _ in settings_over_time(times, shots, passing, bus)]
    assert settings[:17] == ["outdoor"] * 17
    assert settings[17:] == ["unknown"] * 23, "another shot, and leaves in two pictures only"


def test_only_telling_objects_and_areas_are_evidence() -> None:
    assert [e.setting for e in evidence_of_objects({"car": 0.9, "couch": 0.8, "cup": 0.9, "bus": 0.3})] == [
        "outdoor",
        "indoor",
    ]
    assert evidence_of_areas({"vegetation": 0.05}, 0.0) == []
    assert [e.what for e in evidence_of_areas({"sky": 0.3, "vegetation": 0.4}, 0.0)] == ["sky", "vegetation"]
    assert [e.setting for e in evidence_of_areas({}, 0.8)] == ["graphic"]
    assert evidence_of_areas({"person": 0.3}, 0.8) == []


def test_a_slide_is_drawn_and_one_colour_or_a_photo_is_not() -> None:
    slide = np.full((128, 128, 3), 245, np.uint8)
    cv2.putText(slide, "TIPS", (10, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (20, 40, 120), 4)
    plain = np.full((128, 128, 3), 245, np.uint8)
    assert drawn(slide, roughness(slide)) > 0.6
    assert drawn(plain, roughness(plain)) == 0
    assert drawn(leaves(), roughness(leaves())) == 0
