"""The sample reel is what its truth says."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.media import probe
from tests.media import reel as making
from tests.media.encode import Clip
from tests.media.music import RATE
from tests.media.reel import sample_reel


@pytest.fixture(scope="module")
def reel() -> Clip:
    return sample_reel()


@cache
def _pictures(path: str, wanted: tuple[float, ...]) -> list[npt.NDArray[np.uint8]]:
    """The frames shown at those ascending times."""
    found: list[Any] = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            while len(found) < len(wanted) and float(frame.time) >= wanted[len(found)] - 1e-3:
                found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == len(wanted):
                break
    return found


def test_the_file_is_half_a_minute_of_upright_video_with_sound(reel: Clip) -> None:
    facts = probe(reel.path)
    assert (facts.width, facts.height, facts.video_codec, facts.audio_codec) == (1080, 1920, "h264", "aac")
    assert facts.fps == pytest.approx(30, abs=0.05)
    assert facts.duration_s == pytest.approx(reel.truth["duration_s"], abs=0.1)
    assert json.loads(reel.path.with_suffix(".json").read_text(encoding="utf-8")) == reel.truth


def test_shots_follow_each_other_and_cuts_lie_between_them(reel: Clip) -> None:
    shots = reel.truth["shots"]
    assert (shots[0]["start"], shots[-1]["end"]) == (0, reel.truth["duration_s"])
    assert all(a["end"] == b["start"] for a, b in itertools.pairwise(shots))
    assert [cut["time"] for cut in reel.truth["cuts"]] == [shot["start"] for shot in shots[1:]]
    assert {cut["kind"] for cut in reel.truth["cuts"]} == {"cut", "dissolve", "fade"}


def test_boxes_lie_in_the_picture_and_in_their_shot(reel: Clip) -> None:
    boxes = [caption["box"] for caption in reel.truth["captions"]]
    for shot in reel.truth["shots"]:
        for thing in shot["objects"]:
            assert all(shot["start"] <= one["time"] < shot["end"] for one in thing["boxes"] or [])
            boxes += [one["box"] for one in thing["boxes"] or []]
    assert len(boxes) > 100
    assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in boxes)
    assert {"bus", "person", "tie"} <= {thing["label"] for shot in reel.truth["shots"] for thing in shot["objects"]}


def test_captions_are_where_and_when_they_are_said_to_be(reel: Clip) -> None:
    captions = sorted(reel.truth["captions"], key=lambda caption: caption["start"])
    shown = _pictures(str(reel.path), tuple((caption["start"] + caption["end"]) / 2 for caption in captions))
    for caption, picture in zip(captions, shown, strict=True):
        x0, y0, x1, y1 = (round(v * s) for v, s in zip(caption["box"], (1080, 1920, 1080, 1920), strict=True))
        inside = picture[y0:y1, x0:x1].min(axis=2)
        assert (inside > 215).mean() > 0.15, f"{caption['text']!r} shows too little white"
        assert (inside < 50).mean() > 0.1, f"{caption['text']!r} shows too little outline"


def test_the_flash_is_white_the_fade_black_and_the_freeze_still(reel: Clip) -> None:
    flash_s, freeze = reel.truth["flash"]["start"], reel.truth["freeze"]
    fade_s = next(cut["time"] for cut in reel.truth["cuts"] if cut["kind"] == "fade")
    times = (freeze["start"] + 0.1, freeze["end"] - 0.1, fade_s, flash_s, flash_s + 0.1)
    early, late, black, white, after = _pictures(str(reel.path), times)
    assert np.abs(early.astype(int) - late).mean() < 1
    assert black.mean() < 6
    assert white.mean() > 248
    assert after.mean() < 200


def test_speech_does_not_overlap_and_is_louder_than_the_music_around(reel: Clip) -> None:
    speech = reel.truth["speech"]
    assert all(0 <= s["start"] < s["end"] <= reel.truth["duration_s"] for s in speech)
    assert all(a["end"] < b["start"] for a, b in itertools.pairwise(speech))
    assert [s["language"] for s in speech] == ["en", "de", "de"]


def test_beats_come_at_the_tempo(reel: Clip) -> None:
    music = reel.truth["music"]
    assert np.allclose(np.diff(music["beats"]), 60 / music["tempo_bpm"])
    on_beat = [cut["time"] for cut in reel.truth["cuts"]]
    assert all(min(abs(np.array(music["beats"]) - time)) < 1e-6 for time in on_beat)


def test_effects_stand_out_where_they_are_said_to_begin(reel: Clip) -> None:
    mix, _ = making.soundtrack()
    for effect in reel.truth["effects"]:
        if effect["kind"] == "whoosh":
            continue  # it swells: it has no onset to hear
        at = round(effect["time"] * RATE)
        before, after = mix[at - 1200 : at - 48], mix[at : at + 1200]
        assert np.abs(after).max() > 1.2 * np.abs(before).max(), effect


def test_the_sound_never_clips(reel: Clip) -> None:
    mix, _ = making.soundtrack()
    assert np.abs(mix).max() < 0.98
