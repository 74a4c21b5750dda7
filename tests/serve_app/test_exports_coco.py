"""COCO documents, checked by the rules of the format and not by the code that writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.results import VideoReport
from serve_app.exports import export
from tests.serve_app.documents import document, everything, result, without_report
from tests.serve_app.hostile import REPORTS

Coco = dict[str, Any]


def read(report: VideoReport, folder: Path) -> Coco:
    """The document, after everything that holds for any COCO document was checked."""
    coco: Coco = json.loads(export(report, "coco", folder / "a.coco.json").read_text(encoding="utf-8"))
    assert set(coco) == {"info", "licenses", "categories", "images", "annotations"}
    for name in ("categories", "images", "annotations"):
        ids = [one["id"] for one in coco[name]]
        assert len(set(ids)) == len(ids)
        assert all(isinstance(one, int) and one > 0 for one in ids)
    images, categories = ({one["id"]: one for one in coco[name]} for name in ("images", "categories"))
    assert len({one["name"] for one in coco["categories"]}) == len(categories)
    assert len({one["file_name"] for one in coco["images"]}) == len(images)
    for one in coco["annotations"]:
        image, category = images[one["image_id"]], categories[one["category_id"]]
        x, y, width, height = one["bbox"]
        assert 0 <= x < x + width <= image["width"] + 0.01
        assert 0 <= y < y + height <= image["height"] + 0.01
        assert one["area"] == pytest.approx(width * height, abs=0.01)
        assert one["iscrowd"] == 0
        assert ("keypoints" in one) == ("keypoints" in category), "all of a category or none"
        if "keypoints" in one:
            points = list(zip(*[iter(one["keypoints"])] * 3, strict=True))
            assert len(points) == len(category["keypoints"]) == 17
            assert one["num_keypoints"] == sum(v > 0 for _, _, v in points)
            for px, py, v in points:
                assert v in (0, 1, 2)
                assert (px, py) == (0, 0) if v == 0 else 0 <= px <= image["width"] and 0 <= py <= image["height"]
    return coco


def joints(score: float = 0.9) -> list[list[float]]:
    return [[0.5 + i / 100, 0.4, score if i % 2 else 0.1] for i in range(17)]


def people() -> VideoReport:
    """Two sampled pictures: a person that both analyzers see, one only the detector sees, one only the pose sees."""
    return document(
        result("object_detection", [
            {"start": 0.0, "end": 0.25, "objects": [
                {"label": "person", "score": 0.9, "box": [0.1, 0.1, 0.5, 0.9], "track": 1},
                {"label": "person", "score": 0.8, "box": [0.8, 0.1, 0.9, 0.3], "track": 2},
                {"label": "traffic light", "score": 0.7, "box": [0.0, 0.0, 0.1, 0.1], "track": 3},
                {"label": "sneaker", "score": 0.6, "box": [-0.1, 0.9, 0.05, 1.1], "track": 4},
                {"label": "bus", "score": 0.6, "box": [1.0, 0.9, 1.2, 1.1], "track": 5},
            ]},
            {"start": 0.25, "end": 0.5, "objects": []},
        ]),
        result("body_pose", [
            {"start": 0.0, "end": 0.25, "persons": [
                {"score": 0.7, "box": [0.1, 0.12, 0.52, 0.9], "keypoints": joints(), "posture": "standing", "track": 7},
                {"score": 0.6, "box": [0.5, 0.5, 0.7, 0.9], "keypoints": joints(0.2), "posture": "sitting", "track": 8},
            ]},
        ]),
        result("eye_tracking", [
            {"start": 0.25, "end": 0.5, "faces": [
                {"track": 1, "box": [0.4, 0.1, 0.6, 0.2], "score": 0.9, "yaw": 3.0, "pitch": -1.0, "eye_contact": True,
                 "blink": False},
            ]},
        ]),
    )  # fmt: skip


@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_is_a_valid_document(kind: str, tmp_path: Path) -> None:
    coco = read(REPORTS[kind](), tmp_path)
    assert bool(coco["images"]) == (kind not in ("sound only", "nothing"))


def test_every_sampled_step_is_a_picture_with_its_time(tmp_path: Path) -> None:
    coco = read(people(), tmp_path)
    assert coco["images"] == [
        {"id": 1, "width": 1080, "height": 1920, "file_name": "clip_00000000ms.jpg", "time_s": 0.0},
        {"id": 2, "width": 1080, "height": 1920, "file_name": "clip_00000250ms.jpg", "time_s": 0.25},
    ]


def test_one_person_is_one_annotation(tmp_path: Path) -> None:
    coco = read(people(), tmp_path)
    persons = [one for one in coco["annotations"] if one["category_id"] == 1]
    assert [(one["track"], one["score"], one["num_keypoints"]) for one in persons] == [
        (1, 0.9, 8),
        (2, 0.8, 0),
        (8, 0.6, 0),
    ]
    assert persons[0]["bbox"] == [108.0, 192.0, 432.0, 1536.0]
    assert persons[0]["keypoints"][:6] == [0, 0, 0, 550.8, 768.0, 2]


def test_categories_have_the_ids_of_coco(tmp_path: Path) -> None:
    coco = read(people(), tmp_path)
    ids = {one["name"]: one["id"] for one in coco["categories"]}
    assert len(ids) == 82
    assert (ids["person"], ids["traffic light"], ids["toothbrush"], ids["face"], ids["sneaker"]) == (
        1,
        10,
        90,
        1000,
        1001,
    )
    groups = {one["name"]: one["supercategory"] for one in coco["categories"]}
    assert [groups[name] for name in ("person", "bus", "dog", "tie", "cake", "tv", "sink", "book", "sneaker")] == [
        "person", "vehicle", "animal", "accessory", "food", "electronic", "appliance", "indoor", "other",
    ]  # fmt: skip
    person = next(one for one in coco["categories"] if one["id"] == 1)
    assert person["keypoints"][0] == "nose"
    assert all(1 <= joint <= 17 for bone in person["skeleton"] for joint in bone)


def test_boxes_are_cut_at_the_picture_and_none_lies_outside(tmp_path: Path) -> None:
    coco = read(people(), tmp_path)
    boxes = {one["track"]: one["bbox"] for one in coco["annotations"] if one["category_id"] in (1001, 6)}
    assert boxes == {4: [0.0, 1728.0, 54.0, 192.0]}


def test_faces_say_where_they_look(tmp_path: Path) -> None:
    faces = [one for one in read(people(), tmp_path)["annotations"] if one["category_id"] == 1000]
    assert [(one["image_id"], one["yaw"], one["eye_contact"]) for one in faces] == [(2, 3.0, True)]


def test_without_poses_persons_have_boxes_only(tmp_path: Path) -> None:
    coco = read(document(*everything(), without_report("body_pose", "failed", "no memory")), tmp_path)
    assert coco["annotations"]
    assert not [one for one in coco["annotations"] if "keypoints" in one]


def test_a_name_of_a_file_cannot_leave_its_folder(tmp_path: Path) -> None:
    report = people().model_copy(
        update={"video": people().video.model_copy(update={"source": "/etc/../../a b;$(x).mp4"})}
    )
    assert read(report, tmp_path)["images"][0]["file_name"] == "a_b_x__00000000ms.jpg"
