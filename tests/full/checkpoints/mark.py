"""Marks a folder as one that has learned nothing."""

from __future__ import annotations

from pathlib import Path

from analyzers.models.hub import RANDOM_MARK


def mark_random(folder: Path) -> Path:
    """Every report of a model from this folder will say that it is no answer."""
    (folder / RANDOM_MARK).write_text("random weights: for speed and tests only\n", encoding="utf-8")
    return folder
