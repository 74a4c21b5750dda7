"""What video_llava and blip2 decide without a model: which stretches, which pictures, and the list of captions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from analyzers.blip2 import LISTED_MAX, listed
from analyzers.models.vision_language import TEXT_CHARS_MAX, DescriptionSegment
from analyzers.video_llava import evenly, stretches


def said(*captions: tuple[str, float]) -> list[DescriptionSegment]:
    """Segments one after another, each with its length in seconds."""
    ends = np.cumsum([length_s for _, length_s in captions])
    return [
        DescriptionSegment(start=end - length_s, end=end, description=text)
        for (text, length_s), end in zip(captions, ends, strict=True)
    ]


@pytest.mark.parametrize(
    ("start_s", "end_s", "scenes_s", "edges"),
    [
        (0.0, 0.0, [], [0.0, 0.0]),
        (0.0, 14.0, [], [0.0, 14.0]),
        (0.0, 40.0, [], [0.0, 10.0, 20.0, 30.0, 40.0]),
        (0.0, 40.0, [0.0], [0.0, 40.0]),
        (0.0, 40.0, [0.0, 3.0, 25.0], [0.0, 3.0, 25.0, 40.0]),
        (0.5, 9.0, [0.0, 0.4, 3.0, 9.0], [0.5, 3.0, 9.0]),
    ],
)
def test_stretches_follow_the_scenes_and_cover_the_video(
    start_s: float, end_s: float, scenes_s: list[float], edges: list[float]
) -> None:
    assert stretches(start_s, end_s, scenes_s, 100) == list(pairwise(edges))


def test_too_many_scenes_are_joined_evenly_without_a_gap() -> None:
    found = stretches(0.0, 100.0, [float(second) for second in range(100)], 7)
    assert len(found) == 7
    assert (found[0][0], found[-1][1]) == (0.0, 100.0)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert {round(end_s - start_s) for start_s, end_s in found} == {14, 15}


def test_pictures_are_chosen_evenly_inside_a_stretch() -> None:
    pts_s = np.arange(40) / 2
    assert evenly(pts_s, 0.0, 20.0, 4) == [5, 15, 25, 35]
    assert evenly(pts_s, 5.0, 7.0, 8) == [10, 11, 12, 13]
    assert evenly(pts_s, 5.1, 5.2, 8) == [10], "the nearest one of a stretch between two pictures"


def test_captions_are_listed_in_the_order_of_their_first_appearance_with_their_shares() -> None:
    segments = said(("a dog", 1), ("a street", 2), ("a dog", 1), ("", 1))
    assert listed(segments) == "a dog (40 %); a street (40 %)"
    assert listed(said(("a dog", 0))) == "a dog (100 %)", "a video of one frame has no length"


def test_the_list_of_captions_is_bounded_and_says_what_it_leaves_out() -> None:
    segments = said(*((f"caption {number}", 1.0 + (number % 2)) for number in range(30)))
    text = listed(segments)
    assert text.count(";") == LISTED_MAX
    assert text.startswith("caption 1 (4 %); caption 3 (4 %)")
    assert text.endswith("18 others (47 %)")
    assert len(listed(said(*(("x" * 1990 + str(number), 1) for number in range(10, 20))))) <= TEXT_CHARS_MAX
