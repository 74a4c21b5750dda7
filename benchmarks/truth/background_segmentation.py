"""How right background_segmentation is: known figures at known sizes, skies and meadows of known size, what is neither,
and the setting of a street, a room, a meadow, a slide and of nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from analyzers.background_segmentation import BackgroundReport, BackgroundSegmentation
from benchmarks.truth import Figure, run_analyzer
from benchmarks.truth.object_detection import nothing_clip, pan_clip
from pipeline.analyzer import Profile
from pipeline.settings import load_settings
from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.packages import package_file
from tests.media.people import HEIGHT, WIDTH, backdrop, outline_mask, paste
from tests.media.scenes import Frame, Look, scene, seen
from tests.media.text_clips import photo

NAME: Final = "background_segmentation"
VERSION: Final = "background-1"
FPS: Final = 4.0
SIZES: Final = (260, 380, 520, 700)
"""Heights of the figures in pixels of 854, a second each."""


def figures_clip(name: str, seed: int) -> Clip:
    """A figure at four sizes. Truth: ``shares``, of the picture, by second."""

    def build(path: Path) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        shares, frames = [], []
        for size in SIZES:
            picture = backdrop(seed)
            height = size // 2 if name == "two men" else size
            _, share = paste(picture, name, height, rng.uniform(0, 0.2) * WIDTH, HEIGHT - height - rng.uniform(0, 60))
            shares.append(share)
            frames += [picture] * round(FPS)
        write_clip(path, frames, fps=FPS)
        return {"shares": shares}

    return cached(f"figures_{name.replace(' ', '_')}_{seed}", build, version=VERSION)


def landscape(rng: np.random.Generator, sky_share: float, grass_share: float) -> Frame:
    """A sky that gets lighter downwards, grey rock, and a meadow of blades at the bottom."""
    horizon, meadow = round(sky_share * HEIGHT), round((1 - grass_share) * HEIGHT)
    picture = scene(int(rng.integers(1000, 2000)), WIDTH, HEIGHT, shapes=0)
    picture[:] = np.clip(picture.mean(axis=2, keepdims=True), 60, 140)
    rise = np.linspace(0, 1, max(horizon, 1))[:horizon, None, None]
    picture[:horizon] = np.array([70, 130, 215]) + rise * np.array([90, 70, 30]) + rng.normal(0, 1.5, (horizon, 1, 1))
    blades = cv2.resize(rng.normal(0, 1, (HEIGHT // 6, WIDTH // 3)), (WIDTH, HEIGHT))[meadow:]
    picture[meadow:] = np.clip(np.array([85, 125, 45]) + 28 * blades[:, :, None], 0, 255)
    return np.asarray(picture, np.uint8)


LANDSCAPES: Final = ((0.4, 0.3), (0.25, 0.0), (0.0, 0.5), (0.6, 0.2))


def landscape_clip(seed: int) -> Clip:
    """Four landscapes, a second each. Truth: ``areas``, shares of sky and of vegetation by second."""

    def build(path: Path) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        pictures = [landscape(rng, *areas) for areas in LANDSCAPES]
        write_clip(path, (picture for picture in pictures for _ in range(round(FPS))), fps=FPS)
        return {"areas": LANDSCAPES}

    return cached(f"landscapes_{seed}", build, version=VERSION)


def painted_clip() -> Clip:
    """Plain and lit walls in green and blue, a green screen with a shadow, a colour wheel: no sky, no plants."""

    def frames() -> Iterator[Frame]:
        x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
        light = (1 - 0.35 * np.hypot(x, y * 0.6))[:, :, None]
        for color in ((60, 160, 70), (70, 120, 210), (0, 177, 64)):
            yield from [np.full((HEIGHT, WIDTH, 3), color, np.uint8)] * 2
            yield from [np.asarray(light * color, np.uint8)] * 2
        hue = np.asarray((np.arctan2(y, x) / np.pi + 1) * 90, np.uint8)
        wheel = np.stack([hue, np.full_like(hue, 200), np.full_like(hue, 220)], axis=2)
        yield from [np.asarray(cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB), np.uint8)] * 2

    return cached("painted", lambda path: {"frames": len(str(write_clip(path, frames(), fps=FPS)))}, version=VERSION)


def still_clip(name: str, picture: Callable[[], Frame]) -> Clip:
    """Two seconds of a picture."""
    return cached(
        f"still_{name}",
        lambda path: {"frames": len(str(write_clip(path, [picture()] * 8, fps=FPS)))},
        version=VERSION,
    )


def _small(name: str) -> Frame:
    picture = photo(name)
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    return picture[:height, :width]


def _slide() -> Frame:
    picture = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for row, text in enumerate(("Three tips", "1. sleep", "2. walk", "3. read")):
        cv2.putText(picture, text, (50, 240 + 110 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.8, (30, 60, 140), 5)
    return np.asarray(picture, np.uint8)


def by_second(report: BackgroundReport, name: str, seconds: int) -> list[float]:
    """The share of a class in the middle of each second."""
    middle = [next(s for s in report.segments if s.start <= n + 0.5 < s.end) for n in range(seconds)]
    return [segment.classes.get(name, 0.0) for segment in middle]


def measure() -> list[Figure]:
    """Areas against truth, what must not be found, and settings."""
    settings = load_settings()
    analyzer = BackgroundSegmentation()
    analyzer.load("cpu", Profile(settings.profile, settings.models_dir))

    def watch(clip: Clip | Path) -> BackgroundReport:
        report = run_analyzer(analyzer, clip.path if isinstance(clip, Clip) else clip)
        assert isinstance(report, BackgroundReport)
        return report

    misses: list[tuple[float, float]] = []
    for name, seed in (("fur coat", 1000), ("dark coat", 1001), ("two men", 1002)):
        clip = figures_clip(name, seed)
        found = by_second(watch(clip), "person", len(SIZES))
        misses += [(abs(a - b), b) for a, b in zip(found, clip.truth["shares"], strict=True)]
    green: list[float] = []
    blue: list[float] = []
    land = landscape_clip(1000)
    on_land = watch(land)
    for name, column, into in (("sky", 0, blue), ("vegetation", 1, green)):
        truth = [areas[column] for areas in land.truth["areas"]]
        into += [abs(a - b) for a, b in zip(by_second(on_land, name, len(truth)), truth, strict=True)]
    animation, nothing, painted = watch(package_file("bigbuckbunny.mp4")), watch(nothing_clip()), watch(painted_clip())
    shapes = still_clip("shapes", lambda: seen(scene(1005, 900, 900, shapes=60), Look(0.5, 0.5, 0.5), WIDTH, HEIGHT))
    people_invented = [
        segment.person_share
        for report in (animation, nothing, painted, watch(shapes), on_land)
        for segment in report.segments
    ]
    room, hall = (still_clip(n, partial(_small, f)) for n, f in (("room", "t1.jpg"), ("dark_hall", "zidane.jpg")))
    on_room, on_hall = watch(room), watch(hall)
    named = [
        segment.classes.get(name, 0.0)
        for report in (painted, nothing, on_room, on_hall)
        for segment in report.segments
        for name in ("sky", "vegetation")
    ]
    settings_of = {
        "outdoor": (watch(pan_clip("bus.jpg")), on_land, animation),
        "indoor": (on_room,),
        "graphic": (watch(still_clip("slide", _slide)),),
        "unknown": (nothing, on_hall),
    }
    right = [report.summary.setting == name for name, reports in settings_of.items() for report in reports]
    men, truth_men = on_hall.summary.person_share, float(outline_mask("two men").mean())
    errors = [miss for miss, _ in misses]
    relative = [miss / share for miss, share in misses if share >= 0.05]
    return [
        Figure(NAME, "figures at 12 sizes, mean error of their share", float(np.mean(errors)), 0.02, at_most=True),
        Figure(NAME, "those of 5 % and more, mean error relative to it", float(np.mean(relative)), 0.15, at_most=True),
        Figure(NAME, "photo of two men, error of their share", abs(men - truth_men), 0.1, at_most=True),
        Figure(NAME, "made-up skies, mean error of the share", float(np.mean(blue)), 0.05, at_most=True),
        Figure(NAME, "made-up meadows, mean error of the share", float(np.mean(green)), 0.05, at_most=True),
        Figure(NAME, "animals, shapes, walls, noise: largest share of people", max(people_invented), 0.0, at_most=True),
        Figure(NAME, "painted walls, noise, a room, a hall: largest sky or plants", max(named), 0.0, at_most=True),
        Figure(NAME, "seven clips in and out of doors, drawn, neither: settings right", float(np.mean(right)), 0.85),
    ]
