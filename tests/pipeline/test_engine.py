"""The engine over threads: what waits for what, what fails alone, what is bounded and what is freed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.engine import ByteBudget, Given, Progress
from pipeline.errors import DecoderCrashed, UsageError
from pipeline.pool import LocalPool
from pipeline.results import AnalyzerResult, ModelInfo, VideoReport
from pipeline.settings import Settings
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch
from tests import toys
from tests.media.encode import write_clip
from tests.media.patterns import flat, tone
from tests.support import content, results, run, run_on, running, tight


async def test_a_report_has_everything(clip: Path) -> None:
    report, events = await run(clip, toys.Brightness, toys.Frames, toys.Sound, toys.Needs, toys.Uses)
    assert report.statuses() == {"ok": 5, "failed": 0, "skipped": 0}
    brightness = report.analyzers["brightness"].report
    assert brightness is not None
    values = [segment["value"] for segment in brightness["segments"]]
    assert values == sorted(values), "the clip brightens"
    assert [segment["start"] for segment in brightness["segments"]] == [0, 1, 2]
    frames = report.analyzers["frames"].report
    assert frames is not None
    assert frames["summary"]["total"] == 90
    assert report.run.decode_passes == 1
    assert report.video.frames == 90
    assert 0 < report.run.overlap <= 1.05
    assert {event.name for event in events if isinstance(event, Progress)} == {"brightness", "frames", "sound"}


async def test_dependants_get_the_reports_they_name_and_start_when_those_are_there(clip: Path) -> None:
    report, events = await run(clip, toys.Slow, toys.Brightness, toys.Needs, toys.Uses, toys.Sound)
    order = results(events)
    assert order.index("brightness") < order.index("needs") < order.index("slow"), "no stage waits for the slow one"
    needs, uses = report.analyzers["needs"].report, report.analyzers["uses"].report
    assert needs is not None
    assert uses is not None
    assert needs["summary"]["upstream"] == ["brightness"]
    assert uses["summary"]["upstream"] == ["brightness", "sound"]


async def test_two_runs_give_the_same_report(clip: Path) -> None:
    classes = (toys.Brightness, toys.Sound, toys.Uses)
    async with running(*classes) as (engine, source, _):
        first, second = (await run_on(engine, source, clip))[0], (await run_on(engine, source, clip))[0]
    assert content(first) == content(second)


async def test_given_results_are_taken_over_and_only_the_rest_is_decoded_and_computed(clip: Path) -> None:
    classes = (toys.Brightness, toys.Sound, toys.Needs, toys.Uses, toys.Frames)
    whole, _ = await run(clip, *classes)
    models = {cls.spec.name: cls.report_model for cls in classes}

    def known(*names: str) -> list[Given]:
        kept = [whole.analyzers[name] for name in names]
        return [Given(result, models[result.name].model_validate(result.report)) for result in kept]

    async with running(*classes) as (engine, source, _):
        facts = await source.probe(str(clip))
        events = [event async for event in engine.run(facts, given=known("brightness", "sound", "frames"))]
        assert results(events) in (["needs", "uses"], ["uses", "needs"]), "what is known is not told again"
        again = events[-1]
        assert isinstance(again, VideoReport)
        assert content(again)["analyzers"] == content(whole)["analyzers"]
        assert again.run.decode_passes == 0, "nobody reads a view any more"
        assert again.analyzers["brightness"] == whole.analyzers["brightness"], "with the model and time of its own run"
        events = [event async for event in engine.run(facts, given=known("brightness", "frames"))]
        assert set(results(events)) == {"sound", "needs", "uses"}
        again = events[-1]
        assert isinstance(again, VideoReport)
        assert content(again)["analyzers"] == content(whole)["analyzers"]


@pytest.mark.parametrize("broken", [toys.FailsOnChunk, toys.FailsInSummary])
async def test_a_failure_skips_its_dependants_and_nothing_else(clip: Path, broken: Any) -> None:
    report, _ = await run(clip, broken, toys.Needs, toys.Uses, toys.Sound, toys.Frames)
    status = {name: result.status for name, result in report.analyzers.items()}
    assert status == {"brightness": "failed", "needs": "skipped", "uses": "ok", "sound": "ok", "frames": "ok"}
    assert report.analyzers["brightness"].error is not None
    assert "brightness was failed" in str(report.analyzers["needs"].reason)
    uses = report.analyzers["uses"].report
    assert uses is not None
    assert uses["summary"]["upstream"] == ["sound"]


async def test_no_weights_is_skipped_with_the_reason(clip: Path) -> None:
    report, _ = await run(clip, toys.FailsToLoad, toys.Needs)
    assert report.analyzers["brightness"].status == "skipped"
    assert report.analyzers["brightness"].reason == "no weights in this profile"


async def test_a_disabled_analyzer_is_skipped_and_not_loaded(clip: Path) -> None:
    report, _ = await run(clip, toys.Brightness, toys.Uses, toys.Sound, disabled=("brightness",))
    assert "switched off" in str(report.analyzers["brightness"].reason)
    assert report.analyzers["uses"].status == "ok"


async def test_without_sound_or_picture_their_analyzers_are_skipped(tmp_path: Path) -> None:
    classes = (toys.Brightness, toys.Sound, toys.Uses)
    silent, _ = await run(write_clip(tmp_path / "p.mp4", flat(64, 64, 30, 50)), *classes)
    assert (silent.analyzers["sound"].status, silent.analyzers["sound"].reason) == (
        "skipped",
        "the source has no sound",
    )
    blind, _ = await run(write_clip(tmp_path / "s.wav", None, sound=tone(440, 1.0)), *classes)
    assert blind.analyzers["brightness"].reason == "the source has no picture"
    assert blind.analyzers["sound"].status == "ok"


async def test_an_analyzer_whose_view_is_optional_reports_from_others_alone(tmp_path: Path) -> None:
    class FromBoth(toys.Toy):
        spec = AnalyzerSpec("from_both", "1", SCAN, after_if_ok=("sound",), needs_optional=True)

    sound = write_clip(tmp_path / "sound.wav", None, sound=tone(440, 1.0))
    report, _ = await run(sound, toys.Sound, FromBoth)
    found = report.analyzers["from_both"]
    assert found.report == {"segments": [], "summary": {"total": 0.0, "upstream": ["sound"]}}


async def test_an_unknown_name_is_refused_before_anything_runs(clip: Path) -> None:
    async with running(toys.Brightness) as (engine, source, _):
        facts = await source.probe(str(clip))
        with pytest.raises(UsageError, match="did you mean 'brightness'"):
            await anext(engine.run(facts, ["britness"]))


async def test_bytes_in_flight_stay_below_their_bound(clip: Path) -> None:
    settings = tight(video_bytes_in_flight=3_000_000, bytes_in_flight=100_000_000)
    highest = 0

    async with running(toys.Slow, toys.Brightness, settings=settings) as (engine, source, _):
        async for _event in engine.run(await source.probe(str(clip))):
            highest = max(highest, engine._budget.used)
        assert engine._budget.used == 0
    assert 0 < highest <= 3_000_000


async def test_a_chunk_above_the_bound_still_passes(clip: Path) -> None:
    report, _ = await run(clip, toys.Brightness, settings=tight(video_bytes_in_flight=1000, bytes_in_flight=1000))
    assert report.analyzers["brightness"].status == "ok"


async def test_cancelling_frees_everything(clip: Path) -> None:
    async with running(toys.Slow, toys.Brightness) as (engine, source, _):
        events = engine.run(await source.probe(str(clip)))
        await anext(events)
        await events.aclose()
        assert engine._budget.used == 0
        assert not [child for child in psutil.Process().children() if "pipeline.isolate" in " ".join(child.cmdline())]
        again, _ = await run_on(engine, source, clip)
    assert again.statuses()["ok"] == 2


async def test_several_videos_share_the_workers(clip: Path) -> None:
    async with running(toys.Brightness, toys.Needs) as (engine, source, _):
        reports = await asyncio.gather(*(run_on(engine, source, clip) for _ in range(3)))
    assert len({str(content(report)) for report, _ in reports}) == 1


async def test_a_hanging_worker_fails_its_analyzer_at_its_limit(clip: Path) -> None:
    report, _ = await run(clip, toys.Hangs, toys.Sound)
    assert report.analyzers["brightness"].error is not None
    assert report.analyzers["brightness"].error.type == "WorkerTimeout"
    assert report.analyzers["sound"].status == "ok"


async def test_a_decoder_that_dies_midway_ends_the_run_with_an_error(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toys.Brightness) as (engine, source, _):
        facts = await source.probe(str(clip))

        async def dies(*_: Any, **__: Any) -> Any:
            raise DecoderCrashed("decode ended without an answer (signal SIGSEGV)")
            yield

        monkeypatch.setattr(source, "stream", dies)
        with pytest.raises(DecoderCrashed, match="SIGSEGV"):
            await asyncio.wait_for(_consume(engine.run(facts)), 10)


async def _consume(events: Any) -> None:
    async for _ in events:
        continue


async def test_waiting_items_of_any_videos_are_batched_and_a_busy_worker_is_sent_full_batches_only() -> None:
    calls: list[list[str]] = []

    class Recording(toys.Brightness):
        spec = AnalyzerSpec("recording", "1", SCAN, batch=4)

        def analyze_many(self, items: Any) -> list[Any]:
            calls.append([item.video_id for item in items])
            return [self.analyze(item) for item in items]

    pool = LocalPool(Settings())
    await pool.start({"recording": Recording})
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    items = [FrameBatch("abc"[n % 3], SCAN, n, frames, np.array([float(n)]), n == 9, n + 1.0) for n in range(10)]
    outcomes = await asyncio.gather(*(pool.analyze("recording", item) for item in items))
    await pool.close()
    assert [outcome.value[0] for outcome in outcomes] == [float(n) for n in range(10)]
    assert calls == [["a"], ["b", "c", "a", "b"], ["c", "a", "b", "c"], ["a"]]


async def test_the_byte_budget_wakes_who_waits() -> None:
    budget = ByteBudget(100)
    await budget.acquire(80)
    waiting = asyncio.ensure_future(budget.acquire(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.release(80)
    await waiting
    assert budget.used == 30


async def test_wrong_options_are_a_usage_error() -> None:
    pool = LocalPool(Settings(analyzers={"brightness": {"colour": 1}}))
    with pytest.raises(UsageError, match=r"\[analyzers.brightness\]"):
        await pool.start({"brightness": toys.Brightness})


async def test_results_come_before_the_report_and_are_the_same(clip: Path) -> None:
    report, events = await run(clip, toys.Brightness, toys.Sound)
    assert not any(isinstance(event, VideoReport) for event in events)
    for event in events:
        if isinstance(event, AnalyzerResult):
            assert report.analyzers[event.name] == event


async def test_a_model_with_random_weights_is_no_evidence_and_marks_what_is_built_on_it(clip: Path) -> None:
    class Untrained(toys.Brightness):
        def load(self, device: str, profile: Any) -> None:
            self.model = ModelInfo(id="toy", revision="1", backend="numpy", random_weights=True)

    report, _ = await run(clip, Untrained, toys.Needs, toys.Uses, toys.Sound)
    assert report.statuses() == {"ok": 4, "failed": 0, "skipped": 0}
    found = report.analyzers
    assert {name for name, result in found.items() if result.is_random} == {"brightness", "needs"}
    assert found["needs"].model is not None
    assert found["needs"].model.note == "built on brightness"
    assert found["uses"].report is not None
    assert found["uses"].report["summary"]["upstream"] == ["sound"]
