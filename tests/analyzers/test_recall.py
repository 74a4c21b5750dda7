"""Answers of a network are kept for the others that ask about the same picture."""

from __future__ import annotations

import numpy as np

from analyzers.models.recall import ANSWERS_MAX, Recall


def test_the_same_picture_is_asked_about_once_by_all_instances() -> None:
    asked: list[int] = []
    one, other = Recall("a network"), Recall("a network")
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for recall in (one, other, one):
        assert recall(picture.copy(), lambda: asked.append(1) or "answer") == "answer"  # type: ignore[func-returns-value]
    assert len(asked) == 1
    assert one(picture + 1, lambda: "another") == "another"
    assert Recall("another network")(picture, lambda: "its own") == "its own"


def test_old_answers_are_forgotten() -> None:
    recall, asked = Recall("forgetful"), []
    for number in range(ANSWERS_MAX + 1):
        recall(np.array([number]), lambda number=number: number)
    assert recall(np.array([ANSWERS_MAX]), lambda: -1) == ANSWERS_MAX
    recall(np.array([0]), lambda: asked.append("again"))
    assert asked == ["again"]
