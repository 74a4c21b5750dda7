"""Groups shots to scenes: how alike two shots look, and which neighbours belong together.

A shot is described by a few of its pictures, and two shots are as far apart as their nearest pictures are (Rui, Huang
and Mehrotra 1999, "Constructing table-of-content for videos", compare best frames likewise). A picture is described by
a CIELAB histogram (8 x 8 x 8 soft cells), one of edge directions weighted by strength in 2 x 2 parts, and mean
lightness; where the profile has a network that tells what a picture shows, its vectors say how far two are apart.
Scenes are found by overlapping links (Hanjalic, Lagendijk and Biemond 1999): a shot that resembles one of the last few
shots pulls all between them into its scene, so that cutaways and dialogues (A-B-A-B) stay together; a boundary is where
no link crosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CELLS: Final = 8
DIRECTIONS: Final = 8
PIXELS: Final = 64
"""Side of the picture that is described."""
LINK_MAX: Final = 0.25
"""Distance up to which two shots show the same place or people. Of pans over random upright crops (45 to 80 % of the
height) of one photo 54 % are nearer, of two photos 0.1 % (37 photos of scikit-image, scikit-learn, opencv-doc)."""
MEANING_LINK_MAX: Final = 0.25
"""The same for vectors: a cosine of 0.75. Not measured, no weights were at hand: a middle between what CLIP is commonly
reported to give for unrelated photos (about 0.5) and for near-duplicates (above 0.9)."""
LINK_SHOTS: Final = 4
"""How many shots back a link may reach."""
LINK_S: Final = 15.0
"""And how many seconds: after that the same place is a return to it and a new scene."""
COLOR_WEIGHT: Final = 0.7


class Looks(NamedTuple):
    """Descriptions of N pictures: float32 [N, 512] colours, [N, 32] edges, [N] lightness 0..1, [N] chroma 0..1.

    `meaning`: [N, D], a network's vectors of length 1; D is 0 where there is none.
    """

    colors: Floats
    edges: Floats
    light: Floats
    chroma: Floats
    meaning: Floats


def describe(frames: Sequence[npt.NDArray[np.uint8]]) -> Looks:
    """Descriptions of RGB pictures [H, W, 3]."""
    import cv2

    colors, edges, light, chroma = [], [], [], []
    for frame in frames:
        small = cv2.resize(frame, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
        colors.append(_color_cells(lab.reshape(-1, 3)))
        edges.append(_directions(np.ascontiguousarray(lab[:, :, 0])))
        light.append(lab[:, :, 0].mean() / 100)
        chroma.append(np.hypot(lab[:, :, 1], lab[:, :, 2]).mean() / 100)
    meaning = np.zeros((len(frames), 0), np.float32)
    return Looks(*(np.asarray(values, np.float32) for values in (colors, edges, light, chroma, meaning)))


def _color_cells(lab: npt.NDArray[Any]) -> Floats:
    """Soft histogram [512] of CIELAB pixels [N, 3], sum 1; a pixel counts for the eight cells around it."""
    place = np.clip((lab - [0, -60, -60]) / [100 / 7, 120 / 7, 120 / 7], 0, 6.999)
    low = place.astype(np.int32)
    part = place - low
    out = np.zeros(CELLS**3)
    for corner in range(8):
        bits = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = np.where(bits, part, 1 - part).prod(axis=1)
        out += np.bincount((low + bits) @ np.array([64, 8, 1]), weight, CELLS**3)
    return np.asarray(out / out.sum(), np.float32)


def _directions(light: npt.NDArray[Any]) -> Floats:
    """Edge directions [32] of a picture's lightness, in four parts of it, sum 1 (0 where it has no edges)."""
    import cv2

    across, down = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    strength[strength < 8] = 0
    bins = ((np.arctan2(down, across) % np.pi) / np.pi * DIRECTIONS).astype(np.int32) % DIRECTIONS
    half = PIXELS // 2
    row, column = np.mgrid[0:PIXELS, 0:PIXELS] // half
    out = np.bincount(((row * 2 + column) * DIRECTIONS + bins).reshape(-1), strength.reshape(-1), 4 * DIRECTIONS)
    return np.asarray(out / max(float(out.sum()), 1e-6), np.float32)


def apart(one: Looks, two: Looks) -> float:
    """How far two shots are apart, 0..1: the distance of their nearest pictures."""
    if one.meaning.shape[1] > 0:
        return float(np.clip(1 - (one.meaning @ two.meaning.T).max(), 0, 1))
    colors = 1 - np.sqrt(one.colors)[:, None] @ np.sqrt(two.colors).T[None]
    edges = np.abs(one.edges[:, None] - two.edges[None]).sum(axis=2) / 2
    distance = COLOR_WEIGHT * np.sqrt(np.maximum(colors[:, 0], 0)) + (1 - COLOR_WEIGHT) * edges
    return float(np.clip(distance.min(), 0, 1))


def group(shots: Sequence[Looks], starts_s: Sequence[float], ends_s: Sequence[float]) -> list[tuple[int, int]]:
    """First and last shot (both included) of each scene, in order."""
    link_max = MEANING_LINK_MAX if shots and shots[0].meaning.shape[1] > 0 else LINK_MAX
    reach = list(range(len(shots)))
    for later in range(1, len(shots)):
        for earlier in range(max(0, later - LINK_SHOTS), later):
            if starts_s[later] - ends_s[earlier] <= LINK_S and apart(shots[earlier], shots[later]) <= link_max:
                reach[earlier] = later
    scenes: list[tuple[int, int]] = []
    first = furthest = 0
    for number in range(len(shots)):
        furthest = max(furthest, reach[number])
        if number == furthest:
            scenes.append((first, number))
            first = furthest = number + 1
    return scenes
