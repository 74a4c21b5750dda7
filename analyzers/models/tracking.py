"""Links boxes of neighbouring samples to tracks: which of them are one and the same thing.

ByteTrack's idea (Zhang et al., ECCV 2022) with a greedy match. Boxes of one label are linked by overlap with where the
track's speed takes it; doubtful boxes may continue a track but never begin one. A track survives a second unseen and
ends when the whole picture changes at once, as at a cut. The camera's shift between samples (phase correlation, Kuglin
and Hines 1975) is taken out first, as in BoT-SORT (Aharon et al. 2022): at 4 samples a second a pan takes a person
further than their own width. Why no library: docs/decisions.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

SAME_LABEL_IOU: Final = 0.45
"""Two boxes of one label that overlap more are one object."""
ANY_LABEL_IOU: Final = 0.85
"""Two boxes that overlap more are one object, whatever their labels; the more certain label stays."""
LOST_S: Final = 1.0
"""How long a track may be unseen (covered, missed) and still go on."""
LINK_IOU: Final = 0.15
LINK_DISTANCE: Final = 0.6
"""Without enough overlap, boxes of like size are linked up to this distance of centres, in mean box sizes."""
DISTANCE_GROWTH_PER_S: Final = 1.0
SURE_S: Final = 0.25
"""A track unseen for longer than this may be found further from where it is expected: twice as far after a second."""
STAYED: Final = 0.8
"""Weight of likeness to where a track was last, against likeness to where its speed takes it (it may have stopped)."""
LINK_SIZE_RATIO: Final = 2.0
LOOK_WEIGHT: Final = 0.5
LOOK_LEVELS: Final = 64.0
"""Colours that differ by this mean (of 255) or more count as much against a pair as half of the overlap for it."""
LOOK_RATE: Final = 0.25
"""How fast a track's look follows its boxes: slowly, since what covers it is in them for a while."""
SCENE_CHANGE_LEVELS: Final = 40.0
"""Mean difference (of 255) of 8x8 pixel pictures of neighbouring samples from which on nothing is the same object."""
SAME_SCENE_CORRELATION: Final = 0.8
"""Of grey pictures of 64x64: a fade or a change of light stays above, another scene of like layout below."""
SMALL_PX: Final = 64
"""Side of the grey pictures that the camera's shift is read from."""
SHIFT_PEAK_MIN: Final = 0.1
SHIFT_MAX: Final = 0.6
"""Of the picture's side: beyond, too little of it is in both."""
SHIFT_GAIN: Final = 0.7
"""A shift is believed if it leaves less than this of the difference: else somebody moved and the camera stood."""


Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """A box with a label and the network's score, before tracking, and how it looks (see `look`; may be empty)."""

    label: str
    score: float
    box: Corners
    look: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One sampled picture: its time, what was detected (None: not looked at, since it is like the samples around it),
    the picture as 8x8x3 bytes (to see scene changes) and as 64x64 grey bytes (to see the camera move; may be empty)."""

    pts_s: float
    detections: tuple[Detection, ...] | None
    thumb: bytes
    small: bytes = b""


def look(picture: npt.NDArray[np.uint8], box: Corners) -> tuple[float, ...]:
    """Mean RGB in the middle of the box's upper and of its lower half: what tells two people who pass apart."""
    tall, wide = picture.shape[:2]
    x0, y0, x1, y1 = box
    left, right = int((0.75 * x0 + 0.25 * x1) * wide), math.ceil((0.25 * x0 + 0.75 * x1) * wide)
    rows = [int((y0 + share * (y1 - y0)) * tall) for share in (0.1, 0.5, 0.9)]
    halves = [picture[a : max(a + 1, b), left : max(left + 1, right)] for a, b in pairwise(rows)]
    if any(half.size == 0 for half in halves):
        return ()
    return tuple(round(float(value), 1) for half in halves for value in half.mean(axis=(0, 1)))


def small_picture(frame: npt.NDArray[np.uint8]) -> bytes:
    """An RGB picture as `Sample.small`."""
    import cv2

    size = (SMALL_PX, SMALL_PX)
    return np.asarray(cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)).tobytes()


def difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Mean difference of two pictures in levels."""
    return float(np.abs(a.astype(np.int16) - b).mean())


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area_a + area_b - width * height)


def scene_changes(before: Sample, after: Sample) -> bool:
    """Whether the whole picture is another one, so that nothing in it is the same thing: not just moved or faded."""
    a, b = (np.frombuffer(sample.thumb, np.uint8) for sample in (before, after))
    if difference(a, b) <= SCENE_CHANGE_LEVELS or camera_shift(before, after) != (0.0, 0.0):
        return False
    return _correlation(before.small, after.small) < SAME_SCENE_CORRELATION


def _correlation(before: bytes, after: bytes) -> float:
    """Of two grey pictures; 0 where one is plain or not there."""
    if not before or not after:
        return 0.0
    a, b = (np.frombuffer(small, np.uint8).astype(np.float32) for small in (before, after))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / spread if spread > len(a) else 0.0


def scenes(samples: Sequence[Sample]) -> list[int]:
    """The scene's number of each sample. A single sample of something else (a flash, a cutaway) interrupts no scene."""
    numbers: list[int] = []
    count, steady = 0, 0
    for step, sample in enumerate(samples):
        if step > 0 and scene_changes(samples[steady], sample):
            count += 1
            if step + 1 < len(samples) and not scene_changes(samples[steady], samples[step + 1]):
                numbers.append(count)
                continue
            numbers.append(count)
        else:
            numbers.append(numbers[steady] if numbers else 0)
        steady = step
    return numbers


def camera_shift(before: Sample, after: Sample) -> tuple[float, float]:
    """How far the whole picture moved to the right and down, in 0..1 of it; zeros where it did not or nobody knows."""
    if not before.small or not after.small:
        return 0.0, 0.0
    import cv2

    a, b = (np.frombuffer(s.small, np.uint8).reshape(SMALL_PX, SMALL_PX) for s in (before, after))
    window = cv2.createHanningWindow((SMALL_PX, SMALL_PX), cv2.CV_32F)
    (dx, dy), peak = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), window)
    x, y = round(dx), round(dy)
    if peak < SHIFT_PEAK_MIN or max(abs(x), abs(y)) > SHIFT_MAX * SMALL_PX or (x, y) == (0, 0):
        return 0.0, 0.0
    moved = difference(_inner(a, -x, -y), _inner(b, x, y))
    return (dx / SMALL_PX, dy / SMALL_PX) if moved < SHIFT_GAIN * difference(a, b) else (0.0, 0.0)


def _inner(picture: npt.NDArray[np.uint8], x: int, y: int) -> npt.NDArray[np.uint8]:
    """What is left without the x first columns and y first rows; last ones, if negative."""
    tall, wide = picture.shape
    return picture[max(0, y) : tall + min(0, y), max(0, x) : wide + min(0, x)]


def suppress(candidates: Sequence[Detection]) -> tuple[Detection, ...]:
    """Keep the most certain of boxes that are one object; most certain first."""
    kept: list[Detection] = []
    for candidate in sorted(candidates, key=lambda d: (-d.score, d.label, d.box)):
        limits = ((other, SAME_LABEL_IOU if other.label == candidate.label else ANY_LABEL_IOU) for other in kept)
        if all(iou(candidate.box, other.box) <= limit for other, limit in limits):
            kept.append(candidate)
    return tuple(kept)


@dataclass
class Track:
    """One object: what was seen of it by sample number, when last, where its centre was then without the camera's
    shifts, in which scene, that centre's speed per second, and how it looked so far."""

    seen: dict[int, Detection]
    last_s: float
    place: tuple[float, float]
    scene: int
    speed: tuple[float, float] = (0.0, 0.0)
    look: tuple[float, ...] = ()

    @property
    def last(self) -> Detection:
        """The latest sighting."""
        return next(reversed(self.seen.values()))

    def expected(self, pts_s: float, shift: tuple[float, float]) -> Corners:
        """Where its speed takes it, with the camera's shift so far."""
        gap_s = pts_s - self.last_s
        return self._at(
            self.place[0] + self.speed[0] * gap_s + shift[0], self.place[1] + self.speed[1] * gap_s + shift[1]
        )

    def stayed(self, shift: tuple[float, float]) -> Corners:
        """Where it is if it stopped when last seen."""
        return self._at(self.place[0] + shift[0], self.place[1] + shift[1])

    def _at(self, x: float, y: float) -> Corners:
        box = self.last.box
        half_w, half_h = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
        return x - half_w, y - half_h, x + half_w, y + half_h

    def add(self, step: int, pts_s: float, detection: Detection, shift: tuple[float, float]) -> None:
        """Continue it; its speed is a mean of the old and the new (half and half, so that box jitter is damped)."""
        gap_s = max(pts_s - self.last_s, 1e-3)
        place = _place(detection, shift)
        weight = 1.0 if len(self.seen) == 1 else 0.5
        x, y = ((new - old) / gap_s for new, old in zip(place, self.place, strict=True))
        self.speed = weight * x + (1 - weight) * self.speed[0], weight * y + (1 - weight) * self.speed[1]
        self.last_s, self.place = pts_s, place
        old = self.look or detection.look
        self.look = tuple(a + LOOK_RATE * (b - a) for a, b in zip(old, detection.look, strict=False)) or self.look
        self.seen[step] = detection


def _place(detection: Detection, shift: tuple[float, float]) -> tuple[float, float]:
    x0, y0, x1, y1 = detection.box
    return (x0 + x1) / 2 - shift[0], (y0 + y1) / 2 - shift[1]


def link(samples: Sequence[Sample], score_min: float) -> list[Track]:
    """Tracks of all samples in the order in which they begin, of the samples that were looked at."""
    tracks: list[Track] = []
    recent: list[Track] = []
    numbers = scenes(samples)
    last_of: dict[int, int] = {}
    shift = 0.0, 0.0
    for step, (sample, scene) in enumerate(zip(samples, numbers, strict=True)):
        if scene in last_of:
            x, y = camera_shift(samples[last_of[scene]], sample)
            shift = shift[0] + x, shift[1] + y
        last_of[scene] = step
        if sample.detections is None:
            continue
        recent = [track for track in recent if sample.pts_s - track.last_s <= LOST_S]
        open_tracks = [track for track in recent if track.scene == scene]
        sure = [d for d in sample.detections if d.score >= score_min]
        unsure = [d for d in sample.detections if d.score < score_min]
        left = _match(open_tracks, sure, step, sample.pts_s, shift)
        still_open = [t for t in open_tracks if step not in t.seen]
        _match(still_open, unsure, step, sample.pts_s, shift)
        new = [Track({step: d}, sample.pts_s, _place(d, shift), scene, look=d.look) for d in left]
        tracks += new
        recent += new
    return tracks


def interpolate(track: Track, samples: Sequence[Sample]) -> None:
    """Put a track into the samples that were not looked at: between two sightings, or before the picture changes."""
    for step, found in list(track.seen.items()):
        if step + 1 == len(samples) or samples[step + 1].detections is not None:
            continue
        after = track.seen.get(step + 2)
        if after is not None:
            start_s, time_s, end_s = (samples[n].pts_s for n in (step, step + 1, step + 2))
            share = (time_s - start_s) / (end_s - start_s)
            x0, y0, x1, y1 = (p + share * (q - p) for p, q in zip(found.box, after.box, strict=True))
            track.seen[step + 1] = Detection(found.label, min(found.score, after.score), (x0, y0, x1, y1))
        elif step + 2 < len(samples) and scene_changes(samples[step + 1], samples[step + 2]):
            track.seen[step + 1] = found
    track.seen = dict(sorted(track.seen.items()))


def _match(
    tracks: Sequence[Track], detections: Sequence[Detection], step: int, pts_s: float, shift: tuple[float, float]
) -> list[Detection]:
    """Continue tracks by their best boxes, best pairs first; the boxes that are left."""
    pairs = []
    for t, track in enumerate(tracks):
        expected, stayed = track.expected(pts_s, shift), track.stayed(shift)
        reach = LINK_DISTANCE * (1 + DISTANCE_GROWTH_PER_S * max(0.0, pts_s - track.last_s - SURE_S))
        for d, detection in enumerate(detections):
            if track.last.label == detection.label:
                likeness = max(
                    _likeness(expected, detection.box, reach), STAYED * _likeness(stayed, detection.box, LINK_DISTANCE)
                )
                if likeness > 0:
                    pairs.append((_unlikeness(track.look, detection.look) - likeness, t, d))
    used_tracks: set[int] = set()
    used: set[int] = set()
    for _, t, d in sorted(pairs):
        if t not in used_tracks and d not in used:
            used_tracks.add(t)
            used.add(d)
            tracks[t].add(step, pts_s, detections[d], shift)
    return [detection for d, detection in enumerate(detections) if d not in used]


def _unlikeness(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """0..`LOOK_WEIGHT` by difference of colours."""
    if not a or not b:
        return 0.0
    levels = sum(abs(p - q) for p, q in zip(a, b, strict=True)) / len(a)
    return LOOK_WEIGHT * min(1.0, levels / LOOK_LEVELS)


def _likeness(expected: Corners, box: Corners, reach: float) -> float:
    """1..2 by overlap, 0..1 by distance where boxes of like size hardly overlap (up to `reach` sizes), else 0."""
    overlap = iou(expected, box)
    if overlap >= LINK_IOU:
        return 1 + overlap
    sizes = [max((b[2] - b[0]) * (b[3] - b[1]), 1e-6) ** 0.5 for b in (expected, box)]
    if max(sizes) > LINK_SIZE_RATIO * min(sizes):
        return 0.0
    dx = (expected[0] + expected[2] - box[0] - box[2]) / 2
    dy = (expected[1] + expected[3] - box[1] - box[3]) / 2
    distance = math.hypot(dx, dy) / (sum(sizes) / 2)
    return float(max(0.0, 1 - distance / reach))


def confirmed(tracks: Sequence[Track], *, lone_score_min: float) -> list[Track]:
    """Without those that were seen in one sample only and are less certain than that."""
    return [track for track in tracks if len(track.seen) > 1 or track.last.score >= lone_score_min]
