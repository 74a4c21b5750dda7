"""Clips with one visual effect per shot at known times, over made-up scenes, photos and real footage.

Scored clips use seeds from 1000 on; seeds below are for development. The files are kept under `.cache/clips/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from PIL import Image

from tests.media.clips import FAST, cached
from tests.media.encode import Clip, write_clip
from tests.media.packages import package_file
from tests.media.scenes import Frame, Look, between, blend, scene, seen

VERSION: Final = "effects-2"
FPS: Final = 30.0
SHOT_S: Final = 3.2
KINDS: Final = (
    "fade_in", "fade_out", "flash", "freeze_frame", "slow_motion", "speed_ramp", "zoom_punch", "blur_in", "blur_out",
    "split_screen", "letterbox", "black_and_white", "overlay_graphic", "glitch", "shake",
)  # fmt: skip
Source = Callable[[float], Frame]
"""The picture of a shot at a time of its own."""


def effect_clip(seed: int) -> Clip:
    """One shot per kind of `KINDS` in an order by seed, with cuts between. Truth: ``effects``: [{kind, start, end}]."""

    def build(path: Path) -> dict[str, Any]:
        width, height = (288, 512) if seed % 2 else (512, 288)
        rng = np.random.default_rng(seed)
        shots = [
            effect_shot(
                str(kind),
                rng,
                source(seed * 100 + number, width, height, plain=str(kind) == "speed_ramp"),
                width,
                height,
            )
            for number, kind in enumerate(rng.permutation(list(KINDS)))
        ]
        write_clip(path, (frame for frames, _ in shots for frame in frames), fps=FPS, options=FAST)
        effects = [
            {"kind": one["kind"], "start": one["start"] + SHOT_S * number, "end": one["end"] + SHOT_S * number}
            for number, (_, found) in enumerate(shots)
            for one in found
        ]
        return {"effects": effects, "duration_s": SHOT_S * len(shots)}

    return cached(f"effects_{seed}", build, version=VERSION)


# --- what the shots show ----------------------------------------------------------------------------------------------


def source(seed: int, width: int, height: int, plain: bool = False) -> Source:
    """A shot by seed: a scene with two movers (always if `plain`), a photo, or real footage."""
    kind = 0 if plain else seed % 4
    if kind in (0, 1):
        return made_up(seed, width, height)
    if kind == 2:
        return photo_move(seed, width, height)
    return footage(seed, width, height)


def made_up(seed: int, width: int, height: int) -> Source:
    """A pan over a scene with two textured things that move through it on their own."""
    rng = np.random.default_rng(seed)
    picture = scene(seed, 3 * width, 2 * height)
    things = [scene(seed + number, width // 4, height // 4, shapes=8) for number in (1, 2)]
    angle = rng.uniform(0, 2 * np.pi)
    start = Look(0.5 - 0.10 * np.cos(angle), 0.5 - 0.10 * np.sin(angle), 0.4)
    end = Look(0.5 + 0.10 * np.cos(angle), 0.5 + 0.10 * np.sin(angle), 0.4)

    def at(time_s: float) -> Frame:
        frame = seen(picture, between(start, end, time_s / SHOT_S), width, height).copy()
        for number, thing in enumerate(things):
            way = (0.5 * number + (0.16 + 0.08 * number) * time_s) % 1.4 - 0.2
            left, top = int(way * width), int(height * (0.15 + 0.4 * number))
            clipped = thing[:, max(0, -left) : max(0, width - left)]
            if clipped.shape[1]:
                frame[top : top + thing.shape[0], max(0, left) : max(0, left) + clipped.shape[1]] = clipped
        return frame

    return at


def photo_move(seed: int, width: int, height: int) -> Source:
    """A pan and slow zoom over a photo."""
    rng = np.random.default_rng(seed)
    picture = photo(("bus.jpg", "zidane.jpg", "t1.jpg")[int(rng.integers(3))])
    tall, wide = picture.shape[:2]
    most = min(1.0, tall * width / height / wide)
    # Small enough that `seen` has no need to shrink it, in steps that would make it jump.
    factor = width / (0.7 * most * wide)
    picture = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    start = Look(0.5 - 0.3 * (1 - most) - 0.05, 0.5, 0.85 * most)
    end = Look(0.5 + 0.3 * (1 - most) + 0.05, 0.47, 0.7 * most)
    return lambda time_s: seen(picture, between(start, end, time_s / SHOT_S), width, height)


def footage(seed: int, width: int, height: int) -> Source:
    """Real footage: a talking face in a car, or one shot of an animated film, filling the picture."""
    name, first_s = (("carphone_pristine.mp4", 0.3), ("bigbuckbunny.mp4", 0.3))[seed // 4 % 2]
    pictures, rate = film(name)

    def at(time_s: float) -> Frame:
        picture = pictures[min(len(pictures) - 1, max(0, int((first_s + time_s) * rate)))]
        tall, wide = picture.shape[:2]
        most = min(1.0, tall * width / height / wide)
        return seen(picture, Look(0.5, 0.5, 0.98 * most), width, height).copy()

    return at


@cache
def photo(name: str) -> Frame:
    """A photo of the test media as RGB."""
    with Image.open(package_file(name)) as image:
        return np.asarray(image.convert("RGB"))


@cache
def film(name: str) -> tuple[list[Frame], float]:
    """All frames of a clip of the test media, at most 640 px wide, and their rate."""
    with av.open(str(package_file(name))) as container:
        rate = float(container.streams.video[0].average_rate or 25)
        frames = []
        for decoded in container.decode(video=0):
            frame = decoded.to_ndarray(format="rgb24")
            if frame.shape[1] > 640:
                frame = np.asarray(
                    cv2.resize(frame, (640, 640 * frame.shape[0] // frame.shape[1]), interpolation=cv2.INTER_AREA)
                )
            frames.append(frame)
        return frames, rate


# --- effects ----------------------------------------------------------------------------------------------------------


def effect_shot(
    kind: str, rng: np.random.Generator, at: Source, width: int, height: int
) -> tuple[Iterator[Frame], list[dict[str, Any]]]:
    """The frames of one shot with one effect, and its truth, from the shot's start."""
    made = EFFECTS[kind](rng, at, width, height)
    found = [{"kind": kind, "start": made[0], "end": made[1]}]
    return (made[2](number / FPS) for number in range(round(SHOT_S * FPS))), found


Made = tuple[float, float, Source]


def _time(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)) * FPS) / FPS


def fade_in(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.15, 0.4), _time(rng, 0.4, 1.0)
    return start_s, start_s + long_s, lambda t: _gain(at(t), (t - start_s) / long_s)


def fade_out(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    long_s, hold_s = _time(rng, 0.4, 1.0), _time(rng, 0.15, 0.4)
    end_s = SHOT_S - hold_s
    return end_s - long_s, end_s, lambda t: _gain(at(t), (end_s - t) / long_s)


def _gain(frame: Frame, share: float) -> Frame:
    return np.asarray(cv2.convertScaleAbs(frame, alpha=float(np.clip(share, 0, 1))), np.uint8)


def flash(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s, fades = _time(rng, 0.8, 2.2), _time(rng, 0.1, 0.25), rng.random() < 0.5

    def picture(t: float) -> Frame:
        inside = start_s - 1e-6 <= t < start_s + long_s - 1e-6
        share = (1 - (t - start_s) / long_s * 0.7 if fades else 1.0) if inside else 0.0
        return blend(at(t), np.full((height, width, 3), 255, np.uint8), share)

    return start_s, start_s + long_s, picture


def freeze_frame(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.8, 1.4), _time(rng, 0.5, 1.2)

    def picture(t: float) -> Frame:
        return at(t if t < start_s else max(start_s, t - long_s))

    return start_s, start_s + long_s, picture


def slow_motion(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    """A quarter of the speed, each picture shown four times."""
    start_s, long_s = _time(rng, 0.8, 1.2), _time(rng, 1.2, 1.6)

    def picture(t: float) -> Frame:
        slow = np.floor(np.clip(t - start_s + 1e-6, 0, long_s) * FPS / 4) / FPS
        return at(min(t, start_s) + slow + max(0.0, t - start_s - long_s))

    return start_s, start_s + long_s, picture


def speed_ramp(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    """Everything moves 2.5 to 3.5 times as fast for a while."""
    start_s, long_s, factor = _time(rng, 0.9, 1.1), _time(rng, 0.9, 1.1), float(rng.uniform(2.5, 3.5))
    return start_s, start_s + long_s, lambda t: at(t + (factor - 1) * float(np.clip(t - start_s, 0, long_s)))


def zoom_punch(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, grow_s, zoom = _time(rng, 0.9, 2.0), float(rng.choice([0.034, 0.1, 0.167])), float(rng.uniform(1.18, 1.5))
    hold_s = 9.0 if rng.random() < 0.5 else 0.5

    def picture(t: float) -> Frame:
        share = float(np.clip((t - start_s + 1 / FPS) / grow_s, 0, 1)) if t >= start_s - 1e-6 else 0.0
        if t > start_s + hold_s:
            share = float(np.clip(1 - (t - start_s - hold_s) / grow_s, 0, 1))
        return seen(at(t), Look(0.5, 0.5, zoom**-share), width, height)

    return start_s, start_s + grow_s, picture


def blur_in(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.1, 0.3), _time(rng, 0.4, 0.8)
    return start_s, start_s + long_s, lambda t: _blurred(at(t), 1 - (t - start_s) / long_s)


def blur_out(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    long_s, hold_s = _time(rng, 0.4, 0.8), _time(rng, 0.1, 0.3)
    end_s = SHOT_S - hold_s
    return end_s - long_s, end_s, lambda t: _blurred(at(t), 1 - (end_s - t) / long_s)


def _blurred(frame: Frame, share: float) -> Frame:
    sigma = float(np.clip(share, 0, 1)) * 0.05 * min(frame.shape[:2])
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8) if sigma > 0.3 else frame


def split_screen(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.6, 1.0), _time(rng, 1.2, 1.8)
    other, across = made_up(int(rng.integers(10_000)), width, height), bool(rng.random() < 0.5)
    divider = int(rng.choice([0, 2, 4]))

    def picture(t: float) -> Frame:
        frame = at(t).copy()
        if start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            second = other(t)
            if across:
                frame[:, : width // 2] = frame[:, width // 4 : width // 4 + width // 2]
                frame[:, width // 2 :] = second[:, width // 4 : width // 4 + width - width // 2]
                frame[:, width // 2 - divider // 2 : width // 2 + divider // 2] = 255
            else:
                frame[: height // 2] = frame[height // 4 : height // 4 + height // 2]
                frame[height // 2 :] = second[height // 4 : height // 4 + height - height // 2]
                frame[height // 2 - divider // 2 : height // 2 + divider // 2] = 255
        return frame

    return start_s, start_s + long_s, picture


def letterbox(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.6, 1.0), _time(rng, 1.2, 1.8)
    share, upright, slides = float(rng.uniform(0.07, 0.2)), bool(rng.random() < 0.7), bool(rng.random() < 0.5)

    def picture(t: float) -> Frame:
        frame = at(t).copy()
        if start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            way = min(1.0, (t - start_s + 1 / FPS) / 0.2, (start_s + long_s - t) / 0.2) if slides else 1.0
            bar = round(share * way * (height if upright else width))
            if bar and upright:
                frame[:bar] = frame[-bar:] = 0
            elif bar:
                frame[:, :bar] = frame[:, -bar:] = 0
        return frame

    return start_s, start_s + long_s, picture


def black_and_white(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.6, 1.0), _time(rng, 0.8, 1.8)

    def picture(t: float) -> Frame:
        frame = at(t)
        if start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            return np.repeat(np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))[:, :, None], 3, axis=2)
        return frame

    return start_s, start_s + long_s, picture


def overlay_graphic(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    """A badge with a star, or an inset picture, that pops up and stays."""
    start_s, long_s, pops = _time(rng, 0.7, 1.1), _time(rng, 1.0, 1.8), bool(rng.random() < 0.5)
    side = int(min(width, height) * rng.uniform(0.25, 0.4))
    left, top = int(rng.uniform(0.05, 0.6) * width), int(rng.uniform(0.05, 0.6) * height)
    badge, cover = sticker(rng, side)

    def picture(t: float) -> Frame:
        frame = at(t).copy()
        if start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            size = int(side * min(1.0, 0.3 + (t - start_s) / 0.15 * 0.7)) if pops else side
            small, mask = (cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in (badge, cover))
            x, y = left + (side - size) // 2, top + (side - size) // 2
            below = frame[y : y + size, x : x + size]
            part = mask[: below.shape[0], : below.shape[1], None]
            below[:] = (below * (1 - part) + small[: below.shape[0], : below.shape[1]] * part + 0.5).astype(np.uint8)
        return frame

    return start_s, start_s + long_s, picture


def sticker(rng: np.random.Generator, side: int) -> tuple[Frame, Any]:
    """A badge or an inset [side, side, 3] and its cover [side, side] in 0..1."""
    color, other = (tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(2))
    badge, cover = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.float32)
    middle = (side // 2, side // 2)
    if rng.random() < 0.6:
        cv2.circle(badge, middle, side // 2 - 1, color, -1, cv2.LINE_AA)
        cv2.circle(cover, middle, side // 2 - 1, 1.0, -1, cv2.LINE_AA)
        turn = np.arange(10) * np.pi / 5
        radius = side * np.where(np.arange(10) % 2, 0.16, 0.38)
        star = np.stack([middle[0] + radius * np.sin(turn), middle[1] - radius * np.cos(turn)], axis=1).astype(np.int32)
        cv2.fillPoly(badge, [star], (255, 255, 255), cv2.LINE_AA)
        cv2.circle(badge, middle, side // 12, other, -1, cv2.LINE_AA)
    else:
        badge[:] = scene(int(rng.integers(10_000)), side, side, shapes=8)
        cv2.rectangle(badge, (0, 0), (side - 1, side - 1), (255, 255, 255), 3)
        cover[:] = 1.0
    return badge, cover


def glitch(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.8, 2.2), _time(rng, 0.2, 0.5)
    way, seed = float(rng.uniform(0.025, 0.05)), int(rng.integers(1 << 30))

    def picture(t: float) -> Frame:
        frame = at(t)
        if not start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            return frame
        noise = np.random.default_rng((seed, round(t * FPS)))
        shift = round(way * width * noise.uniform(0.7, 1.3))
        frame = np.stack([np.roll(frame[..., 0], shift, 1), frame[..., 1], np.roll(frame[..., 2], -shift, 1)], axis=2)
        for _ in range(6):
            top, tall = int(noise.uniform(0, 0.9) * height), int(noise.uniform(0.03, 0.1) * height)
            frame[top : top + tall] = np.roll(frame[top : top + tall], int(noise.uniform(-0.1, 0.1) * width), axis=1)
        return frame

    return start_s, start_s + long_s, picture


def shake(rng: np.random.Generator, at: Source, width: int, height: int) -> Made:
    start_s, long_s = _time(rng, 0.8, 1.4), _time(rng, 0.5, 0.9)
    reach, seed = float(rng.uniform(0.03, 0.05)), int(rng.integers(1 << 30))

    def picture(t: float) -> Frame:
        if not start_s - 1e-6 <= t < start_s + long_s - 1e-6:
            return at(t)
        # Every other frame somewhere else, as templates of editing programs do it (15 Hz).
        number = round(t * FPS) // 2
        dx, dy = np.random.default_rng((seed, number)).uniform(0.4, 1, 2) * (1 if number % 2 else -1)
        return seen(at(t), Look(0.5 + reach * dx, 0.5 + reach * dy * width / height, 0.94), width, height)

    return start_s, start_s + long_s, picture


EFFECTS: Final[dict[str, Callable[[np.random.Generator, Source, int, int], Made]]] = {
    name: globals()[name] for name in KINDS
}


# --- no effect --------------------------------------------------------------------------------------------------------


def plain_clip(seed: int) -> Clip:
    """Shots without effects: made-up pans, photos, footage, with cuts and dissolves, handheld, dark, a still photo.

    Truth: ``effects`` (none).
    """

    def build(path: Path) -> dict[str, Any]:
        width, height = (288, 512) if seed % 2 else (512, 288)
        rng = np.random.default_rng(seed)
        count = round(2.4 * FPS)
        shots = [source(seed * 100 + number, width, height) for number in range(8)]

        def one(index: int, t: float) -> Frame:
            frame = shots[index](t)
            if index == 4:  # a dark scene
                frame = np.asarray(cv2.convertScaleAbs(frame, alpha=0.16, beta=4), np.uint8)
            if index == 5:  # held by hand, all the time
                dx, dy = 0.006 * np.sin(9.1 * t) + 0.004 * np.sin(23 * t), 0.005 * np.sin(7.3 * t + 1)
                frame = seen(frame, Look(0.5 + dx, 0.5 + dy, 0.94, 0.4 * float(np.sin(5 * t))), width, height)
            if index == 6:  # a still photo with sensor noise
                frame = shots[index](0.5)
                frame = np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
            return frame

        def frames() -> Iterator[Frame]:
            for index in range(len(shots)):
                for number in range(count):
                    t = number / FPS
                    frame = one(index, t)
                    if index % 2 and t < 0.6:  # a dissolve into every other shot
                        frame = blend(one(index - 1, 2.4 + t), frame, t / 0.6)
                    yield frame

        write_clip(path, frames(), fps=FPS, options=FAST)
        return {"effects": [], "duration_s": 8 * count / FPS}

    return cached(f"no_effects_{seed}", build, version=VERSION)
