"""The command line with a server, and with posts: the same files, lines and exit codes as with a file here."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli import app
from serve_app.schemas import JobError
from tests.serve_app.playing import Stage, staged
from tests.serve_app.post_host.server import post_host

KEY = "rs_" + "k" * 40
POST = "https://www.tiktok.com/@a/video/7123?lang=en"


@pytest.fixture(scope="module")
def one_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("data")) as stage:
        yield stage


@pytest.fixture
def stage(one_stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A server, and an empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REELSCOPE_API_KEY", raising=False)
    one_stage.reset()
    return one_stage


def reelscope(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def embedded(video: Path) -> str:
    """How the video's first bytes stand in a page."""
    return base64.b64encode(video.read_bytes()[:300]).decode()


def test_a_file_is_analyzed_there_and_written_here_as_it_would_be_here(stage: Stage, clip: Path) -> None:
    done = reelscope("analyze", clip, "--server", stage.url, "--format", "srt,html", "--analyzers", "cut_analysis")
    assert done.exit_code == 0, done.output
    assert stage.jobs.uploaded == [clip.read_bytes()]
    assert stage.jobs.submissions[0].analyzers == ("cut_analysis",)
    folder = Path("out/clip")
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.srt"]
    report = stage.jobs.reports["job1"]
    assert (folder / "report.json").read_text() == report.model_dump_json(indent=1) + "\n"
    assert embedded(clip) in (folder / "report.html").read_text(), "the page has the video that is here"
    assert "cut_analysis" in done.stdout
    assert "report.json" in done.stdout
    for line in ("uploading clip.mp4", "cut_analysis ok", "text_overlay ok"):
        assert line in done.stderr


def test_the_report_alone_goes_to_standard_output(stage: Stage, clip: Path) -> None:
    done = reelscope("analyze", clip, "--server", stage.url, "--json", "--out", "here")
    assert json.loads(done.stdout) == json.loads(Path("here/report.json").read_text())


def test_failed_analyzers_are_exit_code_three(stage: Stage, clip: Path) -> None:
    stage.jobs.failed = True
    done = reelscope("analyze", clip, "--server", stage.url)
    assert done.exit_code == 3, done.output
    assert "text_overlay failed: out of memory" in done.stderr


def test_a_post_is_told_by_its_url_and_its_page_has_the_video_of_the_server(
    stage: Stage, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = reelscope("analyze", POST, "--server", stage.url, "--format", "html")
    assert done.exit_code == 0, done.output
    assert stage.jobs.submissions[0].source == POST
    assert sorted(path.name for path in Path("out/7123").iterdir()) == ["report.html", "report.json"]
    assert "The video file was not there" in Path("out/7123/report.html").read_text()

    real = type(stage.jobs).submit

    async def keeping(self: Any, submission: Any) -> Any:
        self.files["job2"] = clip
        return await real(self, submission)

    monkeypatch.setattr(type(stage.jobs), "submit", keeping)
    done = reelscope("analyze", POST, "--server", stage.url, "--format", "html", "--out", "kept")
    assert Path("kept/post.mp4").read_bytes() == clip.read_bytes()
    assert embedded(clip) in Path("kept/report.html").read_text()


def test_what_is_wrong_is_one_line_with_the_exit_code_of_a_local_run(stage: Stage, clip: Path) -> None:
    here = ("--server", stage.url)
    gone = ("--server", "http://127.0.0.1:9")
    for code, arguments, message in (
        (1, ("none.mp4", *here), "none.mp4 cannot be read: No such file"),
        (2, (clip, *here, "--analyzers", "cut_analysys"), "did you mean 'cut_analysis'"),
        (2, (clip, *here, "--format", "docx"), "there is no format 'docx'"),
        (2, (clip, *here, "--local"), "are the server's own to choose"),
        (2, (clip, *here, "--api-key-file", "none.txt"), "no API key can be read from none.txt"),
        (2, ("http://www.tiktok.com/@a/video/1", *here), "is no https URL"),
        (2, ("https://example.com/v.mp4", *here), "its host example.com:443 is none of"),
        (2, (clip, *gone), "start a server with `reelscope serve`"),
        (2, (clip, "--server", "nowhere"), "is no URL of a server"),
    ):
        done = reelscope("analyze", *arguments)
        assert done.exit_code == code, (arguments, done.output)
        last = done.stderr.splitlines()[-1]
        assert last.startswith("reelscope: ")
        assert message in last
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    stage.jobs.error = JobError(code="media_unreadable", detail="clip.mp4 is a playlist")
    done = reelscope("analyze", clip, *here)
    assert done.exit_code == 1
    assert done.stderr.endswith("reelscope: clip.mp4 is a playlist\n")
    assert list(Path().iterdir()) == [], "no file may be left"


def test_the_key_comes_from_a_file_or_the_environment(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REELSCOPE_API_KEY", raising=False)
    keys = {"access": {"keys": {"me": {"sha256": sha256(KEY.encode()).hexdigest()}}}}
    (tmp_path / "key.txt").write_text(f"{KEY}\n")
    with staged(tmp_path, **keys) as stage:
        refused = reelscope("analyze", clip, "--server", stage.url)
        assert refused.exit_code == 2, refused.output
        assert reelscope("analyze", clip, "--server", stage.url, "--api-key-file", "key.txt").exit_code == 0
        monkeypatch.setenv("REELSCOPE_API_KEY", KEY)
        assert reelscope("jobs", "list", "--server", stage.url).exit_code == 0


def test_jobs_are_listed_shown_cancelled_and_their_results_written(stage: Stage, clip: Path) -> None:
    at = ("--server", stage.url)
    assert reelscope("analyze", clip, *at).exit_code == 0
    stage.jobs.hold = True
    assert stage.jobs.submissions
    with subprocess.Popen(
        [sys.executable, "-m", "serve_app.cli", "analyze", POST, *at],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        stage.network.requests.clear()
        stage.listened_to()
        listed = reelscope("jobs", "list", *at).stdout
        rows = [line for line in listed.splitlines() if "job" in line]
        assert "running" in rows[0] and "www.tiktok.com" in rows[0]
        assert "done" in rows[1] and "clip.mp4" in rows[1]
        assert json.loads(reelscope("jobs", "show", "job2", *at).stdout)["state"] == "running"
        early = reelscope("jobs", "result", "job2", *at)
        assert early.exit_code == 2 and "job2" in early.stderr
        cancelled = reelscope("jobs", "cancel", "job2", *at)
        assert (cancelled.exit_code, cancelled.stderr) == (0, "job job2 is cancelled\n")
        assert running.communicate(timeout=30)[1].endswith("reelscope: job job2 was cancelled\n")
        assert running.returncode == 1
    for name, file in (("json", "job1.json"), ("csv", "job1.csv")):
        written = reelscope("jobs", "result", "job1", "--format", name, *at)
        assert written.exit_code == 0, written.output
        assert file in written.stdout
    assert Path("job1.json").read_text() == stage.jobs.reports["job1"].model_dump_json(indent=1) + "\n"
    assert reelscope("jobs", "result", "job1", "--out", "none/there.json", *at).exit_code == 2
    assert reelscope("jobs", "result", "job1", "--format", "csvv", *at).exit_code == 2
    unknown = reelscope("jobs", "show", "job9", *at)
    assert unknown.exit_code == 2 and unknown.stderr.count("\n") == 1


def test_ctrl_c_cancels_the_job(stage: Stage, clip: Path) -> None:
    stage.jobs.hold = True
    with subprocess.Popen(
        [sys.executable, "-m", "serve_app.cli", "analyze", str(clip), "--server", stage.url],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        stage.listened_to()
        os.kill(running.pid, signal.SIGINT)
        said = running.communicate(timeout=30)[1]
    assert said.endswith("reelscope: stopped\n"), said
    assert running.returncode == 130
    assert [job.state for job in stage.jobs.jobs.values()] == ["cancelled"]


def test_without_a_server_a_post_is_fetched_and_analyzed_here(clip: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with post_host(tmp_path) as host:
        host.media["clip.mp4"] = clip.read_bytes()
        url = host.video("7124")
        plugin = Path(__file__).parent / "post_host"
        (tmp_path / "fetch.toml").write_text(
            f'[fetch]\nhosts = ["127.0.0.1:{host.port}"]\nextractors = ["PostHost"]\nplugins = ["{plugin}"]\n'
            f'networks_allowed = ["127.0.0.1/32"]\nca_file = "{host.ca_file}"\n'
        )
        here = ("--local", "--analyzers", "cut_analysis", "--config", "fetch.toml")
        done = reelscope("analyze", url, *here, "--format", "html")
        gone = reelscope("analyze", url.replace("7124", "none"), *here)
    assert done.exit_code == 0, done.output
    assert "fetching the post" in done.stderr
    assert json.loads(Path("out/7124/report.json").read_text())["video"]["source"] == url
    assert Path("out/7124/post.mp4").read_bytes() == clip.read_bytes()
    assert embedded(clip) in Path("out/7124/report.html").read_text()
    assert gone.exit_code == 1, gone.output
    assert gone.stderr.splitlines()[-1].startswith("reelscope: ")
    assert sorted(path.name for path in Path("out").iterdir()) == ["7124"]
