"""What one frame of the MOTION view leaves behind for the effect detectors: light, detail, motion, bars, glitch traces.

Everything is measured on small pictures with array operations. Motion is dense here (DIS optical flow, Kroeger et al.
2016, averaged over blocks, with a robust similarity fitted to it): an eighth of what corner tracks cost, and movers are
told from the camera, which the speed detector needs. Camera motion proper is camera_analysis' business.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.methods.effects_traces import DIFF_SCALE, Bytes, Floats, bars_of, lines_of, planes_of, slices_of
from analyzers.methods.thumbnails import GRID, step_between, unexplained
from analyzers.methods.transitions import BLACK_LEVEL, PLAIN_SHARE, STEP_MIN, WHITE_LEVEL

BLOCK_PX: Final = 8
"""Side of a block of `diff` and `edge`."""
FLOW_SHRINK: Final = 2
"""Flow is taken at half the size (112 px short side), in blocks of 8 px of that."""
ZOOMS: Final = (1.08, 1.12, 1.16, 1.2, 1.26, 1.32, 1.4, 1.5)
"""Enlargements that are tried where a step is not explained by motion."""
ZOOM_FLOW_MIN: Final = 0.06
"""Log scale per step from which flow says too little."""
ZOOM_PX: Final = 64
ZOOM_LIKE_MIN: Final = 0.6
"""Correlation of the enlarged picture's detail with the next one's, from which it is the same."""


class Features(NamedTuple):
    """Of N frames; a frame's step is the one from the frame before, zero for the first of a video.

    Args:
        pts_s: float64 [N].
        grid: uint8 [N, 16, 16, 3], Y Cr Cb.
        step, moved, changed: float32 [N], as analyzers/methods/transitions.py's Film has them.
        plain: int8 [N], -1 plain black, 1 plain white, 0 neither.
        light, contrast: float32 [N], mean and standard deviation of luma.
        chroma: float32 [N], 99th percentile of the distance from grey of Cr and Cb.
        detail: float32 [N, 3], mean gradient at full, half and quarter size.
        diff, edge: uint8 [N, R, C], mean change of a block since the frame before in eighths of a level; its mean
            gradient in levels.
        flow: float32 [N, 4], shift x, y (in short sides), log scale, turn (radians) of the picture.
        movers: float32 [N, 2], mean speed of what does not follow that, in short sides per step, and its share of the
            textured blocks.
        sides: float32 [N, 2], how differently left and right half move, and upper and lower, in short sides.
        agree: float32 [N], share of the textured blocks that follow the picture's motion.
        zoom: float32 [N], log scale of a jump that enlargement alone explains; 0 for none.
        bars: float32 [N, 4], share of the side that is black at the top, bottom, left, right.
        planes: float32 [N, 3], sideways shift of red against blue in widths, its correlation and that without shift.
        slices: float32 [N], how many neighbouring bands part ways.
        lines: uint8 [N, 2, 48], how much neighbouring columns around the middle differ, in eighths of a
            level; the same for rows.
    """

    pts_s: npt.NDArray[np.float64]
    grid: Bytes
    step: Floats
    moved: Floats
    changed: Floats
    plain: npt.NDArray[np.int8]
    light: Floats
    contrast: Floats
    chroma: Floats
    detail: Floats
    diff: Bytes
    edge: Bytes
    flow: Floats
    movers: Floats
    sides: Floats
    agree: Floats
    zoom: Floats
    bars: Floats
    planes: Floats
    slices: Floats
    lines: Bytes


def features_of(frames: Bytes, pts_s: npt.NDArray[np.float64], lead_in: int) -> Features:
    """Features of RGB frames [N, H, W, 3]; those of the first `lead_in` frames are left out."""
    import cv2

    height, width = frames.shape[1:3]
    luma, half, small_color = [], [], []
    thumb = (48, 27) if width >= height else (27, 48)
    half_size = (max(16, width // FLOW_SHRINK), max(16, height // FLOW_SHRINK))
    for frame in frames:
        luma.append(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        small_color.append(cv2.resize(frame, half_size, interpolation=cv2.INTER_AREA))
        half.append(cv2.cvtColor(small_color[-1], cv2.COLOR_RGB2GRAY))
    thumbs = [cv2.resize(frame, thumb, interpolation=cv2.INTER_AREA) for frame in small_color]
    thumbs_ycc = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in thumbs]
    step, moved, changed = _thumb_steps(thumbs_ycc)
    grays, halves = np.stack(luma), np.stack(half)
    detail, edge = _detail(luma, half)
    diff = _diff(luma)
    flow, movers, sides, agree = _motion(half, _blocks(edge, half_size))
    grid = np.stack([cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA) for frame in thumbs_ycc])
    color = np.abs(np.stack(thumbs_ycc)[..., 1:].astype(np.int16) - 128).max(axis=3).reshape(len(frames), -1)
    black = (np.stack(thumbs) < BLACK_LEVEL).all(axis=3).mean(axis=(1, 2)) >= PLAIN_SHARE
    white = (np.stack(thumbs) > WHITE_LEVEL).all(axis=3).mean(axis=(1, 2)) >= PLAIN_SHARE
    found = Features(
        pts_s=np.asarray(pts_s, np.float64),
        grid=grid,
        step=step,
        moved=moved,
        changed=changed,
        plain=white.astype(np.int8) - black.astype(np.int8),
        light=halves.mean(axis=(1, 2), dtype=np.float32),
        contrast=halves.reshape(len(frames), -1).std(axis=1, dtype=np.float32),
        chroma=np.percentile(color, 99, axis=1).astype(np.float32),
        detail=detail,
        diff=diff,
        edge=edge,
        flow=flow,
        movers=movers,
        sides=sides,
        agree=agree,
        zoom=_zoom_jumps(half, (changed >= 0.3) & (agree <= 0.8) | (np.abs(flow[:, 2]) >= ZOOM_FLOW_MIN)),
        bars=bars_of(grays),
        planes=planes_of(np.stack(small_color)[:, ::3]),
        slices=slices_of(half),
        lines=lines_of(halves),
    )
    return Features._make(array[lead_in:] for array in found)


def join(parts: Sequence[Features]) -> Features:
    """The features of a whole video from those of its chunks."""
    return Features._make(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


# --- steps between frames ---------------------------------------------------------------------------------------------


def _thumb_steps(thumbs: Sequence[Any]) -> tuple[Floats, Floats, Floats]:
    step, moved, changed = (np.zeros(len(thumbs), np.float32) for _ in range(3))
    for number, (before, after) in enumerate(itertools.pairwise(thumbs), start=1):
        step[number] = step_between(before, after)
        if step[number] >= STEP_MIN:
            moved[number], changed[number] = unexplained(before, after)
    return step, moved, changed


def _detail(luma: Sequence[Any], half: Sequence[Any]) -> tuple[Floats, Bytes]:
    """Mean gradients at three sizes [N, 3], and of each block at full size [N, R, C]."""
    import cv2

    detail = np.zeros((len(luma), 3), np.float32)
    height, width = luma[0].shape
    blocks = (max(1, width // BLOCK_PX), max(1, height // BLOCK_PX))
    edges = []
    for number, (full, small) in enumerate(zip(luma, half, strict=True)):
        quarter = cv2.resize(
            small, (max(2, small.shape[1] // 2), max(2, small.shape[0] // 2)), interpolation=cv2.INTER_AREA
        )
        gradient = _gradient(full)
        edges.append(cv2.resize(gradient, blocks, interpolation=cv2.INTER_AREA))
        detail[number] = cv2.mean(gradient)[0], cv2.mean(_gradient(small))[0], cv2.mean(_gradient(quarter))[0]
    return detail, np.stack(edges)


def _gradient(gray: Any) -> Any:
    """The larger of the differences to the right and lower neighbour, [H, W] uint8."""
    import cv2

    out = np.zeros_like(gray)
    if gray.shape[1] > 1:
        out[:, :-1] = cv2.absdiff(gray[:, 1:], gray[:, :-1]).reshape(gray.shape[0], -1)
    if gray.shape[0] > 1:
        out[:-1] = np.maximum(out[:-1], cv2.absdiff(gray[1:], gray[:-1]).reshape(-1, gray.shape[1]))
    return out


def _diff(luma: Sequence[Any]) -> Bytes:
    import cv2

    height, width = luma[0].shape
    blocks = (max(1, width // BLOCK_PX), max(1, height // BLOCK_PX))
    diff = np.zeros((len(luma), blocks[1], blocks[0]), np.uint8)
    for number, (before, after) in enumerate(itertools.pairwise(luma), start=1):
        change = cv2.absdiff(before, after).astype(np.float32)
        mean = cv2.resize(change, blocks, interpolation=cv2.INTER_AREA)
        diff[number] = np.minimum(mean * DIFF_SCALE + 0.5, 255)
    return diff


def _blocks(edge: Bytes, half_size: tuple[int, int]) -> Floats:
    """`edge` at the flow's block size, [N, R, C]."""
    import cv2

    size = (max(1, half_size[0] // BLOCK_PX), max(1, half_size[1] // BLOCK_PX))
    return np.stack(
        [cv2.resize(one.astype(np.float32), size, interpolation=cv2.INTER_AREA).reshape(size[::-1]) for one in edge]
    )


def _motion(half: Sequence[Any], edge: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """`flow`, `movers`, `sides` and `agree` of `Features`."""
    import cv2

    count, rows, columns = edge.shape
    flow, movers, sides = (np.zeros((count, size), np.float32) for size in (4, 2, 2))
    agree = np.zeros(count, np.float32)
    height, width = half[0].shape
    short = min(width, height)
    if count < 2 or short < 24:
        return flow, movers, sides, agree
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    field = np.zeros((count, rows, columns, 2), np.float32)
    for number, (before, after) in enumerate(itertools.pairwise(half), start=1):
        if float(cv2.norm(before, after, cv2.NORM_INF)) > 2:
            whole = dis.calc(before, after, None)
            field[number] = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, 2)
    middle = rows // 2, columns // 2
    for place, (one, two) in enumerate(
        ((field[:, :, : middle[1]], field[:, :, -middle[1] :]), (field[:, : middle[0]], field[:, -middle[0] :]))
    ):
        if min(middle) > 0:
            gap = np.median(one.reshape(count, -1, 2), axis=1) - np.median(two.reshape(count, -1, 2), axis=1)
            sides[:, place] = np.hypot(gap[:, 0], gap[:, 1]) / short
    y, x = np.mgrid[0:rows, 0:columns]
    x = ((x.reshape(-1) + 0.5) / columns - 0.5) * width / short
    y = ((y.reshape(-1) + 0.5) / rows - 0.5) * height / short
    moved = field.reshape(count, -1, 2) / short
    textured = (edge.reshape(count, -1) >= 2.0).astype(np.float64)
    # u = tx + a x - b y, v = ty + b x + a y; iteratively reweighted with Cauchy weights.
    zero, one = np.zeros_like(x), np.ones_like(x)
    design = np.concatenate([np.stack([one, zero, x, -y], 1), np.stack([zero, one, y, x], 1)])
    wanted = np.concatenate([moved[..., 0], moved[..., 1]], axis=1)
    squares = (design[:, :, None] * design[:, None]).reshape(-1, 16)
    weight, found = textured + 1e-3, np.zeros((count, 4))
    for _ in range(6):
        both = np.concatenate([weight, weight], axis=1)
        normal = (both @ squares).reshape(-1, 4, 4) + 1e-9 * np.eye(4)
        found = np.linalg.solve(normal, ((both * wanted) @ design)[..., None])[..., 0]
        left = (wanted - found @ design.T).reshape(count, 2, -1)
        away = np.hypot(left[:, 0], left[:, 1])
        spread = np.maximum(2 * np.median(away, axis=1, keepdims=True), 0.002)
        weight = (textured + 1e-3) / (1 + (away / spread) ** 2)
    speed = np.sqrt((found[:, :2] ** 2).sum(axis=1)) + np.abs(found[:, 2]) + np.abs(found[:, 3])
    near = away <= np.maximum(0.01, 0.15 * speed)[:, None]
    known = np.maximum(textured.sum(axis=1), 1)
    agree[:] = (near * textured).sum(axis=1) / known
    apart = textured * ~near
    movers[:, 1] = apart.sum(axis=1) / known
    movers[:, 0] = (apart * away).sum(axis=1) / np.maximum(apart.sum(axis=1), 1)
    flow[:, :2] = found[:, :2]
    flow[:, 2] = np.log(np.maximum(np.hypot(1 + found[:, 2], found[:, 3]), 0.1))
    flow[:, 3] = np.arctan2(found[:, 3], 1 + found[:, 2])
    return flow, movers, sides, agree


def _zoom_jumps(half: Sequence[Any], asked: npt.NDArray[np.bool_]) -> Floats:
    """Log scale of the enlargement that turns a frame into the next, where flow does not tell it well, [N]."""
    import cv2

    out = np.zeros(len(half), np.float32)
    window = cv2.createHanningWindow((ZOOM_PX, ZOOM_PX), cv2.CV_32F)
    for number in range(1, len(half)):
        if not asked[number]:
            continue
        before, after = (_fine(half[at]) for at in (number - 1, number))
        best, plain = (0.0, 0.0), _alike(before, after, window)
        for zoom in ZOOMS:
            enlarge = np.array([[zoom, 0, ZOOM_PX / 2 * (1 - zoom)], [0, zoom, ZOOM_PX / 2 * (1 - zoom)]])
            for sign, a, b in ((1, before, after), (-1, after, before)):
                warped = cv2.warpAffine(a, enlarge, (ZOOM_PX, ZOOM_PX), borderMode=cv2.BORDER_REPLICATE)
                best = max(best, (_alike(warped, b, window), sign * float(np.log(zoom))))
        if best[0] >= max(ZOOM_LIKE_MIN, plain + 0.1):
            out[number] = best[1]
    return out


def _fine(gray: Any) -> Any:
    """A picture at [ZOOM_PX, ZOOM_PX] float32 without its coarse shades, which unrelated pictures may share."""
    import cv2

    small = cv2.resize(gray, (ZOOM_PX, ZOOM_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - cv2.GaussianBlur(small, (0, 0), 4.0)


def _alike(a: Any, b: Any, window: Any) -> float:
    """Correlation of the overlap of two pictures [S, S] float32 after the shift that aligns them best."""
    import cv2

    (dx, dy), _ = cv2.phaseCorrelate(a, b, window)
    x, y, side = round(dx), round(dy), a.shape[0]
    if max(abs(x), abs(y)) > side // 6:
        x = y = 0
    p = a[max(0, -y) : side - max(0, y), max(0, -x) : side - max(0, x)].reshape(-1)
    q = b[max(0, y) : side - max(0, -y), max(0, x) : side - max(0, -x)].reshape(-1)
    if p.std() < 2 or q.std() < 2:
        return 0.0
    return float(np.corrcoef(p, q)[0, 1])
