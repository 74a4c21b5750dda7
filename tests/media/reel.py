"""The sample reel: half a minute of vertical video with everything that the analyzers look for, and the truth of it.

Photos and clips of pinned packages under camera moves, cuts on the beat, a dissolve, a fade through black, captions,
real English and synthetic German speech, music of known tempo and key, sound effects, a flash and a freeze. The demo
shows it, end-to-end tests and benchmarks measure on it. `python -m tests.media.reel` makes it and prints where it is.

Boxes of things in the photos were drawn by eye on the photo (within about 2 % of its side); they move with the camera.
"""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.fonts import font
from tests.media.music import KEY, RATE, click, impact, song, whoosh
from tests.media.packages import package_file
from tests.media.scenes import Frame, Look, between, blend, seen
from tests.media.speech_synth import speak

VERSION: Final = "reel-4"
WIDTH, HEIGHT, FPS = 1080, 1920, 30.0
DURATION_S: Final = 30.0
TEMPO_BPM: Final = 120.0
DISSOLVE_S: Final = 0.8
FADE_S: Final = (0.4, 0.2, 0.4)
"""Down to black, black, up from black; its middle is the shots' boundary."""
FLASH_S: Final = (24.0, 24.0667)
"""Two white frames."""
FREEZE_S: Final = (20.8, 21.5)
"""The picture stands still; the fade begins after it."""

# Pixels of the photo, x0 y0 x1 y1.
PHOTO_BOXES: Final[dict[str, list[tuple[str, tuple[int, int, int, int]]]]] = {
    "bus.jpg": [
        ("bus", (18, 229, 804, 742)),
        ("person", (50, 398, 246, 903)),
        ("person", (223, 405, 345, 860)),
        ("person", (668, 392, 810, 880)),
        ("person", (0, 552, 80, 873)),
    ],
    "zidane.jpg": [("person", (122, 200, 1152, 720)), ("person", (750, 42, 1142, 720)), ("tie", (435, 436, 525, 720))],
    "t1.jpg": [
        ("person", (0, 233, 306, 886)),
        ("person", (262, 103, 470, 672)),
        ("person", (336, 216, 682, 642)),
        ("person", (640, 290, 930, 626)),
        ("person", (875, 0, 1270, 658)),
        ("person", (980, 233, 1280, 692)),
    ],
}


@dataclass(frozen=True)
class Part:
    """One shot.

    Args:
        source: a photo or clip of tests/media/packages.py.
        start, end: in seconds, to the middle of a transition.
        looks: where the camera looks at the start and the end; a clip has one look or a frame.
        motion: what the camera does, as camera_analysis names it; None in a clip, whose camera is not known.
        enter: how the shot begins.
        from_s: where in the clip it begins.
        things: what is to be seen in a clip (no boxes: it moves).
    """

    source: str
    start: float
    end: float
    looks: tuple[Look, ...]
    motion: str | None = None
    enter: str = "cut"
    from_s: float = 0.0
    things: tuple[str, ...] = field(default=())


# A 9:16 window over a photo of w x h is h * 9 / 16 / w of its width at most: bus .75, zidane .316, t1 .389.
PARTS: Final = (
    Part("bus.jpg", 0.0, 4.0, (Look(0.50, 0.50, 0.75), Look(0.46, 0.53, 0.54)), "zoom_in", "start"),
    Part("zidane.jpg", 4.0, 7.5, (Look(0.27, 0.5, 0.315), Look(0.74, 0.5, 0.315)), "pan_right"),
    Part("bigbuckbunny.mp4", 7.5, 10.5, (Look(0.36, 0.5, 0.316),), from_s=0.6),
    Part("t1.jpg", 10.5, 14.5, (Look(0.78, 0.5, 0.389), Look(0.22, 0.5, 0.389)), "pan_left", "dissolve"),
    Part("carphone_pristine.mp4", 14.5, 17.5, (), from_s=0.2, things=("person", "tie")),
    Part("bikes.mp4", 17.5, 19.5, (), from_s=7.56, things=("bicycle",)),
    Part("bikes.mp4", 19.5, 22.0, (), from_s=5.56, things=("car", "bicycle")),
    Part("bus.jpg", 22.0, 26.0, (Look(0.28, 0.32, 0.49), Look(0.28, 0.67, 0.49)), "tilt_down", "fade"),
    Part("zidane.jpg", 26.0, 30.0, (Look(0.74, 0.40, 0.19), Look(0.74, 0.46, 0.29)), "zoom_out"),
)


@dataclass(frozen=True)
class Caption:
    """A caption from `start` to `end` (in seconds) with its centre's height in 0..1."""

    text: str
    start: float
    end: float
    y: float
    size_px: int = 96


CAPTIONS: Final = (
    Caption("WAS GEHT AB", 0.5, 3.5, 0.14, 132),
    Caption("Größe zählt nicht", 4.5, 7.0, 0.70),
    Caption("Anzeige", 11.2, 14.0, 0.11, 76),
    Caption("#ad mit Adidas", 11.2, 14.0, 0.70),
    Caption("Schöne Grüße", 15.0, 17.0, 0.13),
    Caption("3 Tipps für dich", 22.8, 25.6, 0.13, 110),
    Caption("FOLLOW FOR MORE", 26.5, 29.5, 0.68),
)

ENGLISH: Final = (
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
)
SPEECH: Final = (
    (0.4, "en", ENGLISH),
    (12.2, "de", "Hallo zusammen! Heute zeige ich euch drei einfache Tipps für den Alltag."),
    (22.7, "de", "Folgt mir für mehr Videos und schreibt mir eure Fragen."),
)
"""Start in seconds, language, words. The English is a real recording, the German espeak-ng's voice."""
EFFECTS: Final = (
    (7.45, "whoosh", 0.30), (18.25, "click", 0.5), (18.75, "click", 0.5), (19.2, "whoosh", 0.35),
    (20.75, "impact", 0.7), (26.0, "impact", 0.7), (28.25, "click", 0.5),
)  # fmt: skip
"""Onset in seconds, kind, peak (full scale is 1). A whoosh is loudest 0.3 s after its onset."""
MUSIC_PEAK, MUSIC_PEAK_UNDER_SPEECH, SPEECH_PEAK = 0.30, 0.08, 0.7


def sample_reel() -> Clip:
    """The reel, made on first use; its truth also lies beside it as JSON."""
    return cached("sample_reel", _build, version=VERSION)


def _build(path: Path) -> dict[str, Any]:
    sound, speech = soundtrack()
    options = {"preset": "superfast", "crf": "22", "g": "60"}
    write_clip(path, _drawn_ahead(frames()), fps=FPS, sound=sound, sound_rate=RATE, options=options)
    return truth(speech)


def _drawn_ahead(source: Iterator[Frame], count: int = 8) -> Iterator[Frame]:
    """The same frames, drawn by a thread beside the encoder's."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(next, source, None) for _ in range(count))
        while (frame := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, source, None))
            yield frame


# --- picture ----------------------------------------------------------------------------------------------------------


def frames() -> Iterator[Frame]:
    """All frames, uint8 [1920, 1080, 3] RGB."""
    for number in range(round(DURATION_S * FPS)):
        time_s = number / FPS
        frame = _shots_at(time_s)
        if FLASH_S[0] - 1e-6 <= time_s < FLASH_S[1] - 1e-3:
            frame = np.full_like(frame, 255)
        for caption in CAPTIONS:
            if caption.start - 1e-6 <= time_s < caption.end - 1e-6:
                _stamp(frame, caption)
        yield frame


def _shots_at(time_s: float) -> Frame:
    index = max(i for i, part in enumerate(PARTS) if part.start <= time_s + 1e-6)
    for later in (index, index + 1):
        if later >= len(PARTS):
            continue
        offset_s = time_s - PARTS[later].start
        if PARTS[later].enter == "dissolve" and abs(offset_s) < DISSOLVE_S / 2:
            share = 0.5 + offset_s / DISSOLVE_S
            return blend(_picture(later - 1, time_s), _picture(later, time_s), share)
        if PARTS[later].enter == "fade" and abs(offset_s) < sum(FADE_S) / 2:
            ramp_s = FADE_S[0] if offset_s < 0 else FADE_S[2]
            light = float(np.clip((abs(offset_s) - FADE_S[1] / 2) / ramp_s, 0, 1))
            return np.asarray(cv2.convertScaleAbs(_picture(index, time_s), alpha=light), np.uint8)
    return _picture(index, time_s)


def _look(index: int, time_s: float) -> Look:
    """Where the camera of a photo's shot looks; it keeps moving under a dissolve and a fade."""
    part = PARTS[index]
    return between(part.looks[0], part.looks[1], (time_s - part.start) / (part.end - part.start))


def _picture(index: int, time_s: float) -> Frame:
    part = PARTS[index]
    if part.source.endswith(".jpg"):
        return seen(_photo(part.source), _look(index, time_s), WIDTH, HEIGHT).copy()
    if FREEZE_S[0] <= time_s < part.end + FADE_S[0] and part.start <= FREEZE_S[0] < part.end:
        time_s = FREEZE_S[0]
    pictures, rate = _clip(part.source)
    source = pictures[min(len(pictures) - 1, max(0, int((part.from_s + time_s - part.start) * rate)))]
    if part.looks:
        return seen(source, part.looks[0], WIDTH, HEIGHT).copy()
    return _framed(source)


def _framed(source: Frame) -> Frame:
    """A small or wide clip across the screen's middle, over a blurred and darkened copy of itself."""
    height, width = source.shape[:2]
    shown = min(width, int(height * 1.25))  # 5:4 at most, from the clip's middle
    left = (width - shown) // 2
    source = source[:, left : left + shown]
    band_height = round(WIDTH * height / shown)
    narrow = source[:, shown // 4 : shown - shown // 4]
    back = cv2.GaussianBlur(cv2.resize(narrow, (54, 96), interpolation=cv2.INTER_AREA), (0, 0), 5)
    canvas = cv2.convertScaleAbs(cv2.resize(back, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), alpha=0.45)
    top = (HEIGHT - band_height) // 2
    canvas[top : top + band_height] = cv2.resize(source, (WIDTH, band_height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(canvas, np.uint8)


@cache
def _photo(name: str) -> Frame:
    with Image.open(package_file(name)) as image:
        return np.asarray(image.convert("RGB"))


@cache
def _clip(name: str) -> tuple[list[Frame], float]:
    with av.open(str(package_file(name))) as container:
        rate = float(container.streams.video[0].average_rate or 25)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], rate


@cache
def _drawn(caption: Caption) -> tuple[Frame, npt.NDArray[np.float32], tuple[int, int, int, int]]:
    """A caption's colours [h, w, 3], its cover [h, w, 1] in 0..1 and its box in pixels (outline included)."""
    layer = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    draw.text(
        (WIDTH / 2, caption.y * HEIGHT), caption.text, font=font(caption.size_px), anchor="mm", align="center",
        fill=(255, 255, 255, 255), stroke_width=max(3, caption.size_px // 14), stroke_fill=(16, 16, 16, 255),
    )  # fmt: skip
    box = layer.getbbox()
    assert box is not None
    pixels = np.asarray(layer.crop(box))
    return pixels[:, :, :3].copy(), pixels[:, :, 3:].astype(np.float32) / np.float32(255), box


def _stamp(frame: Frame, caption: Caption) -> None:
    colors, cover, (x0, y0, x1, y1) = _drawn(caption)
    below = frame[y0:y1, x0:x1]
    below[:] = (below * (1 - cover) + colors * cover + 0.5).astype(np.uint8)


# --- sound ------------------------------------------------------------------------------------------------------------


def soundtrack() -> tuple[npt.NDArray[np.float32], list[dict[str, Any]]]:
    """The mix (mono float32, 48 kHz) and the speech segments of the truth."""
    music, _ = song(DURATION_S, TEMPO_BPM)
    gain = np.full(len(music), MUSIC_PEAK, np.float32)
    mix = np.zeros(len(music), np.float32)
    spoken: list[dict[str, Any]] = []
    for start_s, language, text in SPEECH:
        voice = _recording() if language == "en" else _resampled(*speak(text, language))
        voice = voice / np.abs(voice).max() * SPEECH_PEAK
        first = round(start_s * RATE)
        voice = voice[: len(mix) - first]
        mix[first : first + len(voice)] += voice
        loud = np.flatnonzero(np.abs(voice) > 0.05)
        begin, end = first + loud[0], first + loud[-1]
        gain[max(0, begin - RATE // 5) : end + RATE // 5] = MUSIC_PEAK_UNDER_SPEECH
        spoken.append({"start": begin / RATE, "end": end / RATE, "language": language, "text": text})
    smooth = RATE // 10
    sums = np.cumsum(np.pad(gain, (smooth // 2 + 1, smooth - smooth // 2 - 1), mode="edge"), dtype=np.float64)
    mix += music * ((sums[smooth:] - sums[:-smooth]) / smooth)[: len(mix)].astype(np.float32)
    sounds = {"click": click, "whoosh": whoosh, "impact": impact}
    for at_s, kind, peak in EFFECTS:
        effect = peak * sounds[kind]()
        first = round(at_s * RATE)
        mix[first : first + len(effect)] += effect[: len(mix) - first]
    return np.clip(mix, -0.98, 0.98).astype(np.float32), spoken


def _recording() -> npt.NDArray[np.float32]:
    with av.open(str(package_file("jfk.wav"))) as container:
        rate = container.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    return _resampled(samples.astype(np.float32) / np.float32(32768), rate)


def _resampled(samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="flt", layout="mono")
    frame.sample_rate = rate
    pieces = [out.to_ndarray().ravel() for given in (frame, None) for out in resampler.resample(given)]
    return np.concatenate(pieces).astype(np.float32)


# --- truth ------------------------------------------------------------------------------------------------------------


def truth(speech: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is known; times in seconds, boxes in 0..1 of the picture."""
    return {
        "duration_s": DURATION_S,
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "shots": [
            {"start": part.start, "end": part.end, "source": part.source, "motion": part.motion}
            | {"objects": _things(index)}
            for index, part in enumerate(PARTS)
        ],
        "cuts": [{"time": part.start, "kind": part.enter} for part in PARTS[1:]],
        "captions": [
            {"text": caption.text, "start": caption.start, "end": caption.end, "box": _relative(_drawn(caption)[2])}
            for caption in CAPTIONS
        ],
        "speech": speech,
        "music": {"tempo_bpm": TEMPO_BPM, "key": KEY, "beats": song(DURATION_S, TEMPO_BPM)[1]},
        "effects": [{"time": at_s, "kind": kind, "peak": peak} for at_s, kind, peak in EFFECTS],
        "flash": {"start": FLASH_S[0], "end": FLASH_S[1]},
        "freeze": {"start": FREEZE_S[0], "end": FREEZE_S[1]},
        "brands": ["Adidas"],
        "disclosure": ["Anzeige", "#ad"],
    }  # fmt: skip


def _relative(box: tuple[float, float, float, float]) -> list[float]:
    sides = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return [round(float(np.clip(value / side, 0, 1)), 4) for value, side in zip(box, sides, strict=True)]


def _things(index: int) -> list[dict[str, Any]]:
    """Objects of a shot. Of photos with boxes each quarter of a second, while a quarter of them or more is in view."""
    part = PARTS[index]
    if not part.source.endswith(".jpg"):
        return [{"label": label, "boxes": None} for label in part.things]
    photo = _photo(part.source)
    found = []
    for label, box in PHOTO_BOXES[part.source]:
        boxes = []
        for time_s in np.arange(part.start, part.end, 0.25):
            look = _look(index, float(time_s))
            scale = WIDTH / (look.width * photo.shape[1])
            left, top = look.x * photo.shape[1] - WIDTH / 2 / scale, look.y * photo.shape[0] - HEIGHT / 2 / scale
            x0, y0, x1, y1 = ((value - off) * scale for value, off in zip(box, (left, top, left, top), strict=True))
            inside = _relative((x0, y0, x1, y1))
            area = (inside[2] - inside[0]) * WIDTH * (inside[3] - inside[1]) * HEIGHT
            if area >= 0.25 * (x1 - x0) * (y1 - y0):
                boxes.append(
                    {"time": float(time_s), "box": inside, "in_view": round(area / ((x1 - x0) * (y1 - y0)), 3)}
                )
        if boxes:
            found.append({"label": label, "boxes": boxes})
    return found


def main(arguments: list[str]) -> None:
    """Make the reel; with a path, put it and its truth there too."""
    reel = sample_reel()
    if arguments:
        target = Path(arguments[0])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reel.path, target)
        shutil.copyfile(reel.path.with_suffix(".json"), target.with_suffix(".truth.json"))
    sys.stdout.write(f"{arguments[0] if arguments else reel.path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
