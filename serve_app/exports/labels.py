"""What a segment, or one thing in it, is called in a table or a tier: the report's own words, in full."""

from __future__ import annotations

from collections import Counter
from typing import Final

from serve_app.exports.answers import Row, clean

NAMED_BY: Final = {"composition_analysis": "shot_size"}
"""The field that names a segment where that is not its first text."""
MEASURED_BY: Final = {"content_quality": "score", "speech_rate": "words_per_minute"}
"""The number that a segment is about, where its name or its first number does not say it."""
NAMES: Final = ("label", "name", "product", "brand", "posture")
"""Fields that name a thing in a segment's list."""


def label(analyzer: str, row: Row) -> str:
    """What a segment says in a word or a text; empty where it only measures.

    The field `label` or the first text (a motion, a kind, the words said); else the things that were seen, counted;
    else the first of a ranking.
    """
    named_by = NAMED_BY.get(analyzer)
    if named_by in row:
        return clean(row[named_by] or "")
    if isinstance(row.get("label"), str):
        return clean(row["label"])
    for value in row.values():
        if isinstance(value, str) and value.strip():
            return clean(value)
    for value in row.values():
        if not isinstance(value, list | tuple) or not value:
            continue
        if all(isinstance(item, str) for item in value):
            return clean(", ".join(value))
        things = [item for item in value if isinstance(item, dict)]
        if things and isinstance(things[0].get("name"), str):
            return clean(things[0]["name"])
        counts = Counter(name for item in things if (name := thing(item)))
        if counts:
            return ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in counts.most_common())
    return ""


def thing(item: Row) -> str:
    """What one object, person or face is or does."""
    named = next((item[key] for key in NAMES if isinstance(item.get(key), str)), None)
    if named is not None:
        gestures = [one for one in item.get("gestures") or () if isinstance(one, str)]
        return clean(", ".join([named, *gestures]))
    if "eye_contact" in item:
        return "blink" if item.get("blink") else "eye_contact" if item["eye_contact"] else "looks_away"
    if "age" in item:
        return "age unknown" if item["age"] is None else f"age {item['age']:.0f}"
    return ""


def described(analyzer: str, row: Row) -> str:
    """The label, else the number that the segment is about with its name; empty if there is neither."""
    found = label(analyzer, row)
    measure = MEASURED_BY.get(analyzer)
    if measure is None and (found or analyzer in NAMED_BY):
        return found
    for key in [measure] if measure else row:
        value = row.get(key)
        if key not in ("start", "end") and isinstance(value, int | float) and not isinstance(value, bool):
            return f"{key} {value:g}" + (f" ({found})" if found else "")
    return found
