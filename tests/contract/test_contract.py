"""The one contract suite, over every analyzer that discovery finds: whoever adds the 27th need not touch this file."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.analyzer import Analyzer, Profile
from pipeline.errors import ModelUnavailable, NotApplicable
from pipeline.media import decode, probe
from pipeline.registry import discover
from pipeline.results import ModelInfo, Report, Upstream, VideoFacts
from pipeline.settings import load_settings
from pipeline.types import Audio, AudioTrack, FrameBatch, View
from tests.media.encode import write_clip
from tests.media.patterns import flat, moving_pattern, tone

CLASSES = discover()
PART_BYTES_MAX = 1024 * 1024
SILENCE = np.zeros(48_000, np.float32)


def noise(height: int, width: int, count: int) -> Any:
    rng = np.random.default_rng(3)
    for _ in range(count):
        yield rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


# name: (pictures or None, frames per second, sound or None)
MATERIAL: dict[str, tuple[Any, float, npt.NDArray[np.float32] | None]] = {
    "one_frame": (lambda: flat(120, 160, 1, 90), 30, None),
    "black_and_silent": (lambda: flat(160, 120, 30, 0), 30, SILENCE),
    "white": (lambda: flat(160, 120, 30, 255), 30, None),
    "noise": (lambda: noise(160, 120, 20), 20, np.random.default_rng(1).normal(0, 0.1, 48_000).astype(np.float32)),
    "very_wide": (lambda: moving_pattern(48, 960, 20), 20, None),
    "very_tall": (lambda: moving_pattern(960, 48, 20), 20, None),
    "three_seconds": (lambda: moving_pattern(240, 136, 90), 30, tone(440, 3.0)),
    "ten_minutes": (lambda: flat(48, 64, 1200, (90, 120, 60)), 2, np.tile(SILENCE, 600)),
    "sound_only": (None, 30, tone(880, 2.0)),
    "ten_milliseconds_of_sound": (None, 30, tone(880, 0.01)),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("contract")
    made = {}
    for name, (pictures, fps, sound) in MATERIAL.items():
        suffix = ".mkv" if pictures else ".wav"
        made[name] = write_clip(folder / (name + suffix), pictures() if pictures else None, fps=fps, sound=sound)
    return made


WITHOUT_WEIGHTS = ("blip2", "qwen2_vl_temporal", "video_llava")
EDGE_S = 0.06
"""How far a segment may begin after, or end beside, the end of the input: a frame of 20 fps and the rounding."""


@cache
def loaded(name: str) -> Analyzer[Any, Any] | None:
    """None where the embedded profile has no weights: the result is `skipped`."""
    analyzer = CLASSES[name]()
    try:
        analyzer.load("cpu", Profile("embedded", load_settings().models_dir))
    except NotApplicable:
        return None
    return analyzer


_reports: dict[tuple[Path, str], Any] = {}


def report_of(name: str, path: Path) -> Any:
    """The report of an analyzer and of those it comes after; None where the input does not exist."""
    key = (path, name)
    if key not in _reports:
        _reports[key] = _run(name, path)
    return _reports[key]


def _run(name: str, path: Path) -> Any:
    analyzer, facts = loaded(name), probe(path)
    if analyzer is None:
        return None
    spec = analyzer.spec
    if (isinstance(spec.needs, View) and not facts.has_video) or (
        isinstance(spec.needs, Audio) and not facts.has_audio
    ):
        return None
    required = {other: report_of(other, path) for other in spec.after}
    if any(report is None for report in required.values()):
        return None
    optional = CLASSES if spec.after_if_ok == ("*",) else spec.after_if_ok
    others = {
        other: report_of(other, path)
        for other in optional
        if other != name and CLASSES[other].spec.after_if_ok != ("*",)
    }
    upstream = Upstream(
        facts,
        required | {other: report for other, report in others.items() if report is not None},
        {other: "the source has none" for other, report in others.items() if report is None},
    )
    return analyzer.summarize(parts_of(analyzer, path), upstream)


def parts_of(analyzer: Analyzer[Any, Any], path: Path) -> Sequence[Any]:
    needs = analyzer.spec.needs
    if needs is None:
        return []
    views = (needs,) if isinstance(needs, View) else ()
    parts = []
    for item in decode(path, video_id="v", views=views, audio=isinstance(needs, Audio)):
        if isinstance(item, FrameBatch | AudioTrack):
            before = checksum(item)
            (part,) = analyzer.analyze_many([item])
            assert checksum(item) == before, "an analyzer wrote to its input"
            assert len(pickle.dumps(part)) <= PART_BYTES_MAX, f"a part of {item!r} is larger than 1 MB"
            parts.append(part)
    return parts


def checksum(item: FrameBatch | AudioTrack) -> int:
    array = item.frames if isinstance(item, FrameBatch) else item.samples
    return hash(array.tobytes())


@pytest.mark.parametrize("name", CLASSES)
def test_spec_and_docs(name: str) -> None:
    analyzer_class = CLASSES[name]
    assert analyzer_class.__module__ == f"analyzers.{name}", "one file per analyzer, named as the analyzer"
    assert analyzer_class.__doc__
    assert issubclass(analyzer_class.report_model, Report)
    pickle.loads(pickle.dumps(analyzer_class()))


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in WITHOUT_WEIGHTS])
def test_loading_names_the_model(name: str) -> None:
    analyzer = loaded(name)
    assert analyzer is not None
    assert isinstance(analyzer.model, ModelInfo)
    assert analyzer.model.id
    assert analyzer.model.licence


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_without_weights_it_says_so_and_the_full_profile_does_not_pretend(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no weights in this profile"):
        CLASSES[name]().load("cpu", Profile("embedded", tmp_path))
    with pytest.raises(ModelUnavailable, match=name):
        CLASSES[name]().load("cpu", Profile("full", tmp_path))


@pytest.mark.parametrize("what", MATERIAL)
@pytest.mark.parametrize("name", CLASSES)
def test_reports_hold_on_any_material(name: str, what: str, material: dict[str, Path]) -> None:
    path = material[what]
    report = report_of(name, path)
    if report is None:
        return  # no such input; the engine skips it, which tests/pipeline/test_engine.py shows
    facts: VideoFacts = probe(path)
    again = type(report).model_validate_json(report.model_dump_json())
    assert again == report, "the report must survive JSON"
    starts = [segment.start for segment in report.segments]
    assert starts == sorted(starts), "segments must be in order"
    end_s = max(facts.duration_s, 0.0) + 0.06
    for segment in report.segments:
        assert segment.start >= 0
        assert segment.end <= end_s, f"{segment} ends after the video ({facts.duration_s} s)"
    if CLASSES[name].tiles and report.segments:
        assert report.segments[0].start <= EDGE_S
        assert report.segments[-1].end >= facts.duration_s - EDGE_S
        for one, other in pairwise(report.segments):
            assert abs(other.start - one.end) <= 0.002, f"a gap or an overlap between {one} and {other}"


FINDINGS = ("objects", "persons", "faces", "people", "words", "products", "brands", "evidence")
"""Fields that claim to have found something, wherever in a report they stand."""
SEGMENT_IS_A_FINDING = ("text_overlay", "speech_transcription", "speech_emotion", "speech_rate", "product_detection")


@pytest.mark.parametrize("what", ["noise", "black_and_silent", "white"])
@pytest.mark.parametrize("name", [name for name in CLASSES if name != "cross_analyzer_intelligence"])
def test_where_nothing_is_nothing_is_found(name: str, what: str, material: dict[str, Path]) -> None:
    report = report_of(name, material[what])
    if report is None:
        return  # skipped
    assert not list(_claims(report.model_dump(), "report")), "an invention"
    if name in SEGMENT_IS_A_FINDING:
        assert report.segments == []


def _claims(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in FINDINGS and inner:
                yield f"{where}.{key}: {inner}"
            yield from _claims(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _claims(inner, where)


# The engine never summarizes a dependant without the reports that it comes after.
@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if not cls.spec.after])
def test_without_any_part_there_is_still_a_report_or_a_reason(name: str) -> None:
    facts = VideoFacts(source="x", sha256="0" * 64, bytes=1, duration_s=0.0, has_video=False)
    analyzer = loaded(name)
    try:
        report = (
            CLASSES[name]().summarize([], Upstream(facts))
            if analyzer is None
            else analyzer.summarize([], Upstream(facts))
        )
    except NotApplicable:
        return  # the result is `skipped`
    assert report.segments == []
