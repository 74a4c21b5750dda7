"""Values of a report as short texts: a segment's label, a field's value, times and sizes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

TEXT_CHARS_MAX: Final = 240
LABEL_CHARS_MAX: Final = 80
ITEMS_MAX: Final = 6
WORD: Final = re.compile(r"^[a-z][a-z0-9_]{0,23}$")
"""A name out of a fixed list (pan_left, hook), as opposed to free text."""


def clip(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= chars_max else text[: chars_max - 1].rstrip() + "…"


def short(value: Any) -> str:
    """Any value of the document in a few words; empty for what says nothing (None, empty lists)."""
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        named = _named(value)
        if named:
            return named
        pairs = [f"{name} {short(inner)}" for name, inner in value.items() if short(inner)]
        return clip(", ".join(pairs[: 2 * ITEMS_MAX]) + (", …" if len(pairs) > 2 * ITEMS_MAX else ""))
    if isinstance(value, list | tuple):
        shown = [short(item) for item in value[:ITEMS_MAX]]
        more = f" and {len(value) - ITEMS_MAX} more" if len(value) > ITEMS_MAX else ""
        return clip(("; " if any("," in text for text in shown) else ", ").join(shown) + more)
    return clip(str(value))


def _named(item: dict[str, Any]) -> str:
    """`person 0.98` of a thing with a name and a score or share, `#2f4a68 blue 40 %` of a colour."""
    name = next((item[key] for key in ("label", "name", "word") if isinstance(item.get(key), str)), None)
    if name is None:
        return ""
    if isinstance(item.get("share"), int | float):
        return f"{name} {item['share']:.0%}"
    return f"{name} {item['score']:.2f}" if isinstance(item.get("score"), int | float) else str(name)


def label_of(row: dict[str, Any]) -> str:
    """What to write on a segment's bar: its first short text, else what it lists, else its first number."""
    fields = {key: value for key, value in row.items() if key not in ("start", "end")}
    for value in fields.values():
        if isinstance(value, str) and value.strip():
            return value.replace("_", " ") if WORD.match(value) else clip(" ".join(value.split()), LABEL_CHARS_MAX)
    for key, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return _things(key, value)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return clip(", ".join(str(item) for item in value), LABEL_CHARS_MAX)
        if isinstance(value, dict) and value and all(isinstance(share, int | float) for share in value.values()):
            return str(max(value, key=lambda name: value[name]))
    for key, value in fields.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{key.replace('_', ' ')} {short(value)}"
    return ""


def _things(key: str, items: list[Any]) -> str:
    things = [item for item in items if isinstance(item, dict)]
    labels = Counter(str(item["label"]) for item in things if item.get("label"))
    if labels:
        found = [name if n == 1 else f"{name} ×{n}" for name, n in labels.most_common(ITEMS_MAX)]
        return clip(", ".join(found), LABEL_CHARS_MAX)
    name = things[0].get("name") if things else None  # a ranking: the first is what it is
    if isinstance(name, str):
        return name
    noun = key.replace("_", " ")
    return f"{len(items)} {noun}" if len(items) != 1 else f"1 {noun.removesuffix('s')}"


def clock(seconds: float) -> str:
    """`1:04.5`; the tenth is cut off, not rounded, so that 59.96 is not 0:60.0."""
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def size(count: int) -> str:
    """Bytes for people, in powers of 1000."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"
