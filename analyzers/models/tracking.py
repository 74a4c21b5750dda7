"""Links boxes of neighbouring samples to tracks: which of them are one and the same thing.

ByteTrack's idea (Zhang et al., ECCV 2022) with a greedy match. Boxes of one label are linked by overlap with where the
track's speed takes it; doubtful boxes may continue a track but never begin one. A track survives a second unseen and
ends when the whole picture changes at once, as at a cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
"""Without enough overlap, boxes of like size are linked up to this distance of centres, in mean box sizes (pans)."""
LINK_SIZE_RATIO: Final = 2.0
SCENE_CHANGE_LEVELS: Final = 40.0
"""Mean difference (of 255) of 8x8 pixel pictures of neighbouring samples from which on nothing is the same object."""


Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """A box with a label and the network's score, before tracking."""

    label: str
    score: float
    box: Corners


@dataclass(frozen=True)
class Sample:
    """One sampled picture: its time, what was detected (None: not looked at, since it is like the samples around it),
    and the picture as 8x8x3 bytes (to see scene changes)."""

    pts_s: float
    detections: tuple[Detection, ...] | None
    thumb: bytes


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
    """Whether the whole picture is another one, so that nothing in it is the same thing."""
    a, b = (np.frombuffer(sample.thumb, np.uint8) for sample in (before, after))
    return difference(a, b) > SCENE_CHANGE_LEVELS


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
    """One object: what was seen of it by sample number, and its speed (of the four corners, per second)."""

    seen: dict[int, Detection]
    last_s: float
    speed: Corners = (0.0, 0.0, 0.0, 0.0)
    closed: bool = field(default=False)

    @property
    def last(self) -> Detection:
        """The latest sighting."""
        return next(reversed(self.seen.values()))

    def expected(self, pts_s: float) -> Corners:
        """Where its speed takes it."""
        box, gap_s = self.last.box, pts_s - self.last_s
        return (
            box[0] + self.speed[0] * gap_s,
            box[1] + self.speed[1] * gap_s,
            box[2] + self.speed[2] * gap_s,
            box[3] + self.speed[3] * gap_s,
        )

    def add(self, step: int, pts_s: float, detection: Detection) -> None:
        """Continue it; its speed is a mean of the old and the new (half and half, so that box jitter is damped)."""
        gap_s = max(pts_s - self.last_s, 1e-3)
        moved = [(new - old) / gap_s for new, old in zip(detection.box, self.last.box, strict=True)]
        first = len(self.seen) == 1
        x0, y0, x1, y1 = (m if first else (m + s) / 2 for m, s in zip(moved, self.speed, strict=True))
        self.speed, self.last_s = (x0, y0, x1, y1), pts_s
        self.seen[step] = detection


def link(samples: Sequence[Sample], score_min: float) -> list[Track]:
    """Tracks of all samples in the order in which they begin, of the samples that were looked at."""
    tracks: list[Track] = []
    for step, sample in enumerate(samples):
        if step > 0 and scene_changes(samples[step - 1], sample):
            for track in tracks:
                track.closed = True
        if sample.detections is None:
            continue
        open_tracks = [t for t in tracks if not t.closed and sample.pts_s - t.last_s <= LOST_S]
        sure = [d for d in sample.detections if d.score >= score_min]
        unsure = [d for d in sample.detections if d.score < score_min]
        left = _match(open_tracks, sure, step, sample.pts_s)
        still_open = [t for t in open_tracks if step not in t.seen]
        _match(still_open, unsure, step, sample.pts_s)
        tracks += [Track({step: detection}, sample.pts_s) for detection in left]
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


def _match(tracks: Sequence[Track], detections: Sequence[Detection], step: int, pts_s: float) -> list[Detection]:
    """Continue tracks by their best boxes, best pairs first; the boxes that are left."""
    pairs = []
    for t, track in enumerate(tracks):
        for d, detection in enumerate(detections):
            if track.last.label == detection.label:
                # Where it was counts as well as where it should be: what moved may have stopped.
                likeness = max(
                    _likeness(track.expected(pts_s), detection.box), _likeness(track.last.box, detection.box)
                )
                if likeness > 0:
                    pairs.append((-likeness, t, d))
    used_tracks: set[int] = set()
    used: set[int] = set()
    for _, t, d in sorted(pairs):
        if t not in used_tracks and d not in used:
            used_tracks.add(t)
            used.add(d)
            tracks[t].add(step, pts_s, detections[d])
    return [detection for d, detection in enumerate(detections) if d not in used]


def _likeness(expected: Corners, box: Corners) -> float:
    """1..2 by overlap, 0..1 by distance where boxes of like size hardly overlap, else 0."""
    overlap = iou(expected, box)
    if overlap >= LINK_IOU:
        return 1 + overlap
    sizes = [max((b[2] - b[0]) * (b[3] - b[1]), 1e-6) ** 0.5 for b in (expected, box)]
    if max(sizes) > LINK_SIZE_RATIO * min(sizes):
        return 0.0
    dx = (expected[0] + expected[2] - box[0] - box[2]) / 2
    dy = (expected[1] + expected[3] - box[1] - box[3]) / 2
    distance = math.hypot(dx, dy) / (sum(sizes) / 2)
    return float(max(0.0, 1 - distance / LINK_DISTANCE))


def confirmed(tracks: Sequence[Track], *, lone_score_min: float) -> list[Track]:
    """Without those that were seen in one sample only and are less certain than that."""
    return [track for track in tracks if len(track.seen) > 1 or track.last.score >= lone_score_min]
