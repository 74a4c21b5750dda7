"""Boxes and keypoints in COCO's format (cocodataset.org, Data format): one picture per sampled step.

Pictures: the sampled steps of object_detection, body_pose and eye_tracking; they are not in the file, `time_s` says
where in the video they are and `file_name` what to call them. Boxes are `[x, y, width, height]` in pixels of the
upright picture, clipped to it; `area` is the box's. Categories have COCO's own ids where COCO has the thing, else ids
from 1000. A person of body_pose is the same annotation as the one that object_detection found there; joints below
`JOINT_SCORE_MIN` are not labelled (v = 0 at 0, 0), others are visible (v = 2): the models do not tell hidden joints
(v = 1) from visible ones. Beside COCO's own fields stand `score`, `track` and, of faces, `yaw`, `pitch`, `eye_contact`
and `blink`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePath
from typing import Any, Final

from pipeline.results import VideoReport
from serve_app.exports.answers import Row, clean, plain, segments_of

JOINT_SCORE_MIN: Final = 0.25
"""Below it body_pose's joints are not to be trusted."""
SAME_PERSON_IOU: Final = 0.5
PERSON_ID: Final = 1
FACE_ID: Final = 1000
SUPERCATEGORIES: Final = (
    (1, "person"), (9, "vehicle"), (15, "outdoor"), (25, "animal"), (33, "accessory"), (43, "sports"), (51, "kitchen"),
    (61, "food"), (71, "furniture"), (77, "electronic"), (83, "appliance"), (90, "indoor"),
)  # fmt: skip
"""The last category id of each of COCO's groups."""
KEYPOINTS: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
SKELETON: Final = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
"""COCO's own, counted from 1."""
FACE_FIELDS: Final = ("yaw", "pitch", "eye_contact", "blink")


def write_coco(report: VideoReport, target: Path) -> None:
    """A COCO document; without a picture its lists are empty."""
    steps = _Steps(report)
    parts: tuple[tuple[str, Iterable[dict[str, Any]]], ...] = (
        ("licenses", ()),
        ("categories", steps.categories()),
        ("images", steps.images()),
        ("annotations", steps.annotations()),
    )
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{\n"info": ' + _json(_info(report)))
        for name, items in parts:
            file.write(f',\n"{name}": [')
            for place, item in enumerate(items):
                file.write((",\n" if place else "\n") + _json(item))
            file.write("\n]")
        file.write("\n}\n")


class _Steps:
    """The sampled steps of a report by their time in milliseconds, and what was seen at each."""

    def __init__(self, report: VideoReport) -> None:
        self._width, self._height = report.video.width, report.video.height
        self._stem = re.sub(r"[^\w.-]+", "_", clean(PurePath(report.video.source).stem)) or "video"
        has_picture = self._width > 0 and self._height > 0
        names = ("object_detection", "body_pose", "eye_tracking")
        found = {name: segments_of(report, name) if has_picture else None for name in names}
        self._objects, self._persons, self._faces = (
            {round(float(row["start"]) * 1000): row for row in found[name] or ()} for name in names
        )
        self._detected, self._posed, self._faced = (found[name] is not None for name in names)
        self._times = sorted(self._objects.keys() | self._persons.keys() | self._faces.keys())
        self._ids = self._category_ids()

    def images(self) -> Iterator[dict[str, Any]]:
        for number, time_ms in enumerate(self._times, 1):
            yield {
                "id": number,
                "width": self._width,
                "height": self._height,
                "file_name": f"{self._stem}_{time_ms:08d}ms.jpg",
                "time_s": time_ms / 1000,
            }

    def categories(self) -> Iterator[dict[str, Any]]:
        for name, number in self._ids.items():
            group = next((group for last, group in SUPERCATEGORIES if number <= last), "other")
            found: dict[str, Any] = {"id": number, "name": name, "supercategory": group}
            if number == FACE_ID:
                found["supercategory"] = "person"
            if number == PERSON_ID and self._posed:
                found |= {"keypoints": KEYPOINTS, "skeleton": SKELETON}
            yield found

    def annotations(self) -> Iterator[dict[str, Any]]:
        numbers = count(1)
        for image, time_ms in enumerate(self._times, 1):
            for found in self._seen(time_ms):
                if (box := self._pixels(found.pop("box"))) is not None:
                    area = round(box[2] * box[3], 2)
                    where = {"bbox": box, "area": area, "iscrowd": 0, "segmentation": []}
                    yield {"id": next(numbers), "image_id": image, **where, **found}

    def _category_ids(self) -> dict[str, int]:
        """Id by name: all of COCO's if objects were looked for, so that documents of many videos agree."""
        from analyzers.models.ssd import LABELS

        ids = {name: number for number, name in LABELS.items() if self._detected or (self._posed and name == "person")}
        if self._faced:
            ids["face"] = FACE_ID
        seen = {clean(item["label"]) for row in self._objects.values() for item in row["objects"]}
        others = sorted(seen - ids.keys())
        return ids | {name: FACE_ID + place for place, name in enumerate(others, 1)}

    def _seen(self, time_ms: int) -> Iterator[dict[str, Any]]:
        """What is in one picture, its `box` still in 0..1."""
        persons: list[Row] = list(self._persons.get(time_ms, {}).get("persons") or ())
        for item in self._objects.get(time_ms, {}).get("objects") or ():
            found = {"category_id": self._ids[clean(item["label"])], **_common(item)}
            if found["category_id"] == PERSON_ID and self._posed:
                same = max(persons, key=lambda person: _iou(person["box"], item["box"]), default=None)
                if same is not None and _iou(same["box"], item["box"]) >= SAME_PERSON_IOU:
                    persons.remove(same)
                    found |= self._keypoints(same["keypoints"])
                else:
                    found |= self._keypoints(())
            yield found
        for person in persons:
            yield {"category_id": PERSON_ID, **_common(person), **self._keypoints(person["keypoints"])}
        for face in self._faces.get(time_ms, {}).get("faces") or ():
            yield {"category_id": FACE_ID, **_common(face), **{key: face[key] for key in FACE_FIELDS if key in face}}

    def _keypoints(self, joints: Iterable[Any]) -> dict[str, Any]:
        """COCO's 17 x (x, y, v) and how many are labelled; none if nobody's joints are given."""
        flat: list[float] = []
        for x, y, score in joints:
            labelled = score >= JOINT_SCORE_MIN and 0 <= x <= 1 and 0 <= y <= 1
            point = (round(x * self._width, 2), round(y * self._height, 2), 2) if labelled else (0, 0, 0)
            flat.extend(point)
        if not flat:
            flat.extend([0] * 3 * len(KEYPOINTS))
        return {"keypoints": flat, "num_keypoints": sum(flag > 0 for flag in flat[2::3])}

    def _pixels(self, box: Iterable[float]) -> list[float] | None:
        """x, y, width, height inside the picture; None if nothing of it is inside."""
        x0, y0, x1, y1 = (min(max(float(edge), 0.0), 1.0) for edge in box)
        left, top = round(x0 * self._width, 2), round(y0 * self._height, 2)
        right, bottom = round(x1 * self._width, 2), round(y1 * self._height, 2)
        if right <= left or bottom <= top:
            return None
        return [left, top, round(right - left, 2), round(bottom - top, 2)]


def _common(item: Row) -> dict[str, Any]:
    return {key: item[key] for key in ("box", "score", "track") if key in item}


def _iou(one: Iterable[float], other: Iterable[float]) -> float:
    """Intersection over union of two boxes."""
    (a0, b0, a1, b1), (c0, d0, c1, d1) = one, other
    shared = max(0.0, min(a1, c1) - max(a0, c0)) * max(0.0, min(b1, d1) - max(b0, d0))
    union = (a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - shared
    return shared / union if union > 0 else 0.0


def _info(report: VideoReport) -> dict[str, Any]:
    return {
        "description": f"Sampled pictures of {PurePath(report.video.source).name}, annotated by models, not by people",
        "version": report.schema_version,
        "year": report.created_at.year,
        "date_created": report.created_at.isoformat(),
        "contributor": "Reelscope",
        "url": "",
        "source_sha256": report.video.sha256,
    }


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
