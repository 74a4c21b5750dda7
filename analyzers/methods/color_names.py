"""Names for colours: the nearest of 34 names by CIEDE2000, the colour difference made to agree with the eye.

The names and their sRGB values are those of CSS Color Module Level 4 (named colours), picked so that they lie apart and
that people use them; charcoal and dark brown, which CSS lacks, are those of the XKCD colour survey. CIEDE2000
follows Sharma, Wu, Dalal 2005, whose test data the tests hold it to.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NAMED_COLORS: Final[dict[str, str]] = {
    "black": "#000000", "dim gray": "#696969", "gray": "#808080", "silver": "#c0c0c0", "white": "#ffffff",
    "red": "#ff0000", "dark red": "#8b0000", "firebrick": "#b22222", "salmon": "#fa8072", "coral": "#ff7f50",
    "orange": "#ffa500", "chocolate": "#d2691e", "brown": "#8b4513", "tan": "#d2b48c", "beige": "#f5f5dc",
    "gold": "#ffd700", "yellow": "#ffff00", "khaki": "#f0e68c", "olive": "#808000", "yellow green": "#9acd32",
    "lime": "#00ff00", "green": "#008000", "dark green": "#006400", "teal": "#008080", "turquoise": "#40e0d0",
    "sky blue": "#87ceeb", "steel blue": "#4682b4", "blue": "#0000ff", "navy": "#000080", "purple": "#800080",
    "magenta": "#ff00ff", "pink": "#ffc0cb", "charcoal": "#343837", "dark brown": "#341c02",
}  # fmt: skip


def to_lab(rgb: npt.NDArray[Any]) -> Floats:
    """sRGB [N, 3] in 0..255 to CIELAB (D65) [N, 3]."""
    import cv2

    values = np.asarray(rgb, np.float32).reshape(1, -1, 3) / np.float32(255)
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2LAB)[0], np.float64)


def to_hex(lab: npt.NDArray[Any]) -> str:
    """One CIELAB colour [3] to ``#rrggbb``, clipped to sRGB."""
    import cv2

    rgb = cv2.cvtColor(np.asarray(lab, np.float32).reshape(1, 1, 3), cv2.COLOR_LAB2RGB).reshape(3)
    return "#" + "".join(f"{round(float(np.clip(value, 0, 1)) * 255):02x}" for value in rgb)


def color_name(lab: npt.NDArray[Any]) -> str:
    """The name nearest to one CIELAB colour [3]."""
    names, labs = _named()
    return names[int(np.argmin(ciede2000(labs, np.broadcast_to(np.asarray(lab, np.float64), labs.shape))))]


@cache
def _named() -> tuple[list[str], Floats]:
    rgb = [[int(value[i : i + 2], 16) for i in (1, 3, 5)] for value in NAMED_COLORS.values()]
    return list(NAMED_COLORS), to_lab(np.array(rgb))


def ciede2000(one: Floats, two: Floats) -> Floats:
    """Colour differences of CIELAB colours [N, 3] and [N, 3], as [N]. 1 is just noticeable; 2.3 in the older scale."""
    l1, a1, b1 = np.moveaxis(one, -1, 0)
    l2, a2, b2 = np.moveaxis(two, -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 1.5 - 0.5 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    c1, c2 = np.hypot(a1 * g, b1), np.hypot(a2 * g, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1 * g)) % 360, np.degrees(np.arctan2(b2, a2 * g)) % 360
    gray = c1 * c2 == 0
    turn = np.where(gray, 0.0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where((h2 - h1) == 180, 180.0, turn)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    far = np.abs(h1 - h2) > 180
    mean_h = np.where(far, (h1 + h2 + np.where(h1 + h2 < 360, 360.0, -360.0)) / 2, (h1 + h2) / 2)
    mean_h = np.where(gray, h1 + h2, mean_h)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    sl = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    sc, sh = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rc = 2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    rt = -rc * np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    return np.asarray(
        np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rt * (dc / sc) * (dh / sh)), np.float64
    )
