"""Says what the camera does: static, pan, tilt, zoom, roll or handheld, how fast, from the motion of the background.

Steps between frames come from analyzers/methods/tracking.py. In `summarize` they are averaged over a second, apart
from the tremor around them, and named by the strongest component. A step that nothing explains, a cut, ends a segment.

Motions are named by what the camera does: in pan_right the picture moves left, in tilt_up it moves down, in a roll to
the right (clockwise, positive) it turns left. A camera that moves sideways (a truck) cannot be told from a pan by this
and counts as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from analyzers.methods.tracking import Step, step_between
from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import NotApplicable
from pipeline.results import ModelInfo, Number, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import MOTION, AnalyzerSpec, FrameBatch

Motion = Literal[
    "static", "pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out", "roll", "handheld"
]  # fmt: skip
Unit = Literal["frame_widths_per_s", "frame_heights_per_s", "log_scale_per_s", "degrees_per_s", "short_sides_per_s"]
Floats = npt.NDArray[np.float64]

STATIC_MAX: Final = 0.012
"""Short sides per second, mean over the picture: slower is static (a slow Ken Burns zoom has 0.02)."""
SHAKE_MIN: Final = 0.02
"""Short sides per second of tremor, root mean square, that makes a handheld camera; a tripod stays below 0.005."""
WINDOW_S: Final = 1.0
"""Over which motion is averaged. Shorter: sway counts as pans. Longer: short moves are lost."""
OUTLIER_SPREADS, OUTLIER_MIN = 8.0, 0.3
"""Median deviations, and short sides per second besides, from which a single step is taken for a wrong fit."""
SEGMENT_S_MIN: Final = 0.4
"""Shorter segments join a neighbour of their shot."""


class CameraSegment(Segment):
    """One camera motion.

    Args:
        motion: what the camera does.
        speed: of it, in `unit`; 0 when static.
        pan, tilt: frame widths and heights per second, right and up positive.
        zoom: natural logarithm of the scale per second, in positive.
        roll: degrees per second, clockwise positive.
        shake: tremor around the smooth motion in short sides per second, root mean square.
        score: share of the followed corners that agree with the motion.
    """

    motion: Motion
    speed: Number
    unit: Unit
    pan: Number
    tilt: Number
    zoom: Number
    roll: Number
    shake: Number
    score: Score


class CameraSummary(Summary):
    """Share of the time per motion (all nine), the one with most time, moves, breaks (cuts that motion shows)."""

    shares: dict[Motion, Score]
    dominant: Motion
    moving_share: Score
    shake: Number
    breaks: list[Seconds]


class CameraReport(Report[CameraSegment, CameraSummary]):
    """Segments that cover the video."""


@dataclass(frozen=True)
class CameraPart:
    """The steps of one chunk, the first one from the chunk before; `size` is (width, height) in pixels."""

    steps: list[Step]
    first_s: float
    end_s: float
    size: tuple[int, int]


class CameraAnalysis(Analyzer[CameraPart, CameraReport]):
    """Camera motion from corner tracks."""

    spec = AnalyzerSpec("camera_analysis", version="1", needs=MOTION)
    tiles = True

    def load(self, device: str, profile: Profile) -> None:
        """Nothing to read: the method is classical."""
        import cv2

        cv2.setNumThreads(1)
        self.model = ModelInfo(
            id="Shi-Tomasi corners, Lucas-Kanade, RANSAC similarity",
            revision=self.spec.version,
            backend=f"opencv {cv2.__version__}",
        )

    def analyze(self, item: FrameBatch) -> CameraPart:
        """Steps between neighbours, the lead-in frame included."""
        import cv2

        grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in item.frames]
        steps = [
            step_between(grays[number - 1], grays[number], float(item.pts_s[number - 1]), float(item.pts_s[number]))
            for number in range(1, len(grays))
        ]
        return CameraPart(steps, item.start_s, item.end_s, (grays[0].shape[1], grays[0].shape[0]))

    def summarize(self, parts: Sequence[CameraPart], upstream: Upstream) -> CameraReport:
        """Smooth, name and join the steps of the whole video."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        steps = [step for part in parts for step in part.steps]
        return report(steps, parts[-1].end_s, parts[0].size)


# --- the whole video --------------------------------------------------------------------------------------------------


class _Smooth(NamedTuple):
    """Motion around one step, in the camera's signs.

    `flow` is what each component moves the picture's points by in the mean, in short sides per second.
    """

    pan: float
    tilt: float
    zoom: float
    roll: float
    shake: float
    flow: tuple[float, ...]


def report(steps: Sequence[Step], end_s: float, size: tuple[int, int]) -> CameraReport:
    """Name and join the steps; `size` is (width, height) in pixels."""
    segments: list[CameraSegment] = []
    breaks: list[float] = []
    for step in steps:  # a flash breaks twice, noise at every step: a stretch lasts at least as long as a segment
        far = step.end_s - (breaks[-1] if breaks else 0.0) >= SEGMENT_S_MIN and end_s - step.end_s >= SEGMENT_S_MIN
        if step.agree < 0 and far:
            breaks.append(step.end_s)
    bounds = [0.0, *breaks, end_s]
    for start_s, stop_s in itertools.pairwise(bounds):
        shot = [
            step for step in steps if step.agree >= 0 and start_s - 1e-9 <= step.start_s and step.end_s <= stop_s + 1e-9
        ]
        if stop_s > start_s:
            segments += _segments(shot, start_s, stop_s, size)
    if not segments:
        segments = _segments([], 0.0, end_s, size)
    lengths = dict.fromkeys(get_args(Motion), 0.0)
    for segment in segments:
        lengths[segment.motion] += segment.end - segment.start
    total = max(sum(lengths.values()), 1e-9)
    shares = {motion: length / total for motion, length in lengths.items()}
    summary = CameraSummary(
        shares=shares,
        dominant=max(shares, key=lambda motion: shares[motion]) if total > 1e-9 else "static",
        moving_share=sum(share for motion, share in shares.items() if motion not in ("static", "handheld")),
        shake=sum(segment.shake * (segment.end - segment.start) for segment in segments) / total,
        breaks=breaks,
    )
    return CameraReport(segments=segments, summary=summary)


def _segments(steps: Sequence[Step], start_s: float, end_s: float, size: tuple[int, int]) -> list[CameraSegment]:
    """Segments of one stretch without a break."""
    if not steps:
        return [
            CameraSegment(
                start=start_s, end=end_s, motion="static", speed=0, unit="short_sides_per_s", pan=0, tilt=0, zoom=0,
                roll=0, shake=0, score=0,
            )
        ]  # fmt: skip
    smooth = _smoothed(steps, size)
    runs = _runs([_name(one) for one in smooth], steps)
    segments = []
    for number, (motion, first, last) in enumerate(runs):
        inside, mid = smooth[first : last + 1], steps[first : last + 1]
        pan, tilt, zoom, roll, shake = (
            float(np.mean([getattr(one, name) for one in inside])) for name in ("pan", "tilt", "zoom", "roll", "shake")
        )
        speed, unit = _speed(motion, pan, tilt, zoom, roll, shake)
        segments.append(
            CameraSegment(
                start=start_s if number == 0 else steps[first].start_s,
                end=end_s if number == len(runs) - 1 else steps[last].end_s,
                motion=motion, speed=speed, unit=unit, pan=pan, tilt=tilt, zoom=zoom, roll=roll, shake=shake,
                score=float(np.mean([step.agree for step in mid])),
            )
        )  # fmt: skip
    return segments


def _smoothed(steps: Sequence[Step], size: tuple[int, int]) -> list[_Smooth]:
    """Each step's motion averaged over the window around it, and the tremor in that window."""
    width, height = size
    short = min(width, height)
    ys, xs = np.mgrid[0:9, 0:9] / 8 - 0.5
    radius = float(np.hypot(xs * width, ys * height).mean()) / short
    to_flow = np.array([width / short, height / short, radius, np.pi / 180 * radius])
    middle = np.array([(step.start_s + step.end_s) / 2 for step in steps])
    length = np.array([step.end_s - step.start_s for step in steps])
    moved = np.array([(-step.dx, step.dy, step.log_scale, -step.turn) for step in steps])
    velocity = moved / length[:, None] * to_flow
    for number, time_s in enumerate(middle):  # a step unlike all around it was fitted to the wrong thing
        near = np.abs(middle - time_s) <= WINDOW_S / 2
        usual = np.median(velocity[near], axis=0)
        spread = np.median(np.abs(velocity[near] - usual), axis=0)
        if (np.abs(velocity[number] - usual) > OUTLIER_SPREADS * spread + OUTLIER_MIN).any():
            moved[number] = usual / to_flow * length[number]
    out = []
    for time_s in middle:
        near = np.abs(middle - time_s) <= WINDOW_S / 2
        rate = moved[near].sum(axis=0) / length[near].sum()
        tremor = (moved[near] / length[near, None] - rate) * to_flow
        if near.sum() > 3:  # what speeds up or slows down evenly is no tremor
            slope = np.polyfit(middle[near] - time_s, tremor, 1)
            tremor = tremor - np.outer(middle[near] - time_s, slope[0]) - slope[1]
        shake = float(np.sqrt((tremor[:, [0, 1, 3]] ** 2).sum(axis=1).mean()))
        pan, tilt, zoom, roll = (float(value) for value in rate)
        flow = np.abs(rate) * to_flow
        out.append(
            _Smooth(pan, tilt, zoom, roll, shake, (float(flow[0]), float(flow[1]), float(flow[2]), float(flow[3])))
        )
    return out


def _name(one: _Smooth) -> Motion:
    strongest = int(np.argmax(one.flow))
    flow = one.flow[strongest]
    if one.shake >= SHAKE_MIN and flow < one.shake:
        return "handheld"
    if flow < STATIC_MAX:
        return "static"
    names: tuple[tuple[Motion, Motion], ...] = (
        ("pan_right", "pan_left"), ("tilt_up", "tilt_down"), ("zoom_in", "zoom_out"), ("roll", "roll"),
    )  # fmt: skip
    return names[strongest][0 if (one.pan, one.tilt, one.zoom, one.roll)[strongest] > 0 else 1]


def _runs(names: Sequence[Motion], steps: Sequence[Step]) -> list[tuple[Motion, int, int]]:
    """Runs of one name as (name, first step, last step); those shorter than a segment join the longer neighbour."""
    runs: list[tuple[Motion, int, int]] = []
    for number, name in enumerate(names):
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1], number)
        else:
            runs.append((name, number, number))

    def seconds(run: tuple[Motion, int, int]) -> float:
        return steps[run[2]].end_s - steps[run[1]].start_s

    while len(runs) > 1:
        shortest = min(range(len(runs)), key=lambda index: seconds(runs[index]))
        if seconds(runs[shortest]) >= SEGMENT_S_MIN:
            break
        beside = [index for index in (shortest - 1, shortest + 1) if 0 <= index < len(runs)]
        into = max(beside, key=lambda index: seconds(runs[index]))
        first, last = min(shortest, into), max(shortest, into)
        runs[first : last + 1] = [(runs[into][0], runs[first][1], runs[last][2])]
        # The neighbours of a joined run may now bear its name.
        index = max(1, first)
        while index < len(runs) and index <= first + 1:
            if runs[index][0] == runs[index - 1][0]:
                runs[index - 1 : index + 1] = [(runs[index][0], runs[index - 1][1], runs[index][2])]
            else:
                index += 1
    return runs


def _speed(motion: Motion, pan: float, tilt: float, zoom: float, roll: float, shake: float) -> tuple[float, Unit]:
    if motion in ("pan_left", "pan_right"):
        return abs(pan), "frame_widths_per_s"
    if motion in ("tilt_up", "tilt_down"):
        return abs(tilt), "frame_heights_per_s"
    if motion in ("zoom_in", "zoom_out"):
        return abs(zoom), "log_scale_per_s"
    if motion == "roll":
        return abs(roll), "degrees_per_s"
    return (shake if motion == "handheld" else 0.0), "short_sides_per_s"
