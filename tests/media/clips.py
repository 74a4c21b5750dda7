"""Short truth clips: made-up footage whose cuts, camera moves, colours and defects are known because we drew them.

Each function returns a `Clip` (file and truth) and keeps the file under `.cache/clips/VERSION/`. Scored clips use seeds
from 1000 on; seeds below are for development, so that no parameter is tuned on what is scored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from tests.media.encode import Clip, write_clip
from tests.media.scenes import Frame, Look, between, blend, scene, seen

VERSION: Final = "2"
"""Raised when any generator draws something else; old files are then not used again."""
ROOT: Final = Path(__file__).resolve().parents[2] / ".cache" / "clips"


def cached(name: str, build: Callable[[Path], dict[str, Any]], suffix: str = ".mp4", version: str = VERSION) -> Clip:
    """The clip of that name, built at most once; safe against other processes that build it at the same time."""
    folder = ROOT / version
    folder.mkdir(parents=True, exist_ok=True)
    path, truth_path = folder / f"{name}{suffix}", folder / f"{name}.json"
    if not (path.is_file() and truth_path.is_file()):
        temporary = folder / f".{os.getpid()}-{name}{suffix}"
        truth = build(temporary)
        note = temporary.with_suffix(".json")
        note.write_text(json.dumps(truth, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.replace(path)
        note.replace(truth_path)
    return Clip(path, json.loads(truth_path.read_text(encoding="utf-8")))


# --- cuts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shot:
    """One shot of a made-up film.

    Args:
        picture: which scene.
        seconds: how long, from the middle of the transition into it to the middle of the next.
        start, end: the camera's looks.
        enter: how it begins: ``cut``, ``dissolve``, ``fade`` (through black) or ``fade_white``.
        enter_s: how long a transition takes in all.
        mover: a disc of a third of the picture's height runs through it.
        shake: hand tremor, standard deviation in 0..1 of the picture.
    """

    picture: int
    seconds: float
    start: Look
    end: Look
    enter: str = "cut"
    enter_s: float = 0.0
    mover: bool = False
    shake: float = 0.0


def film(shots: Sequence[Shot], times: Iterable[float], width: int, height: int, noise: float = 0.0) -> Iterator[Frame]:
    """Frames of the shots at those times, with their transitions; `noise` is a standard deviation in levels."""
    pictures = {shot.picture: scene(shot.picture, 2 * width, 2 * height) for shot in shots}
    starts = np.concatenate([[0.0], np.cumsum([shot.seconds for shot in shots])])
    rng = np.random.default_rng(shots[0].picture)

    def one(number: int, time_s: float) -> Frame:
        shot = shots[number]
        share = (time_s - starts[number] + 1.0) / (shot.seconds + 2.0)  # it moves on under its transitions
        look = between(shot.start, shot.end, float(np.clip(share, 0, 1)))
        dx, dy = rng.normal(0, shot.shake, 2) if shot.shake else (0.0, 0.0)
        frame = seen(pictures[shot.picture], Look(look.x + dx, look.y + dy, look.width, look.roll), width, height)
        if shot.mover:
            center = (int((share * 2 % 1) * width), int(height * (0.5 + 0.2 * np.sin(9 * share))))
            cv2.circle(frame, center, height // 6, (235, 120, 40), -1, cv2.LINE_AA)
        return frame

    for time_s in times:
        number = int(np.searchsorted(starts[1:-1], time_s + 1e-6, side="right"))
        frame = one(number, time_s)
        for later, sign in ((number, 1), (number + 1, -1)):
            if later in (0, len(shots)):
                continue
            shot, offset_s = shots[later], time_s - starts[later]
            if shot.enter == "cut" or abs(offset_s) >= shot.enter_s / 2:
                continue
            share = 0.5 + offset_s / shot.enter_s
            if shot.enter == "dissolve":
                other = one(later - 1 if sign > 0 else later, time_s)
                frame = blend(other, frame, share) if sign > 0 else blend(frame, other, share)
            else:  # down to the colour during 45 % of it, 10 % of plain colour, up during 45 %
                plain = np.full_like(frame, 0 if shot.enter == "fade" else 255)
                frame = blend(frame, plain, float(np.clip((1 - abs(2 * share - 1)) / 0.9, 0, 1)))
        if noise:
            frame = np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
        yield frame


def cuts_truth(shots: Sequence[Shot]) -> list[dict[str, Any]]:
    """The transitions of a film: a cut at the new shot's first frame, a dissolve and a fade at their middle."""
    starts = np.cumsum([shot.seconds for shot in shots])[:-1]
    return [
        {"time": float(time), "kind": shot.enter.split("_")[0]} for time, shot in zip(starts, shots[1:], strict=True)
    ]


def random_shots(seed: int, count: int, fades: bool = True) -> list[Shot]:
    """Shots with random moves and transitions."""
    rng = np.random.default_rng(seed)
    kinds = ["cut"] * 5 + ["dissolve"] * 4 + (["fade", "fade_white"] if fades else [])
    shots = []
    for number in range(count):
        enter = str(rng.choice(kinds)) if number else "cut"
        enter_s = {"cut": 0.0, "dissolve": float(rng.uniform(0.3, 1.3))}.get(enter, float(rng.uniform(0.6, 1.4)))
        left, top, wide = (float(value) for value in rng.uniform((0.35, 0.35, 0.45), (0.65, 0.65, 0.75)))
        start = Look(left, top, wide)
        x, y = (float(value) for value in np.clip(rng.normal(0, 0.1, 2), -0.2, 0.2) * float(rng.random() < 0.6))
        zoom = float(rng.uniform(0.75, 1.3)) if rng.random() < 0.4 else 1.0
        end = Look(start.x + x, start.y + y, start.width * zoom)
        seconds = float(np.round(rng.uniform(1.5, 2.9), 1))
        shake = 0.004 if rng.random() < 0.2 else 0.0
        shots.append(
            Shot(seed * 100 + number, seconds, start, end, enter, enter_s, mover=rng.random() < 0.25, shake=shake)
        )
    return shots


def cut_clip(seed: int, variable_rate: bool = False) -> Clip:
    """A film of seven shots with cuts, dissolves and fades. Size, rate and noise depend on the seed.

    Truth: ``cuts`` as in the report of cut_analysis (time, kind), ``duration_s``.
    """

    def build(path: Path) -> dict[str, Any]:
        width, height = [(320, 180), (180, 320), (240, 240), (256, 144)][seed % 4]
        fps = [30.0, 25.0, 24.0, 60.0, 30.0][seed % 5]
        shots = random_shots(seed, 7)
        duration_s = sum(shot.seconds for shot in shots)
        times = np.arange(0, duration_s - 1e-6, 1 / fps)
        if variable_rate:  # as phones do: half of the frames fall out where it is dark, and times jitter
            rng = np.random.default_rng(seed)
            dark = np.sin(times * 1.7) > 0.2
            times = times[~dark | (np.arange(len(times)) % 2 == 0)]
            times = times + np.concatenate([[0.0], rng.uniform(-0.2, 0.2, len(times) - 1) / fps])
        noise = [0.0, 2.0, 5.0][seed % 3]
        write_clip(path, film(shots, times, width, height, noise), fps=fps, pts_s=list(times), options=FAST)
        truth = cuts_truth(shots)
        for cut in truth:
            if cut["kind"] == "cut":
                cut["time"] = float(times[np.searchsorted(times, cut["time"] - 1e-6)])
        return {"cuts": truth, "duration_s": duration_s}

    return cached(f"cuts_{seed}{'_variable' if variable_rate else ''}", build)


FAST: Final = {"preset": "veryfast", "crf": "20"}


def no_cut_clip(seed: int) -> Clip:
    """Twelve seconds without a cut, full of what looks like one. Truth: ``cuts`` (none), ``events`` (what and when).

    A fast pan, a whip pan with motion blur, flashes of one to three white frames, a flash that dies away, a disc that
    runs through the picture, a caption that pops up, the exposure that drifts, a fast zoom, hand shake.
    """
    events = {
        "fast_pan": 1.0, "flash": 2.5, "flash_3": 3.5, "whip_pan": 4.5, "dying_flash": 6.0, "caption": 7.0,
        "exposure": 8.0, "zoom": 9.5, "shake": 10.5,
    }  # fmt: skip

    def build(path: Path) -> dict[str, Any]:
        fps, width, height = 30.0, 320, 180
        picture = scene(seed, 6 * width, 2 * height)
        rng = np.random.default_rng(seed)

        def frames() -> Iterator[Frame]:
            for number in range(int(12 * fps)):
                time_s = number / fps
                pan = 0.25 * np.clip(time_s - 1.0, 0, 1) + 0.35 * np.clip((time_s - 4.5) / 0.3, 0, 1)
                zoom = 1.0 - 0.45 * np.clip((time_s - 9.5) / 0.4, 0, 1)
                dx, dy = rng.normal(0, 0.004, 2) * (time_s > 10.5)
                look = Look(0.15 + pan + dx / 3, 0.5 + dy, 0.16 * zoom)
                frame = seen(picture, look, width, height)
                if 4.5 < time_s < 4.8:
                    frame = np.asarray(cv2.blur(frame, (35, 1)), np.uint8)
                if 7.0 <= time_s < 8.5:
                    cv2.rectangle(frame, (40, 120), (280, 160), (250, 250, 250), -1)
                    cv2.putText(frame, "BUY IT NOW", (52, 150), cv2.FONT_HERSHEY_DUPLEX, 1.1, (10, 10, 10), 2)
                center = (int(((time_s * 0.6) % 1.4 - 0.2) * width), 90)
                cv2.circle(frame, center, 34, (200, 60, 60), -1, cv2.LINE_AA)
                gain = 1.0 - 0.5 * np.clip(time_s - 8.0, 0, 1) + 0.5 * np.clip((time_s - 9.0) / 0.5, 0, 1)
                frame = np.clip(frame * gain, 0, 255).astype(np.uint8)
                white = float(number == 75 or 105 <= number < 108)
                white = max(white, 1 - (number - 180) / 8 if 180 <= number < 188 else 0.0)
                yield blend(frame, np.full_like(frame, 255), white)

        write_clip(path, frames(), fps=fps, options=FAST)
        return {"cuts": [], "duration_s": 12.0, "events": events}

    return cached(f"no_cuts_{seed}", build)


# --- camera -----------------------------------------------------------------------------------------------------------

MOVES: Final[dict[str, tuple[Look, Look]]] = {
    "static": (Look(0.5, 0.5, 0.5), Look(0.5, 0.5, 0.5)),
    "pan_right": (Look(0.3, 0.5, 0.4), Look(0.7, 0.5, 0.4)),
    "pan_left": (Look(0.6, 0.45, 0.5), Look(0.4, 0.45, 0.5)),
    "tilt_up": (Look(0.5, 0.7, 0.4), Look(0.5, 0.3, 0.4)),
    "tilt_down": (Look(0.45, 0.4, 0.5), Look(0.45, 0.6, 0.5)),
    "zoom_in": (Look(0.5, 0.5, 0.75), Look(0.5, 0.5, 0.5)),
    "zoom_out": (Look(0.5, 0.5, 0.35), Look(0.52, 0.5, 0.6)),
    "roll": (Look(0.5, 0.5, 0.5, -12), Look(0.5, 0.5, 0.5, 14)),
    "handheld": (Look(0.5, 0.5, 0.5), Look(0.5, 0.5, 0.5)),
}
MOVE_S: Final = 2.0


def camera_clip(seed: int, upright: bool = False, mover: bool = False) -> Clip:
    """Every motion of `MOVES` for two seconds each, in an order by seed, with a cut between them.

    Truth: ``motions``: [{start, end, motion, speed}], speed in the units of camera_analysis where it has one sign.
    With `mover` a person-sized block with a texture of its own walks through each shot.
    """

    def build(path: Path) -> dict[str, Any]:
        width, height = (252, 448) if upright else (448, 252)
        rng = np.random.default_rng(seed)
        names = [str(name) for name in rng.permutation(list(MOVES))]
        fps = 30.0
        sprite = scene(seed + 5, width // 4, int(height * 0.55), shapes=8)

        def frames() -> Iterator[Frame]:
            for index, name in enumerate(names):
                picture = scene(seed * 100 + index, 2 * width, 2 * height)
                start, end = MOVES[name]
                count = int(MOVE_S * fps)
                tremor = _tremor(rng, count) if name == "handheld" else np.zeros((count, 3))
                for number in range(count):
                    look = between(start, end, number / (count - 1))
                    dx, dy, roll = tremor[number]
                    frame = seen(picture, Look(look.x + dx, look.y + dy, look.width, look.roll + roll), width, height)
                    if mover:
                        left = int(width * (0.1 + 0.6 * number / count))
                        top = height - sprite.shape[0] - int(6 * abs(np.sin(number / 4)))
                        frame = frame.copy()
                        frame[top : top + sprite.shape[0], left : left + sprite.shape[1]] = sprite
                    yield frame

        write_clip(path, frames(), fps=fps, options=FAST)
        motions = [
            {"start": index * MOVE_S, "end": (index + 1) * MOVE_S, "motion": name, "speed": _move_speed(name)}
            for index, name in enumerate(names)
        ]
        return {"motions": motions, "duration_s": len(names) * MOVE_S}

    return cached(f"camera_{seed}{'_upright' if upright else ''}{'_mover' if mover else ''}", build)


def _tremor(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Hand tremor [N, 3]: shifts in 0..1 of the picture and roll in degrees, as low-passed noise around 1 to 6 Hz."""
    noise = rng.standard_normal((count + 8, 3))
    smooth = np.stack([np.convolve(column, np.hanning(7) / np.hanning(7).sum(), "same") for column in noise.T], axis=1)
    return np.asarray(smooth[4 : 4 + count] * [0.008, 0.008, 0.5])


def _move_speed(name: str) -> float | None:
    start, end = MOVES[name]
    if name.startswith("pan"):
        return abs(end.x - start.x) / start.width / MOVE_S
    if name.startswith("tilt"):  # a picture and a frame have one aspect ratio here
        return abs(end.y - start.y) / start.width / MOVE_S
    if name.startswith("zoom"):
        return abs(float(np.log(end.width / start.width))) / MOVE_S
    return abs(end.roll - start.roll) / MOVE_S if name == "roll" else None


def still_clip(seed: int, noise: float = 3.0) -> Clip:
    """Three seconds of one picture with sensor noise of that standard deviation. Truth: ``motions``."""

    def build(path: Path) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        picture = scene(seed, 448, 252).astype(np.float32)
        frames = (np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8) for _ in range(90))
        write_clip(path, frames, options=FAST)
        return {"motions": [{"start": 0.0, "end": 3.0, "motion": "static", "speed": None}], "duration_s": 3.0}

    return cached(f"still_{seed}", build)


# --- colour -----------------------------------------------------------------------------------------------------------

GRADES: Final = (
    (((200, 60, 40), 0.5), ((240, 200, 90), 0.3), ((60, 40, 30), 0.2)),
    (((40, 90, 180), 0.45), ((180, 215, 235), 0.35), ((20, 30, 60), 0.2)),
    (((90, 90, 90), 0.6), ((200, 200, 200), 0.4)),
)
"""Warm, cold, gray: sRGB colours and their shares, two seconds each."""


def color_clip(height: int = 360) -> Clip:
    """Fields of known colours in three gradings. From 720 lines on BT.709, below BT.601.

    Truth: ``grades``: [{start, end, colors: [[rgb, share]]}].
    """

    def build(path: Path) -> dict[str, Any]:
        width = height * 16 // 9 // 2 * 2
        pictures = []
        for grade in GRADES:
            picture = np.zeros((height, width, 3), np.uint8)
            left = 0.0
            for color, share in grade:
                picture[:, round(left * width) : round((left + share) * width)] = color
                left += share
            pictures.append(picture)
        write_clip(path, (picture for picture in pictures for _ in range(60)), options=FAST)
        grades = [
            {"start": 2.0 * index, "end": 2.0 * index + 2, "colors": [[list(color), share] for color, share in grade]}
            for index, grade in enumerate(GRADES)
        ]
        return {"grades": grades, "duration_s": 6.0}

    return cached(f"colors_{height}", build)


# --- quality ----------------------------------------------------------------------------------------------------------


def spoiled_clip(seed: int, fault: str, degree: float) -> Clip:
    """Two seconds of one picture with one fault. Truth: ``fault``, ``degree``.

    Faults: ``blur`` (sigma in pixels), ``noise`` (sigma in levels), ``gain`` (factor), ``crf`` (of x264); else almost
    lossless.
    """

    def build(path: Path) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        width, height = 960, 544
        picture = seen(scene(seed, 2 * width, 2 * height, shapes=60), Look(0.5, 0.5, 0.5), width, height)

        def spoiled() -> Frame:
            if fault == "blur" and degree > 0:
                return np.asarray(cv2.GaussianBlur(picture, (0, 0), degree), np.uint8)
            if fault == "noise":
                noise = rng.normal(0, degree, (height, width, 1))
                return np.asarray(np.clip(picture + noise + 0.5, 0, 255), np.uint8)
            gain = degree if fault == "gain" else 1.0
            return np.asarray(np.clip(picture.astype(np.float32) * gain, 0, 255), np.uint8)

        crf = int(degree) if fault == "crf" else 3
        write_clip(path, (spoiled() for _ in range(40)), fps=20, options={"preset": "veryfast", "crf": str(crf)})
        return {"fault": fault, "degree": degree, "duration_s": 2.0}

    return cached(f"{fault}_{degree:g}_{seed}", build)
