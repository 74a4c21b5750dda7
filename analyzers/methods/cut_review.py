"""A second opinion on transitions: what a network that sees whole runs of pictures confirms, refuses or adds.

Cuts, dissolves and fades of the classical detectors have exact times and few errors, but slides and whips through blur
are beyond them; the network (analyzers/models/transnet_v2.py) finds most of these, and takes flashes, captions and
fades for transitions. So each has its say where it is good: the network refuses what it is certain about, adds what
leads to another picture, and leaves fades, flashes and times to the classical detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.thumbnails import Floats, likeness, likeness_under_zoom
from analyzers.methods.transitions import SAME, STEP_MIN, Film, Transition

LOOK_S: Final = 0.5
"""A transition leaves other pictures this far apart; most last less, longer ones change as much within it."""
YES_MIN: Final = 0.5
"""Probability from which a picture is part of a transition (the authors' threshold)."""
NO_MAX: Final = 0.1
"""Probability below which, all through a transition, there is none. On 12 films of 66 known ones the least is 0.23."""
REACH_S: Final = 0.1
"""How far the network's and the classical detectors' times of one transition may be apart."""
AROUND_S: Final = 0.3
"""What is shown this long before and after is compared: longer than a flash."""
CUT_PICTURES: Final = 2
"""The network marks the one or two pictures around a cut, and more of anything slower."""
SINGLE_MIN: Final = 0.75
"""Least probability of an added cut: captions and flashes that come at once reach 0.8 in one film of two, but lead to
the same picture."""
GAP_PICTURES: Final = 2
"""Unmarked pictures inside one transition."""


def worth_a_look(film: Film, shown: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which of the shown frames (indices [M]) lie where the picture becomes another, by any cause: the candidates."""
    later = np.minimum(np.searchsorted(film.pts_s, film.pts_s + LOOK_S), len(film.pts_s) - 1)
    change = np.array(
        [np.abs(film.grid[a].astype(np.int16) - film.grid[b]).mean() for a, b in enumerate(later)], np.float32
    )
    changes = (change >= STEP_MIN) | (film.step >= STEP_MIN)
    reach = np.zeros(len(later) + 1, np.int32)
    np.add.at(reach, np.flatnonzero(changes), 1)
    np.add.at(reach, later[changes] + 1, -1)
    return np.asarray((np.cumsum(reach)[:-1] > 0)[shown])


def review(
    film: Film,
    found: Sequence[Transition],
    plain: Sequence[Transition],
    pts_s: npt.NDArray[np.float64],
    single: Floats,
    many: Floats,
) -> list[Transition]:
    """Cuts and dissolves after both have been heard, in order.

    Args:
        film: the features of all frames.
        found: cuts and dissolves of the classical detectors.
        plain: fades, those at the video's ends too; the network has no say in them.
        pts_s: times [M] of the pictures that the network was shown.
        single, many: its answers [M].
    """
    told = np.maximum(single, many)
    kept = [one for one in found if not _refused(one, pts_s, told)]
    known = [*found, *plain]
    return sorted(kept + [one for one in _added(film, pts_s, single, told) if not _near(one, known)])


def _refused(one: Transition, pts_s: npt.NDArray[np.float64], told: Floats) -> bool:
    """Whether the network sees nothing at all there."""
    inside = told[(pts_s >= one.start_s - REACH_S) & (pts_s <= one.end_s + REACH_S)]
    return bool(len(inside)) and float(inside.max()) < NO_MAX


def _near(one: Transition, known: Sequence[Transition]) -> bool:
    return any(one.start_s <= k.end_s + 2 * REACH_S and one.end_s >= k.start_s - 2 * REACH_S for k in known)


def _added(film: Film, pts_s: npt.NDArray[np.float64], single: Floats, told: Floats) -> list[Transition]:
    """Transitions that the network sees and that lead from one picture to another."""
    marked = np.flatnonzero(told >= YES_MIN)
    added: list[Transition] = []
    for run in np.split(marked, np.flatnonzero(np.diff(marked) > GAP_PICTURES) + 1) if len(marked) else []:
        first, last = int(run[0]), int(run[-1])
        at_once = last - first < CUT_PICTURES
        if at_once and float(single[first : last + 1].max()) < SINGLE_MIN:
            continue
        start_s, end_s = float(pts_s[first]), float(pts_s[min(last + 1, len(pts_s) - 1)])
        before = np.flatnonzero((film.pts_s >= start_s - AROUND_S) & (film.pts_s < start_s) & (film.plain == 0))
        after = np.flatnonzero((film.pts_s > end_s) & (film.pts_s <= end_s + AROUND_S) & (film.plain == 0))
        if not _another_picture(film, before[:: 1 + len(before) // 4], after[:: 1 + len(after) // 4]):
            continue
        peak = first + int(np.argmax(told[first : last + 1]))
        score = float(told[peak])
        if at_once:
            # The network marks the last old picture; the cut is the first new one, where the step is.
            near = np.flatnonzero(np.abs(film.pts_s - end_s) <= REACH_S)
            time_s = float(film.pts_s[near[int(np.argmax(film.step[near]))]])
            added.append(Transition(time_s, "cut", score, min(start_s, time_s), time_s))
        else:
            added.append(Transition((start_s + end_s) / 2, "dissolve", score, start_s, end_s))
    return added


def _another_picture(film: Film, before: npt.NDArray[np.intp], after: npt.NDArray[np.intp]) -> bool:
    """Whether the frames before and after show something, and none of them the same, moved or enlarged."""
    if not len(before) or not len(after):
        return False
    ones, twos = np.repeat(before, len(after)), np.tile(after, len(before))
    if float(likeness(film.grid[ones], film.grid[twos]).max()) > SAME:
        return False  # a flash or a glitch: the picture comes back
    return likeness_under_zoom(film.grid[before[-1]], film.grid[after[0]]) <= SAME
