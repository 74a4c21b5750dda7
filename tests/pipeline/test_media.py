"""Reading media: times from timestamps, upright pictures, one pass, and losses that are named."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import MediaLimit, MediaMissing, MediaUnreadable
from pipeline.media import DecodeStats, decode, probe
from pipeline.settings import Limits
from pipeline.types import MOTION, NATIVE, READ, SCAN, THUMB, AudioTrack, FrameBatch, View
from pipeline.views import view_size
from tests.media.encode import write_clip
from tests.media.patterns import flat, moving_pattern, tone

EVERY = View("every", None, 64)


def read(
    path: Path, *views: View, audio: bool = False, threads: int = 1
) -> tuple[list[FrameBatch], list[AudioTrack], DecodeStats]:
    items = list(decode(path, video_id="v", views=views, audio=audio, threads=threads))
    batches = [item for item in items if isinstance(item, FrameBatch)]
    tracks = [item for item in items if isinstance(item, AudioTrack)]
    assert isinstance(items[-1], DecodeStats)
    return batches, tracks, items[-1]


def times(batches: list[FrameBatch]) -> list[float]:
    return [float(pts) for batch in batches for pts in batch.pts_s[batch.lead_in :]]


def test_probe_measures_the_file(clip: Path) -> None:
    facts = probe(clip)
    assert (facts.width, facts.height, facts.rotation, facts.frames) == (320, 568, 0, 90)
    assert facts.fps == pytest.approx(30, abs=0.05)
    assert facts.duration_s == pytest.approx(3.0, abs=0.08)
    assert (facts.video_codec, facts.audio_codec, facts.has_audio) == ("h264", "aac", True)
    assert facts.bytes == clip.stat().st_size


def test_each_view_samples_by_time(clip: Path) -> None:
    batches, tracks, stats = read(clip, THUMB, MOTION, SCAN, READ, NATIVE, audio=True)
    counts = {view.name: len(times([b for b in batches if b.view == view])) for view in (THUMB, MOTION, SCAN, NATIVE)}
    assert counts == {"thumb": 90, "motion": 36, "scan": 12, "native": 3}
    assert (stats.frames, stats.passes, stats.bad_packets) == (90, 1, 0)
    assert len(tracks) == 1
    assert tracks[0].duration_s == pytest.approx(3.0, abs=0.05)


def test_chunks_tile_the_video_and_lead_in_repeats_the_frame_before(clip: Path) -> None:
    batches, _, _ = read(clip, MOTION)
    assert [batch.index for batch in batches] == [0, 1, 2]
    assert [batch.last for batch in batches] == [False, False, True]
    for before, after in pairwise(batches):
        assert before.end_s == after.start_s
        assert after.pts_s[0] == before.pts_s[-1]
        assert np.array_equal(after.frames[0], before.frames[-1])
    assert batches[0].start_s == 0.0
    assert batches[-1].end_s == pytest.approx(3.0, abs=0.01)


def test_the_same_file_gives_the_same_items(clip: Path) -> None:
    first, second = read(clip, SCAN)[0], read(clip, SCAN)[0]
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(first, second, strict=True))


def test_a_view_does_not_depend_on_which_others_are_wanted(clip: Path) -> None:
    alone = read(clip, SCAN)[0]
    among = [batch for batch in read(clip, THUMB, SCAN, NATIVE)[0] if batch.view == SCAN]
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(alone, among, strict=True))


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    pts = [0.0, 0.1, 0.15, 0.9, 1.0, 1.7, 3.2, 3.25]
    path = write_clip(tmp_path / "vfr.mp4", flat(64, 64, len(pts), 100), pts_s=pts)
    batches, _, _ = read(path, EVERY)
    assert times(batches) == pytest.approx(pts, abs=1e-3)
    assert probe(path).duration_s == pytest.approx(3.25, abs=0.2)
    assert len(times(read(path, SCAN)[0])) == 6  # first frame at or after each quarter second


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    picture = np.zeros((120, 200, 3), np.uint8)
    picture[:40, :60] = (250, 20, 20)  # red at top left as stored
    path = write_clip(tmp_path / "r.mp4", [picture] * 5, rotation=rotation)
    facts = probe(path)
    assert facts.rotation == rotation
    assert (facts.width, facts.height) == ((120, 200) if rotation % 180 else (200, 120))
    frame = read(path, EVERY)[0][0].frames[0]
    corner = {90: frame[5, -5], 180: frame[-5, -5], 270: frame[-5, 5]}[rotation]
    assert corner[0] > 150
    assert corner[1] < 100


def test_odd_sizes_survive(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "odd.mp4", flat(101, 67, 5, 90), pix_fmt="yuv444p")
    assert (probe(path).width, probe(path).height) == (67, 101)
    assert read(path, NATIVE)[0][0].frames.shape[1:] == (101, 67, 3)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".mp4", "libx265", "yuv420p10le"),
        (".mkv", "libx265", "yuv420p"),
        (".mov", "libx264", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".mkv", "libsvtav1", "yuv420p"),
        (".avi", "mjpeg", "yuvj420p"),
    ],
)
def test_containers_and_codecs_of_the_wild(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    options = {"log-level": "none"} if codec == "libx265" else {}
    path = write_clip(
        tmp_path / f"clip{suffix}",
        flat(96, 160, 30, (180, 60, 30)),
        codec=codec,
        pix_fmt=pix_fmt,
        sound=tone(440, 1.0),
        options=options,
    )
    facts = probe(path)
    assert (facts.width, facts.height, facts.has_audio) == (160, 96, True)
    assert facts.duration_s == pytest.approx(1.0, abs=0.1)
    batches, tracks, stats = read(path, SCAN, audio=True)
    assert stats.frames == 30
    assert np.abs(batches[0].frames[0].reshape(-1, 3).mean(0) - (180, 60, 30)).max() < 6
    assert tracks[0].duration_s == pytest.approx(1.0, abs=0.1)


def test_colours_survive_in_both_matrices(tmp_path: Path) -> None:
    for height, space in ((96, 5), (720, 1)):
        path = tmp_path / f"{height}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 1280 if height == 720 else 96, height, "yuv420p"
            stream.codec_context.colorspace = space
            for picture in flat(height, stream.width, 4, (200, 40, 60)):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p", dst_colorspace=space)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        found = read(path, SCAN)[0][0].frames[0].reshape(-1, 3).mean(0)
        assert np.abs(found - (200, 40, 60)).max() < 5


def test_sound_only_and_picture_only(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "s.wav", None, sound=tone(440, 2.0))
    facts = probe(sound)
    assert (facts.has_video, facts.has_audio, facts.width) == (False, True, 0)
    assert facts.duration_s == pytest.approx(2.0, abs=0.01)
    picture = write_clip(tmp_path / "p.mp4", flat(64, 64, 10, 50))
    assert not probe(picture).has_audio
    assert read(picture, SCAN, audio=True)[1][0].samples.size == 0


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "one.mp4", flat(64, 64, 1, 50))
    batches, _, stats = read(path, THUMB, SCAN)
    assert stats.frames == 1
    assert [len(batch.frames) for batch in batches] == [1, 1]
    assert all(batch.last for batch in batches)


def test_sound_that_starts_late_keeps_its_time_and_holes_become_silence(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width = video.height = 64
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for picture in flat(64, 64, 40, 50):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        block = (tone(440, 1.0, 16_000) * 32767).astype(np.int16)[None]
        for start in (16_000, 40_000):  # at 1.0 s and, after half a second of nothing, at 2.5 s
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(stream.encode(frame))
    track = read(path, audio=True)[1][0]
    assert track.start_s == pytest.approx(1.0, abs=0.01)
    level = np.abs(track.samples[: 16_000 * 5 // 2]).reshape(-1, 1600).max(1)
    assert list(level > 0.1) == [True] * 10 + [False] * 5 + [True] * 10


def test_long_sound_comes_in_parts_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.media.AUDIO_PART_S", 1.0)
    path = write_clip(tmp_path / "long.wav", None, sound=tone(200, 3.5, 16_000), sound_rate=16_000)
    tracks = read(path, audio=True)[1]
    assert [track.last for track in tracks] == [False, False, False, True]
    for before, after in pairwise(tracks):
        assert after.start_s == pytest.approx(before.end_s)
    joined = np.concatenate([track.samples for track in tracks])
    assert np.abs(joined - tone(200, 3.5, 16_000)).max() < 1e-3


def _damaged(folder: Path) -> Path:
    """Beside `whole.mkv`, the same with a tenth of its bytes replaced."""
    path = write_clip(
        folder / "whole.mkv", moving_pattern(240, 320, 150), options={"preset": "veryfast", "g": "15", "crf": "10"}
    )
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 10] = np.random.default_rng(1).bytes(len(data) // 10)
    damaged = folder / "damaged.mkv"
    damaged.write_bytes(data)
    return damaged


def test_a_damaged_middle_is_skipped_and_named(tmp_path: Path) -> None:
    damaged = _damaged(tmp_path)
    whole, broken = read(tmp_path / "whole.mkv", EVERY), read(damaged, EVERY)
    assert broken[2].bad_packets > 0 or broken[2].frames < whole[2].frames
    assert 75 <= broken[2].frames < 150
    assert times(broken[0])[-1] > 4.0, "what comes after the damage is read again"
    assert broken[2].lost
    assert all(1.0 < start < end < 4.5 for start, end in broken[2].lost)


def test_a_slide_show_fills_the_lead_in_before_its_first_chunk_ends(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "slides.mp4", moving_pattern(64, 64, 6), pts_s=[0, 1, 2, 3, 4, 5])
    batches, _, _ = read(path, View("two_before", 4, 64, lead_in=2))
    assert times(batches) == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.01)
    assert [len(batch.frames) for batch in batches] == [2, 3, 3, 3, 3]
    for before, after in pairwise(batches):
        assert before.end_s == after.start_s
    one = write_clip(tmp_path / "one.mp4", flat(64, 64, 1, 50))
    assert [len(batch.frames) for batch in read(one, View("two_before", 4, 64, lead_in=2))[0]] == [1]


def test_threads_change_no_pixel_and_no_time(clip: Path, tmp_path: Path) -> None:
    uneven = np.cumsum(np.random.default_rng(2).uniform(0.01, 0.09, 60))
    turned = write_clip(tmp_path / "uneven.mp4", moving_pattern(96, 160, 60), pts_s=list(uneven))
    for path in (clip, turned):
        one, many = read(path, EVERY, SCAN), read(path, EVERY, SCAN, threads=3)
        assert [batch.index for batch in one[0]] == [batch.index for batch in many[0]]
        for a, b in zip(one[0], many[0], strict=True):
            assert np.array_equal(a.pts_s, b.pts_s)
            assert np.array_equal(a.frames, b.frames)


def test_threads_read_on_after_damage(tmp_path: Path) -> None:
    damaged = _damaged(tmp_path)
    one, many = read(damaged, EVERY), read(damaged, EVERY, threads=3)
    assert many[2].frames == pytest.approx(one[2].frames, abs=3)
    assert times(many[0])[-1] == times(one[0])[-1]
    assert many[2].lost


def test_a_file_cut_off_in_the_middle_gives_what_is_there(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "whole.mkv", moving_pattern(240, 320, 120))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    facts = probe(cut)
    assert 1.0 < facts.duration_s < 3.5
    assert read(cut, SCAN)[2].frames == pytest.approx(facts.frames, abs=3)


@pytest.mark.parametrize(
    ("size", "view", "expected"),
    [
        ((1080, 1920), SCAN, (480, 853)),
        ((1920, 1080), THUMB, (48, 27)),
        ((176, 144), SCAN, (176, 144)),
        ((8000, 100), SCAN, (1920, 24)),
        ((2, 2), SCAN, (2, 2)),
    ],
)
def test_view_sizes(size: tuple[int, int], view: View, expected: tuple[int, int]) -> None:
    assert view_size(view, *size) == expected


def refuse(path: Path, error: type[Exception], message: str, **limits: Any) -> None:
    with pytest.raises(error, match=message):
        probe(path, Limits(**limits))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "none.mp4", MediaMissing, "there is no file")
    refuse(tmp_path, MediaMissing, "is not a file")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    refuse(empty, MediaUnreadable, "is empty")
    text = tmp_path / "text.mp4"
    text.write_text("dear diary\n" * 100)
    refuse(text, MediaUnreadable, "cannot be opened")
    picture = tmp_path / "picture.mp4"
    av.VideoFrame.from_ndarray(next(flat(32, 32, 1, 9)), "rgb24").save(str(tmp_path / "p.png"))
    picture.write_bytes((tmp_path / "p.png").read_bytes())
    refuse(picture, MediaUnreadable, "cannot be opened")


def test_a_playlist_that_calls_itself_mp4_is_refused_and_opens_nothing(tmp_path: Path) -> None:
    secret = write_clip(tmp_path / "secret.mp4", flat(32, 32, 5, 9))
    for number, text in enumerate(
        (f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n", f"  #EXTM3U\n{secret}\n")
    ):
        playlist = tmp_path / f"list{number}.mp4"
        playlist.write_text(text)
        refuse(playlist, MediaUnreadable, "playlist")


def test_an_mp4_cut_off_before_its_index_says_so(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    refuse(cut, MediaUnreadable, "cut off before its index")


def test_limits_name_value_limit_and_setting(clip: Path) -> None:
    refuse(clip, MediaLimit, r"size in bytes is \d+, the limit is 10 \(setting limits.bytes_max\)", bytes_max=10)
    refuse(clip, MediaLimit, "duration .* is 3 s, the limit is 1 s", duration_s_max=1)
    refuse(clip, MediaLimit, "width x height is 320 x 568", pixels_max=1000)
    refuse(clip, MediaLimit, "number of frames", frames_max=20)
    refuse(clip, MediaLimit, "frame rate is 30.0 fps", fps_max=20)
    refuse(clip, MediaLimit, "number of streams is 2", streams_max=1)
    refuse(clip, MediaLimit, "frames x width x height", decoded_pixels_max=320 * 568 * 10)


def test_headers_are_not_believed_while_decoding(clip: Path) -> None:
    with pytest.raises(MediaLimit, match="decoded pixels"):
        list(decode(clip, video_id="v", views=(SCAN,), limits=Limits(decoded_pixels_max=320 * 568 * 10)))
