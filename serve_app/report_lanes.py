"""Turns one analyzer's segments into a lane of bars, and into boxes over the picture, few enough to draw.

Only `LANES` and `LABELLED_BY` know an analyzer by name: one that is new gets a lane out of its `segments`, a label out
of its first short text, and boxes wherever its segments carry a `box`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.results import AnalyzerResult
from serve_app.report_text import WORD, clip, label_of, short

Row = dict[str, Any]
"""A segment as it stands in the document, or a bar made of one."""

BARS_MAX: Final = 400
"""Bars of one row. More than that is finer than a screen shows and makes the page slow."""
BOX_STEPS_MAX: Final = 3000
"""Sampled steps with boxes of one analyzer; beyond it every second, third, ... step is left out."""
ROWS_MAX: Final = 4
"""Rows that overlapping segments, or the labels of objects, are spread over."""
KINDS_MAX: Final = 10
"""Up to so many different labels of a lane are told apart by colour."""
LABEL_CHARS_MAX: Final = 24
"""Neighbours are joined under one label only if it is a name and not a sentence."""
FIELDS_MAX: Final = 14
SAME_TIME_S: Final = 0.02
"""Segments closer than this follow each other without a gap."""
HEARD_SHARE: Final = 0.5
"""From this share of a second on, the sound lane says speech or music."""
SILENCE_DB: Final = -60.0
"""At or below this level of full scale the sound lane says silence."""
OTHERS: Final = "others"

# fmt: off
LANES: Final[dict[str, tuple[str, str]]] = {
    "cut_analysis": ("Shots and cuts", "time"), "scene_segmentation": ("Scenes", "time"),
    "temporal_flow": ("Structure", "time"), "camera_analysis": ("Camera", "picture"),
    "visual_effects": ("Effects", "picture"), "object_detection": ("Objects", "picture"),
    "body_pose": ("Bodies", "people"), "eye_tracking": ("Eyes", "people"), "age_estimation": ("Age", "people"),
    "composition_analysis": ("Composition", "picture"), "background_segmentation": ("Background", "picture"),
    "color_analysis": ("Colour", "picture"), "content_quality": ("Quality", "picture"),
    "text_overlay": ("On-screen text", "words"), "product_detection": ("Products", "words"),
    "speech_transcription": ("Speech", "words"), "speech_rate": ("Speech rate", "words"),
    "speech_flow": ("Speech flow", "words"), "speech_emotion": ("Voice emotion", "words"),
    "audio_analysis": ("Sound", "sound"), "audio_environment": ("Environment", "sound"),
    "sound_effects": ("Sound effects", "sound"), "qwen2_vl_temporal": ("Qwen2-VL", "told"),
    "video_llava": ("Video-LLaVA", "told"), "blip2": ("BLIP-2", "told"),
    "cross_analyzer_intelligence": ("Second by second", "told"),
}
"""Title and colour group of the lanes we know, in the order of the page."""
# fmt: on

LABELLED_BY: Final = {"text_overlay": "text", "content_quality": "score", "speech_rate": "words_per_minute"}
"""The field that names a segment where that is not its first short text."""
SEEN_IN: Final = ("persons", "faces")
"""Fields that list who was seen: a step without anybody is no bar."""
BOXES_ON: Final = ("object_detection", "text_overlay")
"""Whose boxes are shown at first; a switch shows the others."""


def title_of(name: str) -> str:
    """How the page calls an analyzer."""
    return LANES[name][0] if name in LANES else name.replace("_", " ").capitalize()


def rows_of(result: AnalyzerResult) -> list[Row]:
    """The segments of a result; none unless it is ok."""
    return list((result.report or {}).get("segments") or ())


def lane(result: AnalyzerResult, duration_s: float) -> dict[str, Any]:
    """One analyzer on the clock: bars `[start, end, row, kind, label, fields]`, or the reason why there are none.

    `rows` names the rows (one empty name, or one per object label). `kind` numbers the labels that have a colour of
    their own; -1 is the colour of the lane.
    """
    rows = sorted(rows_of(result), key=lambda row: float(row["start"]))
    by_label = result.name == "object_detection"
    bars, names = object_bars(rows) if by_label else (_bars(result.name, rows), [])
    bars = thinned(bars, duration_s / BARS_MAX)
    row_count = len(names) if by_label else _pack(bars)
    labels = list(dict.fromkeys(bar["label"] for bar in bars if bar["label"]))
    named = 1 < len(labels) <= KINDS_MAX and all(WORD.match(label.replace(" ", "_")) for label in labels)
    note = result.reason or ""
    if result.status == "ok" and not bars:
        note = "nothing found"

    def kind(bar: Row) -> int:
        if by_label:
            return int(bar["row"])
        return labels.index(bar["label"]) if named and bar["label"] else -1

    return {
        "name": result.name,
        "title": title_of(result.name),
        "group": _group(result.name),
        "status": result.status,
        "note": note,
        "rows": names or [""] * max(row_count, 1),
        "bars": [
            [round(bar["start"], 3), round(bar["end"], 3), bar["row"], kind(bar), bar["label"], bar["fields"]]
            for bar in bars
        ],
    }


def _group(name: str) -> str:
    return LANES[name][1] if name in LANES else "other"


def _bars(name: str, rows: Sequence[Row]) -> list[Row]:
    """Neighbours of one short label become one bar, so that a lane reads as a sentence and not as a comb."""
    bars: list[Row] = []
    for row in rows:
        if any(row.get(field) == [] for field in SEEN_IN):
            continue  # a sampled step in which nobody was seen
        label, last = _label(name, row), bars[-1] if bars else None
        touches = last is not None and abs(row["start"] - last["end"]) <= SAME_TIME_S
        if last is not None and touches and label and last["label"] == label and len(label) <= LABEL_CHARS_MAX:
            last["end"], last["n"] = row["end"], last["n"] + 1
        else:
            bars.append({**_span(row), "row": 0, "label": label, "fields": fields_of(row), "n": 1})
    for bar in bars:
        if bar["n"] > 1:
            bar["fields"] = [["segments", f"{bar['n']} alike; of the first:"], *bar["fields"]]
    return bars


def _label(name: str, row: Row) -> str:
    if name == "cut_analysis" and isinstance(row.get("index"), int):
        return str(row["index"] + 1)
    if name == "audio_analysis" and "rms_db" in row:
        return _heard(row)
    if name == "scene_segmentation" and isinstance(row.get("shots"), list | tuple):
        first, last = (shot + 1 for shot in row["shots"])
        return f"shot {first}" if first == last else f"shots {first} to {last}"
    if name == "speech_emotion" and isinstance(row.get("arousal"), int | float):
        return f"arousal {row['arousal']:.1f}"
    named_by = LABELLED_BY.get(name)
    if named_by is None or named_by not in row:
        return label_of(row)
    value = row[named_by]
    return f"{value:.3g}" if isinstance(value, int | float) else clip(str(value or ""))


def _heard(row: Row) -> str:
    found = [name for name in ("speech", "music") if (row.get(name) or 0) >= HEARD_SHARE]
    return " and ".join(found) or ("silence" if row["rms_db"] <= SILENCE_DB else "sound")


def _span(row: Row) -> Row:
    return {"start": float(row["start"]), "end": float(row["end"])}


def fields_of(row: Row) -> list[list[str]]:
    """The segment's fields as (name, short text), for the hover."""
    fields = {key: value for key, value in row.items() if key not in ("start", "end")}
    if isinstance(fields.get("words"), list):
        del fields["words"]  # the text says them already
    found = [[key, short(value)] for key, value in fields.items()]
    return [pair for pair in found if pair[1]][:FIELDS_MAX]


def object_rows(rows: Sequence[Row]) -> list[str]:
    """The labels that get a row, the longest on screen first; the last is `OTHERS` if there are more."""
    seen: Counter[str] = Counter()
    for row in rows:
        for label in {str(item["label"]) for item in row.get("objects") or ()}:
            seen[label] += int(1000 * (row["end"] - row["start"])) + 1
    names = [label for label, _ in seen.most_common()]
    return names if len(names) <= ROWS_MAX else [*names[: ROWS_MAX - 1], OTHERS]


def object_bars(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """A bar for each stretch with the same number of objects of one label, and the names of the rows."""
    names = object_rows(rows)
    bars: list[Row] = []
    for place, name in enumerate(names):
        last: Row | None = None
        for row in rows:
            items = [item for item in row.get("objects") or () if _row_name(item, names) == name]
            if not items:
                last = None
                continue
            counts = Counter(str(item["label"]) for item in items)
            label = ", ".join(text if n == 1 else f"{text} ×{n}" for text, n in sorted(counts.items()))
            if last is not None and last["label"] == label:
                last["end"] = row["end"]
                continue
            last = {**_span(row), "row": place, "label": label, "fields": [["found", short(items)]]}
            tracks = ", ".join(str(item["track"]) for item in items if "track" in item)
            last["fields"] += [["track", tracks]] if tracks else []
            bars.append(last)
    return bars, names


def _row_name(item: Row, names: Sequence[str]) -> str:
    label = str(item["label"])
    return label if label in names else OTHERS


def thinned(bars: list[Row], step_s: float) -> list[Row]:
    """About `BARS_MAX` bars a row at most: where there are more, those shorter than a step join, under the longest."""
    if len(bars) <= BARS_MAX:
        return bars
    kept: list[Row] = []
    open_bars: dict[int, Row] = {}
    for bar in bars:
        last, length_s = open_bars.get(bar["row"]), bar["end"] - bar["start"]
        if last is not None and bar["end"] - last["start"] <= 2 * step_s:
            if length_s > last["longest"]:
                last.update(label=bar["label"], fields=bar["fields"], longest=length_s)
            last["end"] = max(last["end"], bar["end"])
        else:
            open_bars[bar["row"]] = {**bar, "longest": length_s}
            kept.append(open_bars[bar["row"]])
    return kept


def _pack(bars: list[Row]) -> int:
    """Give overlapping bars rows of their own, up to `ROWS_MAX`; returns how many rows there are."""
    ends: list[float] = []
    for bar in bars:
        free = next((row for row, end in enumerate(ends) if end <= bar["start"] + SAME_TIME_S), None)
        if free is None and len(ends) < ROWS_MAX:
            free = len(ends)
            ends.append(0.0)
        bar["row"] = free if free is not None else min(range(len(ends)), key=ends.__getitem__)
        ends[bar["row"]] = max(ends[bar["row"]], bar["end"])
    return len(ends)


def box_layer(result: AnalyzerResult) -> dict[str, Any] | None:
    """What an analyzer found where in the picture: steps `[start, end, [[x0, y0, x1, y1, label, kind], ...]]`.

    `kind` numbers the labels for their colours, as the lane does. None if no segment carries a box.
    """
    rows = [row for row in rows_of(result) if next(_boxes(row), None)]
    if not rows:
        return None
    every = -(-len(rows) // BOX_STEPS_MAX)
    names = object_rows(rows) if result.name == "object_detection" else []
    kinds = {name: place for place, name in enumerate(names)}
    steps = []
    for place in range(0, len(rows), every):
        row, last = rows[place], rows[min(place + every, len(rows)) - 1]
        boxes = []
        for box, text, kind in _boxes(row):
            fallback = len(names) - 1 if OTHERS in kinds else len(kinds)
            boxes.append([*box, clip(text, LABEL_CHARS_MAX), kinds.setdefault(kind, fallback)])
        # Steps that were left out are covered by the one before, but a gap with nothing to see stays one.
        end = last["end"] if last["start"] - row["start"] <= every * (row["end"] - row["start"]) else row["end"]
        steps.append([row["start"], end, boxes])
    return {
        "name": result.name,
        "title": title_of(result.name),
        "group": _group(result.name),
        "on": result.name in BOXES_ON,
        "bare": result.name == "text_overlay",  # a label would cover the text
        "steps": steps,
    }


def _boxes(row: Row) -> Iterator[tuple[list[float], str, str]]:
    """Every box in a segment with its label (score included) and its kind."""
    for field, value in row.items():
        items = [row] if field == "box" else value if isinstance(value, list) else []
        for item in items:
            box = item.get("box") if isinstance(item, dict) else None
            if not isinstance(box, list | tuple) or len(box) != 4:
                continue
            named = next((item[key] for key in ("label", "product", "brand", "posture") if item.get(key)), None)
            what = str(named or (label_of(item) if field == "box" else field.removesuffix("s")))
            score = item.get("score")
            text = f"{what} {score:.2f}" if isinstance(score, int | float) else what
            yield [round(float(edge), 4) for edge in box], text, str(named or item.get("kind") or field)
