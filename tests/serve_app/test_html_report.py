"""The HTML report: what it holds, that nothing in it can act, and that a browser draws it without a complaint."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.results import AnalyzerResult, ModelInfo, VideoReport
from serve_app import html_report, report_lanes
from serve_app.html_report import json_for_html, link, playable, write_html
from serve_app.report_lanes import box_layer, lane
from serve_app.report_text import clock, label_of, short
from serve_app.report_view import moments, page_data, steps
from tests.serve_app import documents
from tests.serve_app.documents import document, everything, result, without_report

CHROMIUM = Path("/usr/bin/chromium")
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)> Grüße & \u2028 ü"


class Page(HTMLParser):
    """The scripts of a page with their attributes, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.metas: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.titles: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "meta":
            self.metas.append(dict(attrs))
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "poster")]
        self.loads += [dict(attrs).get("href") or ""] if tag in ("link", "base") else []

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        if self._in == "title":
            self.titles.append(data)

    @property
    def data(self) -> dict[str, Any]:
        (text,) = [text for attributes, text in self.scripts if attributes.get("id") == "data"]
        return dict(json.loads(text))

    @property
    def policy(self) -> str:
        (policy,) = [meta["content"] for meta in self.metas if meta.get("http-equiv") == "Content-Security-Policy"]
        return str(policy)


def page(tmp_path: Path, report: VideoReport, source: bytes | None = b"not really a video") -> Page:
    clip = tmp_path / "clip.mp4"
    if source is not None:
        clip.write_bytes(source)
    write_html(report, clip, tmp_path / "report.html")
    assert {path.name for path in tmp_path.iterdir()} <= {"clip.mp4", "report.html"}, "something is left behind"
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def overlay(text: str) -> AnalyzerResult:
    box = [0.1, 0.1, 0.5, 0.2]
    return result("text_overlay", [{"start": 0.0, "end": 2.0, "text": text, "score": 1.0, "box": box}])


def test_text_from_the_video_cannot_leave_its_place(tmp_path: Path) -> None:
    found = page(tmp_path, document(overlay(ATTACK), source=f"/videos/{ATTACK.replace('/', '')}.mp4"))
    assert len(found.scripts) == 4, "data, medium, plotly, ours"
    assert not found.handlers
    assert found.data["texts"][0][2] == ATTACK, "and yet it is all there, umlauts too"
    assert "<script>" in "".join(found.titles), "the title is text"


def test_json_ends_neither_script_nor_line() -> None:
    text = json_for_html({"text": ATTACK, "umlaut": "ü"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert "ü" in text
    assert json.loads(text) == {"text": ATTACK, "umlaut": "ü"}


def test_the_page_loads_nothing_and_may_not(tmp_path: Path) -> None:
    found = page(tmp_path, document(*everything()))
    assert found.loads == []
    assert not any("src" in attributes for attributes, _ in found.scripts)
    assert "default-src 'none'" in found.policy
    assert "http" not in found.policy and "unsafe-eval" not in found.policy
    assert "unsafe-inline" not in found.policy.split("script-src")[1].split(";")[0]
    own = (tmp_path / "report.html").read_text(encoding="utf-8")
    for attributes, text in found.scripts:
        if "plotly.js" in text[:200] and not attributes:
            own = own.replace(text, "")
    assert not re.findall(r"https?://", own), "no address outside plotly's own script"


def test_the_policy_names_exactly_the_scripts_that_run(tmp_path: Path) -> None:
    found = page(tmp_path, document())
    running = [text for attributes, text in found.scripts if "type" not in attributes]
    sums = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running}
    assert set(re.findall(r"'sha256-([^']+)'", found.policy)) == sums


def test_a_video_that_browsers_play_is_inside(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than one block of base64
    found = page(tmp_path, document(), content)
    (packed,) = [text for attributes, text in found.scripts if attributes.get("id") == "medium"]
    assert base64.b64decode(packed, validate=True) == content
    assert found.data["medium"] == {
        "kind": "video", "mime": "video/mp4", "plays": "yes", "embedded": True, "href": None, "note": "",
    }  # fmt: skip
    assert "media-src blob: data:;" in found.policy


def test_a_large_video_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_report, "EMBED_BYTES_MAX", 10)
    found = page(tmp_path, document())
    assert found.data["medium"]["href"] == "./clip.mp4"
    assert "keep both files together" in found.data["medium"]["note"]
    assert "media-src 'self' file:;" in found.policy


@pytest.mark.parametrize(
    ("facts", "plays", "mime"),
    [
        ({}, "yes", "video/mp4"),
        ({"video_codec": "hevc"}, "some", "video/mp4"),
        ({"audio_codec": "ac3"}, "some", "video/mp4"),
        ({"video_codec": "mpeg4"}, "no", "video/mp4"),
        ({"video_codec": "mjpeg", "container": "avi"}, "no", "application/octet-stream"),
        ({"video_codec": "vp9", "audio_codec": "opus", "container": "matroska,webm"}, "yes", "video/webm"),
        ({"video_codec": "h264", "container": "matroska,webm"}, "some", "video/x-matroska"),
        ({"has_video": False, "video_codec": None, "audio_codec": "pcm_s16le", "container": "wav"}, "yes", "audio/wav"),
        ({"has_video": False, "video_codec": None, "audio_codec": "mp3", "container": "mp3"}, "yes", "audio/mpeg"),
    ],
)
def test_what_browsers_play(facts: dict[str, Any], plays: str, mime: str) -> None:
    assert playable(document(**facts).video) == (plays, mime)


def test_a_codec_that_no_browser_plays_is_named(tmp_path: Path) -> None:
    found = page(tmp_path, document(*everything(), video_codec="mjpeg", container="avi"))
    assert found.data["medium"]["note"].startswith("No browser plays this file (mjpeg and aac in avi).")
    assert not found.data["medium"]["embedded"] and found.data["medium"]["href"] == "./clip.mp4"
    assert found.data["lanes"], "the lanes stay"


def test_a_video_that_is_gone_leaves_the_page(tmp_path: Path) -> None:
    found = page(tmp_path, document(), None)
    assert found.data["medium"]["href"] is None
    assert "was not there" in found.data["medium"]["note"]


def test_links_are_relative_and_quoted(tmp_path: Path) -> None:
    assert link(tmp_path / "a b#.mp4", tmp_path / "report.html") == "./a%20b%23.mp4"
    assert link(tmp_path / "x.mp4", tmp_path / "out" / "report.html") == "../x.mp4"


def test_a_target_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        write_html(document(), tmp_path / "clip.mp4", tmp_path / "gone" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_every_analyzer_has_a_lane_and_a_row() -> None:
    results = everything()
    data = page_data(document(*results, covered=True))
    assert {one["name"] for one in data["lanes"]} == {one.name for one in results}
    assert {one["name"] for one in data["analyzers"]} == {one.name for one in results}
    by_name = {one["name"]: one for one in data["lanes"]}
    assert by_name["body_pose"]["note"] == "out of memory at the smallest batch"
    assert by_name["visual_effects"]["note"] == "nothing found"
    assert data["statuses"] == {"ok": 12, "failed": 1, "skipped": 1}
    assert data["coverage"]["score"] == 73.4


def test_what_random_weights_say_is_not_shown() -> None:
    told = result("qwen2_vl_temporal", [{"start": 0.0, "end": 1.0, "description": "a purple horse"}])
    untrained = ModelInfo(id="x", revision="1", backend="torch", random_weights=True)
    data = page_data(document(told.model_copy(update={"model": untrained})))
    assert "horse" not in str(data)
    assert data["lanes"][0]["note"] == "random weights: no answer"
    assert data["statuses"]["skipped"] == 1


def test_an_analyzer_nobody_knows_gets_its_lane_label_fields_and_boxes() -> None:
    segment = {"start": 3.0, "end": 9.0, "strength": 0.7, "smell": "fresh bread", "box": [0.4, 0.4, 0.7, 0.6]}
    unknown = result("smell_detection", [segment])
    drawn = lane(unknown, 30.0)
    assert drawn["title"] == "Smell detection"
    assert drawn["bars"] == [
        [3.0, 9.0, 0, -1, "fresh bread",
         [["strength", "0.7"], ["smell", "fresh bread"], ["box", "0.4, 0.4, 0.7, 0.6"]]],
    ]  # fmt: skip
    layer = box_layer(unknown)
    assert layer is not None and layer["steps"] == [[3.0, 9.0, [[0.4, 0.4, 0.7, 0.6, "fresh bread", 0]]]]


def test_neighbours_of_one_name_are_one_bar_and_names_have_colours() -> None:
    motions = ["static", "static", "pan_left", "static"]
    rows = [{"start": float(at), "end": at + 1.0, "motion": motion} for at, motion in enumerate(motions)]
    bars = lane(result("camera_analysis", rows), 4.0)["bars"]
    assert [bar[:5] for bar in bars] == [
        [0.0, 2.0, 0, 0, "static"], [2.0, 3.0, 0, 1, "pan left"], [3.0, 4.0, 0, 0, "static"],
    ]  # fmt: skip


def test_segments_at_the_same_time_get_rows_of_their_own() -> None:
    rows = [{"start": 0.0, "end": 3.0 + at, "text": f"Text {at}"} for at in range(6)]
    drawn = lane(result("text_overlay", rows), 10.0)
    assert len(drawn["rows"]) == 4, "and no more"
    assert {bar[2] for bar in drawn["bars"]} == {0, 1, 2, 3}


def test_objects_have_a_row_per_label_in_the_colour_of_their_boxes() -> None:
    objects = documents.objects(30.0)
    drawn, layer = lane(objects, 30.0), box_layer(objects)
    assert drawn["rows"][0] == "bus" and drawn["rows"][1] == "person" and drawn["rows"][-1] == "others"
    assert any(bar[4] == "person ×2" for bar in drawn["bars"])
    assert layer is not None
    kinds = {box[4].split()[0]: box[5] for _, _, boxes in layer["steps"] for box in boxes}
    assert kinds["bus"] == 0 and kinds["person"] == 1
    assert kinds["cup"] in (2, 3)


def test_thousands_of_segments_stay_drawable() -> None:
    objects = documents.objects(3600.0, 0.1)
    drawn, layer = lane(objects, 3600.0), box_layer(objects)
    for row in range(len(drawn["rows"])):
        assert sum(bar[2] == row for bar in drawn["bars"]) <= report_lanes.BARS_MAX + 1
    assert layer is not None and len(layer["steps"]) <= report_lanes.BOX_STEPS_MAX
    assert layer["steps"][-1][1] == pytest.approx(3600.0, abs=2)
    rows = [{"start": at / 10, "end": at / 10 + 0.1, "value": at % 7} for at in range(36_000)]
    assert len(steps(rows, "value")[0]) <= 1502


def test_a_curve_has_a_hole_where_there_is_no_value() -> None:
    rows = [
        {"start": 0.0, "end": 1.0, "x": 1.0},
        {"start": 2.0, "end": 3.0, "x": 2.0},
        {"start": 3.0, "end": 4.0, "x": None},
    ]
    assert steps(rows, "x") == ([0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0], [1.0, 1.0, None, 2.0, 2.0, None, None])


def test_findings_of_any_shape_are_told() -> None:
    beat = {"time": 2.0, "kind": "on_beat", "what": "A cut on the beat.", "analyzers": ["cut_analysis"]}
    assert moments(["said and shown", beat, {"count": 3}]) == [
        [None, "said and shown", []],
        [2.0, "on beat: A cut on the beat.", ["Shots and cuts"]],
        [None, "count 3", []],
    ]
    assert moments(None) == []


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"motion": "pan_left", "speed": 1.0}, "pan left"),
        ({"score": 0.5, "text": " two\nlines "}, "two lines"),
        ({"objects": [{"label": "cup"}, {"label": "cup"}, {"label": "bus"}]}, "cup ×2, bus"),
        ({"labels": [{"name": "street", "score": 0.9}, {"name": "room", "score": 0.1}]}, "street"),
        ({"faces": [{"yaw": 3.0}]}, "1 face"),
        ({"classes": {"sky": 0.2, "road": 0.5}}, "road"),
        ({"arousal": 0.25}, "arousal 0.25"),
        ({"nothing": None, "flag": True, "empty": []}, ""),
    ],
)
def test_a_segment_finds_its_label(row: dict[str, Any], label: str) -> None:
    assert label_of({"start": 0.0, "end": 1.0} | row) == label


def test_values_and_times_are_short() -> None:
    assert short({"hex": "#112233", "name": "blue", "share": 0.41}) == "blue 41%"
    assert short([{"label": "bus", "score": 0.934}]) == "bus 0.93"
    assert short(list(range(8))) == "0, 1, 2, 3, 4, 5 and 2 more"
    assert len(short("x" * 1000)) <= 240
    assert [clock(0), clock(59.97), clock(64.5)] == ["0:00.0", "0:59.9", "1:04.5"]


PAGES: dict[str, VideoReport] = {
    "everything": document(*everything(), covered=True, lost=[(20.0, 20.6)]),
    "attacked": document(overlay(ATTACK), result("smell_detection", [{"start": 0.0, "end": 9.0, "smell": ATTACK}])),
    "sound only": document(
        documents.speech(30.0), has_video=False, video_codec=None, width=0, height=0, fps=0.0, container="mp3",
        audio_codec="mp3",
    ),
    "all failed": document(
        without_report("cut_analysis", "failed", "the worker died"), without_report("blip2", "skipped", "no weights")
    ),
    "nothing at all": document(duration_s=0.0, has_audio=False, audio_codec=None),
    "a long one": document(documents.objects(900.0), documents.speech(900.0), duration_s=900.0),
}  # fmt: skip


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
@pytest.mark.parametrize("name", list(PAGES))
def test_a_browser_draws_it_without_a_complaint(name: str, tmp_path: Path) -> None:
    write_html(PAGES[name], tmp_path / "gone.mp4", tmp_path / "report.html")
    console, dom = _render(tmp_path, "report.html#t=3.5")
    assert 'data-ready="yes"' in dom[:400], "the page's script came to its end"
    assert not [line for line in console.splitlines() if "CONSOLE" in line], "nothing in the console"
    assert re.search(r'id="trouble"[^>]* hidden=""', dom)
    for one in PAGES[name].analyzers.values():
        assert f'id="analyzer-{one.name}"' in dom
    assert "<img" not in dom.split('id="data"')[0], "what the video says is text, not markup"


def _render(folder: Path, page_name: str) -> tuple[str, str]:
    """The browser's log and the document after its scripts ran."""
    profile = folder / "profile"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
        f"--user-data-dir={profile}", "--window-size=1280,1600", "--virtual-time-budget=2000",
        "--enable-logging=stderr", "--dump-dom", f"file://{folder}/{page_name}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    for _ in range(20):  # its helpers may still be writing
        shutil.rmtree(profile, ignore_errors=True)
        if not profile.exists():
            break
        time.sleep(0.1)
    return done.stderr, done.stdout
