"""Vertical clips with captions over moving photos, whose words, times and places are known because we drew them.

Captions are drawn as apps draw them: bold sans-serif, white with a dark outline, or on a box. They stay put while the
picture moves under them. Times lie on the 30 fps grid. The files are kept under `.cache/clips/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image, ImageDraw

from tests.media.clips import cached
from tests.media.encode import Clip, write_clip
from tests.media.fonts import font
from tests.media.packages import package_file
from tests.media.scenes import Frame, scene

VERSION: Final = "text-1"
FPS: Final = 30.0
WIDTH, HEIGHT = 720, 1280


@dataclass(frozen=True)
class Caption:
    """One line of text on screen.

    Args:
        text: the words.
        start, end: seconds, half-open.
        y: the line's middle, 0..1 of the height; it is centred across.
        size: of the font in pixels at a width of 720.
        face: see tests/media/fonts.py.
        fill: RGB of the letters.
        outline: width of the dark rim in pixels.
        backing: RGB of a box behind the text; None for none.
    """

    text: str
    start: float
    end: float
    y: float = 0.7
    size: int = 44
    face: str = "bold"
    fill: tuple[int, int, int] = (255, 255, 255)
    outline: int = 0
    backing: tuple[int, int, int] | None = None


def photo(name: str) -> Frame:
    """A photo of the test media as RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(package_file(name))), cv2.COLOR_BGR2RGB), np.uint8)


def window(picture: Frame, share: float, zoom: float = 1.25) -> tuple[float, float, float, float]:
    """x, y, width and height, in the picture's pixels, of what `pan` shows at `share` of its way."""
    tall, wide = picture.shape[:2]
    height = min(tall, wide * HEIGHT / WIDTH) / (1 + (zoom - 1) * share)
    width = height * WIDTH / HEIGHT
    return (wide - width) * (0.15 + 0.7 * share), (tall - height) / 2, width, height


def pan(picture: Frame, share: float) -> Frame:
    """A 9:16 window that slides over a picture from left to right as `share` goes from 0 to 1, and slowly zooms in."""
    x0, y0, width, height = window(picture, share)
    across, down = WIDTH / width, HEIGHT / height
    turn = np.array([[across, 0, -x0 * across], [0, down, -y0 * down]])
    return np.asarray(cv2.warpAffine(picture, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), np.uint8)


def draw(frame: Frame, captions: Sequence[Caption]) -> Frame:
    """A copy of the frame with the captions on it."""
    image = Image.fromarray(frame)
    pen = ImageDraw.Draw(image)
    scale = frame.shape[1] / WIDTH
    for caption in captions:
        face = font(max(8, round(caption.size * scale)), caption.face)
        middle = (frame.shape[1] / 2, frame.shape[0] * caption.y)
        if caption.backing is not None:
            x0, y0, x1, y1 = pen.textbbox(middle, caption.text, font=face, anchor="mm")
            pad = caption.size * scale / 3
            pen.rounded_rectangle((x0 - pad, y0 - pad, x1 + pad, y1 + pad), pad, fill=caption.backing)
        pen.text(
            middle, caption.text, font=face, fill=caption.fill, anchor="mm",
            stroke_width=round(caption.outline * scale), stroke_fill=(10, 10, 10),
        )  # fmt: skip
    return np.asarray(image)


def box_of(caption: Caption, width: int = WIDTH, height: int = HEIGHT) -> tuple[float, float, float, float]:
    """Where the letters are, 0..1."""
    pen = ImageDraw.Draw(Image.new("RGB", (width, height)))
    face = font(round(caption.size * width / WIDTH), caption.face)
    middle = (width / 2, height * caption.y)
    x0, y0, x1, y1 = pen.textbbox(middle, caption.text, font=face, anchor="mm", stroke_width=caption.outline)
    return x0 / width, y0 / height, x1 / width, y1 / height


def captioned(name: str, background: Callable[[float], Frame], captions: Sequence[Caption], seconds: float) -> Clip:
    """A clip of `background` (share of the time, 0..1, to a frame) under captions. Truth: ``captions`` with boxes."""

    def build(path: Path) -> dict[str, Any]:
        def frames() -> Iterator[Frame]:
            count = round(seconds * FPS)
            for number in range(count):
                time_s = number / FPS
                shown = [c for c in captions if c.start <= time_s + 1e-6 < c.end]
                yield draw(background(number / count), shown)

        write_clip(path, frames(), fps=FPS, options={"preset": "veryfast", "crf": "23"})
        return {"captions": [{**asdict(c), "box": box_of(c)} for c in captions], "seconds": seconds}

    return cached(name, build, version=VERSION)


def static_caption() -> Clip:
    """Two lines with umlauts that stay for the whole clip over a photo in motion."""
    picture = photo("t1.jpg")
    captions = [
        Caption("Größte Äpfel über München", 0.0, 4.0, y=0.25, size=48, outline=3),
        Caption("süß, saftig & frisch für 3,49 €", 0.0, 4.0, y=0.31, size=40, outline=3),
    ]
    return captioned("static_caption", lambda share: pan(picture, share), captions, 4.0)


def switching_captions() -> Clip:
    """Four captions one after another, each for 1.5 s, on boxes and without."""
    picture = photo("zidane.jpg")
    lines = [
        "Warum redet keiner darüber?",
        "Drei Tipps für schönere Räume",
        "Nummer 2 ist verrückt!",
        "Folge mir für mehr",
    ]
    captions = [
        Caption(
            text,
            1.5 * n,
            1.5 * (n + 1),
            y=0.72,
            size=42,
            face=("bold", "heavy")[n % 2],
            outline=3 * (n % 2),
            fill=((20, 20, 20), (255, 255, 255))[n % 2],
            backing=((255, 255, 255), None)[n % 2],
        )
        for n, text in enumerate(lines)
    ]
    return captioned("switching_captions", lambda share: pan(picture, share), captions, 6.0)


def word_by_word() -> Clip:
    """One word at a time, three a second, as automatic captions do."""
    picture = photo("bus.jpg")
    words = ["THIS", "IS", "HOW", "YOU", "ACTUALLY", "GROW", "FRESH", "TOMATOES", "INSIDE", "YOUR", "TINY", "KITCHEN"]
    captions = [
        Caption(word, round(n * 10) / FPS, round((n + 1) * 10) / FPS, y=0.6, size=64, face="heavy", outline=5,
                fill=(255, 235, 60) if n % 3 == 1 else (255, 255, 255))
        for n, word in enumerate(words)
    ]  # fmt: skip
    return captioned("word_by_word", lambda share: pan(picture, share), captions, 4.0)


def busy_picture() -> Clip:
    """Outlined lines over hard-edged shapes and texture in motion."""
    picture = scene(1007, 1600, 1280, shapes=90)
    captions = [
        Caption("POV: you finally quit", 0.0, 2.0, y=0.35, size=50, face="heavy", outline=5),
        Caption("Link in bio", 1.0, 3.0, y=0.8, size=44, outline=4, fill=(120, 255, 160)),
        Caption("Ä Ö Ü jetzt wird's ernst", 2.0, 4.0, y=0.35, size=46, outline=4),
    ]
    return captioned("busy_picture", lambda share: pan(picture, share), captions, 4.0)


def no_text() -> Clip:
    """Photos, texture, noise, black: nothing to read (the bus of the other photo bears letters)."""
    people, group = photo("zidane.jpg"), photo("t1.jpg")
    drawn = scene(1013, 1600, 1280, shapes=60)
    rng = np.random.default_rng(1)

    def background(share: float) -> Frame:
        part, inside = int(share * 5), share * 5 % 1
        if part == 3:
            return np.asarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)), np.uint8)
        if part == 4:
            return np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        return pan((people, group, drawn)[part], inside)

    return captioned("no_text", background, [], 5.0)


def scene_text() -> Clip:
    """A sign that moves with the picture, and one caption that does not."""
    picture = scene(1021, 2000, 1500, shapes=10).copy()
    cv2.rectangle(picture, (700, 620), (1300, 800), (25, 60, 120), -1)
    sign = Image.fromarray(picture)
    ImageDraw.Draw(sign).text((1000, 710), "BAKERY", font=font(110, "heavy"), fill=(240, 240, 235), anchor="mm")
    moving = np.asarray(sign)
    captions = [Caption("best bread in town", 0.0, 3.0, y=0.8, size=46, outline=4)]
    return captioned("scene_text", lambda share: pan(moving, 0.25 + 0.5 * share), captions, 3.0)


CLIPS: Final = (static_caption, switching_captions, word_by_word, busy_picture)
"""The clips whose captions are scored."""
