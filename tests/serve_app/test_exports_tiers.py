"""Annotation tiers as TSV and EAF, read back by a plain reader and checked by the schema's rules (EAFv3.0.xsd)."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.results import VideoReport
from serve_app.exports import export
from tests.serve_app.documents import document, everything, result
from tests.serve_app.hostile import REPORTS, hostile, silent, sound_only

Tiers = dict[str, list[tuple[int, int, str]]]


def read_tsv(report: VideoReport, folder: Path) -> Tiers:
    text = export(report, "tsv", folder / "a.tsv").read_bytes().decode("utf-8")
    head, *lines = text.removesuffix("\n").split("\n")
    assert head == "tier\tbegin_s\tend_s\tduration_s\tvalue"
    tiers: Tiers = {}
    for line in lines:
        tier, begin, end, duration, value = line.split("\t")
        assert float(duration) == pytest.approx(float(end) - float(begin), abs=1e-6)
        assert value and value == " ".join(value.split())
        tiers.setdefault(tier, []).append((round(float(begin) * 1000), round(float(end) * 1000), value))
    return tiers


def read_eaf(report: VideoReport, folder: Path) -> tuple[ElementTree.Element, Tiers]:
    root = ElementTree.parse(export(report, "eaf", folder / "a.eaf")).getroot()
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE"]
    assert [child.tag for child in root] == sorted((child.tag for child in root), key=order.index)
    assert {"AUTHOR", "DATE", "VERSION", "FORMAT"} <= set(root.attrib)
    datetime.fromisoformat(root.attrib["DATE"])
    slots = {one.attrib["TIME_SLOT_ID"]: int(one.attrib["TIME_VALUE"]) for one in root.iter("TIME_SLOT")}
    assert len(slots) == len(list(root.iter("TIME_SLOT")))
    assert list(slots.values()) == sorted(slots.values())
    types = {one.attrib["LINGUISTIC_TYPE_ID"] for one in root.iter("LINGUISTIC_TYPE")}
    ids: set[str] = set(slots)
    tiers: Tiers = {}
    for tier in root.iter("TIER"):
        assert tier.attrib["LINGUISTIC_TYPE_REF"] in types
        assert tier.attrib["TIER_ID"] not in tiers
        annotations = tiers[tier.attrib["TIER_ID"]] = []
        for one in tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION"):
            assert one.attrib["ANNOTATION_ID"] not in ids
            ids.add(one.attrib["ANNOTATION_ID"])
            span = slots[one.attrib["TIME_SLOT_REF1"]], slots[one.attrib["TIME_SLOT_REF2"]]
            annotations.append((*span, one.findtext("ANNOTATION_VALUE") or ""))
    return root, tiers


@pytest.mark.parametrize("kind", REPORTS)
def test_both_formats_have_the_same_tiers_without_overlap(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    _, tiers = read_eaf(report, tmp_path)
    spans = {name: [(begin, end) for begin, end, _ in tier] for name, tier in tiers.items()}
    assert spans == {
        name: [(begin, end) for begin, end, _ in tier] for name, tier in read_tsv(report, tmp_path).items()
    }
    for name, tier in spans.items():
        assert tier, name
        assert all(begin < end for begin, end in tier)
        assert all(one[1] <= other[0] for one, other in pairwise(tier)), name
    assert bool(tiers) == (kind != "nothing")


def test_segments_and_words_have_tiers(tmp_path: Path) -> None:
    tiers = read_tsv(document(*everything()), tmp_path)
    assert tiers["speech_transcription"][0] == (0, 2360, "Wo fährt der rote Bus hin?")
    assert tiers["speech_transcription.words"][:2] == [(0, 360, "Wo"), (400, 760, "fährt")]
    assert tiers["camera_analysis"][1] == (2500, 5000, "pan_right")
    assert "speech_transcription.words" not in read_tsv(silent(), tmp_path)


def test_what_is_followed_is_one_annotation_for_as_long_as_it_stays(tmp_path: Path) -> None:
    tiers = read_tsv(document(*everything()), tmp_path)
    seen = [one for name, tier in tiers.items() if name.startswith("object_detection") for one in tier]
    assert (0, 30_000, "bus #1") in seen
    assert sorted(one for one in seen if one[2] == "person #3") == [
        (0, 2000, "person #3"),
        (10_000, 12_000, "person #3"),
        (20_000, 22_000, "person #3"),
    ]


def test_what_people_do_is_a_value(tmp_path: Path) -> None:
    def face(contact: bool, blink: bool = False) -> dict[str, object]:
        return {"track": 2, "box": [0, 0, 1, 1], "yaw": 1.0, "source": "eyes", "eye_contact": contact, "blink": blink}

    def person(posture: str, *gestures: str) -> dict[str, object]:
        return {"score": 0.9, "posture": posture, "gestures": list(gestures), "track": 1}

    steps = [(i / 4, (i + 1) / 4) for i in range(5)]
    looks = [[face(True)], [face(True)], [face(False)], [face(True, True)], []]
    poses = [[person("standing")], [person("standing", "wave")], [person("standing")], [], []]
    report = document(
        result(
            "eye_tracking", [{"start": a, "end": b, "faces": seen} for (a, b), seen in zip(steps, looks, strict=True)]
        ),
        result(
            "body_pose", [{"start": a, "end": b, "persons": seen} for (a, b), seen in zip(steps, poses, strict=True)]
        ),
    )
    assert read_tsv(report, tmp_path) == {
        "eye_tracking": [(0, 500, "eye_contact #2"), (500, 750, "looks_away #2"), (750, 1000, "blink #2")],
        "body_pose": [(0, 250, "standing #1"), (250, 500, "standing, wave #1"), (500, 750, "standing #1")],
    }


def test_measures_are_written_with_their_names(tmp_path: Path) -> None:
    tiers = read_tsv(sound_only(), tmp_path)
    assert tiers["audio_analysis"][0] == (0, 500, "rms_db -22")
    assert tiers["speech_rate"][0][2] == "words_per_minute 156.829"


def test_overlapping_segments_are_split_over_numbered_tiers(tmp_path: Path) -> None:
    rows = [
        {"start": a, "end": b, "text": text} for a, b, text in ((0, 4, "a"), (1, 2, "b"), (1.5, 5, "c"), (4, 6, "d"))
    ]
    tiers = read_tsv(document(result("text_overlay", [*rows, {"start": 9.0, "end": 9.0, "text": "e"}])), tmp_path)
    assert {name: "".join(value for *_, value in tier) for name, tier in tiers.items()} == {
        "text_overlay": "ade",
        "text_overlay 2": "b",
        "text_overlay 3": "c",
    }
    assert tiers["text_overlay"][-1][:2] == (9000, 9001), "ELAN has no annotation without length"


def test_the_document_finds_the_video_by_its_name(tmp_path: Path) -> None:
    root, _ = read_eaf(hostile(source="/somewhere/else/ä b&.mp4"), tmp_path)
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.attrib == {
        "MEDIA_URL": "%C3%A4%20b%26.mp4", "RELATIVE_MEDIA_URL": "./%C3%A4%20b%26.mp4", "MIME_TYPE": "video/mp4",
    }  # fmt: skip
    root, _ = read_eaf(sound_only(), tmp_path)
    assert root.find("HEADER/MEDIA_DESCRIPTOR[@MIME_TYPE='audio/x-wav']") is not None


def test_texts_are_values_and_nothing_else(tmp_path: Path) -> None:
    _, tiers = read_eaf(hostile(), tmp_path)
    shown = {value for name, tier in tiers.items() if name.startswith("text_overlay") for *_, value in tier}
    assert {"]]> <!-- &amp;", "</c><b>bold</b> <i>& STYLE ::cue{color:red}", "lone \ufffd surrogate"} <= shown
    table = read_tsv(hostile(), tmp_path)
    values = [value for tier in table.values() for *_, value in tier]
    assert not [value for value in values if value[0] in '=+-@＝"' or '"' in value]
    assert "She said ”no”, twice" in values
