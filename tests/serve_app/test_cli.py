"""The command line as its users meet it: exit codes, one clear line per error, and nothing left behind."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from serve_app.exports import EXPORTS
from tests.media.encode import write_clip
from tests.media.patterns import flat, moving_pattern, tone


def reelscope(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with no settings from outside but those given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REELSCOPE_")}
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=inherited | environment,
        timeout=120,
        check=False,
    )


def claims(path: Path, what: str) -> Path:
    """A small real file whose header claims something enormous."""
    if what != "10 h":
        side = int(what)
        write_clip(path, flat(64, 64, 10, 90), codec="rawvideo")  # no bitstream says otherwise
        data = bytearray(path.read_bytes())
        position = data.index(b"strf") + 12  # BITMAPINFOHEADER: size, then width and height
        data[position : position + 8] = struct.pack("<ii", side, side)
    else:
        write_clip(path, flat(64, 64, 10, 90))
        data = bytearray(path.read_bytes())
        position = data.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a double in milliseconds
        data[position : position + 8] = struct.pack(">d", 36_000_000.0)
    path.write_bytes(data)
    return path


def bad_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = write_clip(folder / "whole.mp4", moving_pattern(64, 64, 30), sound=tone(440, 1.0))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video\n" * 50)
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{whole}\n")
    nothing = folder / "nothing.mp4"
    nothing.write_bytes(whole.read_bytes()[:32])
    return {
        "missing": (folder / "none.mp4", "there is no file"),
        "empty": (folder / "empty.mp4", "is empty"),
        "text": (folder / "text.mp4", "cannot be opened"),
        "cut off before its index": (folder / "cut.mp4", "cut off before its index"),
        "no streams": (nothing, "cannot be opened"),
        "playlist": (folder / "list.mp4", "is a playlist"),
        "huge picture": (claims(folder / "huge.avi", "100000"), "has no picture and no sound that can be decoded"),
        "large picture": (claims(folder / "large.avi", "16000"), "16000 x 16000, the limit is"),
        "ten hours": (claims(folder / "long.mkv", "10 h"), "36000 s, the limit is 14400 s"),
        "folder": (folder, "is not a file"),
    }


NAMES = (
    "missing",
    "empty",
    "text",
    "cut off before its index",
    "no streams",
    "playlist",
    "huge picture",
    "large picture",
    "ten hours",
    "folder",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    return bad_inputs(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    name: str, inputs: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    path, message = inputs[name]
    mark = uuid.uuid4().hex
    done = reelscope("analyze", path, cwd=tmp_path, MARK_OF_THIS_TEST=mark)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [], "no file may be left"
    left = [process for process in psutil.process_iter(["environ"]) if mark in str(process.info["environ"])]
    assert not left, "no process may be left"


def test_wrong_usage_is_exit_code_two(clip: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("analyze", clip, "--analyzers", "cut_analysys"), "did you mean 'cut_analysis'"),
        (("analyze", clip, "--format", "docx"), "there is no format 'docx'"),
        (("analyze", clip, "--format", "html,vt"), "there is no format 'vt'; did you mean 'vtt'"),
        (("analyze", clip, "--profile", "huge"), "setting profile"),
        (("analyze", clip, "--config", tmp_path / "none.toml"), "there is no configuration file"),
        (("analyze", "https://example.com/v.mp4"), "its host example.com:443 is none of"),
        (("analyze", "http://www.tiktok.com/@a/video/1"), "does not begin with https://"),
        (("models", "fetch", "gpt"), "there is no model 'gpt'"),
        (("plan", "--gpus", "big"), "--gpus takes sizes"),
    ):
        done = reelscope(*arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr
    assert reelscope("analyze", cwd=tmp_path).returncode == 2


def test_debug_shows_the_trace(tmp_path: Path) -> None:
    assert "Traceback" in reelscope("analyze", "none.mp4", "--debug", cwd=tmp_path).stderr


def test_help_names_the_commands(tmp_path: Path) -> None:
    done = reelscope("--help", cwd=tmp_path)
    for command in ("analyze", "jobs", "models", "plan", "doctor"):
        assert command in done.stdout


def test_one_analyzer_over_threads_writes_its_report(clip: Path, tmp_path: Path) -> None:
    done = reelscope("analyze", clip, "--analyzers", "cut_analysis", "--local", "--format", "html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "clip" / "report.json").read_text())
    assert list(report["analyzers"]) == ["cut_analysis"]
    assert (tmp_path / "out" / "clip" / "report.html").stat().st_size > 1000
    assert "cut_analysis" in done.stdout


def test_every_format_is_a_file_beside_the_report(clip: Path, tmp_path: Path) -> None:
    names = ",".join(EXPORTS)
    done = reelscope("analyze", clip, "--analyzers", "cut_analysis", "--local", "--format", names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = {f"report{one.suffix}" for one in EXPORTS.values()}
    assert {path.name for path in (tmp_path / "out" / "clip").iterdir()} == files
    for name in files:
        assert f"out/clip/{name}" in done.stdout
    rows = (tmp_path / "out" / "clip" / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert {row.split(",")[0] for row in rows} == {"analyzer", "cut_analysis"}


def test_json_goes_to_standard_output_and_nothing_else_does(clip: Path, tmp_path: Path) -> None:
    done = reelscope("analyze", clip, "--analyzers", "cut_analysis", "--local", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["video"]["frames"] == 90


def test_failed_analyzers_are_exit_code_three_and_say_what_to_do(clip: Path, tmp_path: Path) -> None:
    done = reelscope(
        "analyze",
        clip,
        "--analyzers",
        "object_detection,cut_analysis",
        "--local",
        cwd=tmp_path,
        REELSCOPE_MODELS_DIR=str(tmp_path / "models"),
    )
    assert done.returncode == 3
    report = json.loads((tmp_path / "out" / "clip" / "report.json").read_text())
    assert report["analyzers"]["cut_analysis"]["status"] == "ok"
    assert "reelscope models fetch" in report["analyzers"]["object_detection"]["reason"]


def test_settings_come_from_file_environment_and_flags(tmp_path: Path) -> None:
    config = tmp_path / "reelscope.toml"
    config.write_text('models_dir = "/from/file"\n[limits]\nbytes_max = 77\nfps_max = 55\n')
    done = reelscope("doctor", "--config", config, cwd=tmp_path, REELSCOPE_LIMITS__FPS_MAX="66", COLUMNS="200")
    assert done.returncode == 1, "weights are missing there"
    shown = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in done.stdout.splitlines() if "│" in line}
    assert shown["models_dir"] == "/from/file"
    assert shown["limits.bytes_max"] == "77"
    assert shown["limits.fps_max"] == "66.0"


def test_plan_shows_fractions_for_other_machines(tmp_path: Path) -> None:
    done = reelscope("plan", "--cpus", "16", "--gpus", "24,24", cwd=tmp_path, COLUMNS="160")
    assert done.returncode == 0
    assert "16 CPUs, GPUs: 24 GB, 24 GB" in done.stdout


def test_a_plan_that_does_not_fit_is_one_line_with_the_settings_that_do(tmp_path: Path) -> None:
    done = reelscope("plan", "--profile", "full", "--gpus", "16", "--cpus", "16", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "GB too little" in done.stderr
    assert "it fits with analyzers." in done.stderr


def test_the_settings_that_fit_are_a_file_for_the_next_call(tmp_path: Path) -> None:
    fit = reelscope("plan", "--profile", "full", "--gpus", "16", "--cpus", "16", "--fit", cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    (tmp_path / "fit.toml").write_text(fit.stdout)
    done = reelscope("plan", "--config", tmp_path / "fit.toml", "--gpus", "16", "--cpus", "16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "qwen2_vl_temporal" in done.stdout
    assert "video_llava" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_the_doctor_of_the_full_profile_looks_at_libraries_weights_gpus_and_the_plan(tmp_path: Path) -> None:
    done = reelscope("doctor", "--profile", "full", "--models-dir", tmp_path / "none", cwd=tmp_path, COLUMNS="400")
    assert done.returncode == 1, "the weights are missing"
    for said in ("torch", "transformers", "weights qwen2_vl_2b_instruct", "GPU", "plan"):
        assert said in done.stdout
    assert "reelscope models fetch qwen2_vl_2b_instruct (4.4 GB), or set `model` to a folder" in done.stdout


def test_models_are_listed_at_eighty_columns_with_what_may_be_used_commercially(tmp_path: Path) -> None:
    done = reelscope("models", "list", "--models-dir", tmp_path / "none", cwd=tmp_path, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "* qwen2_vl_2b_instruct" in done.stdout
    assert "not for" in done.stdout
    assert "commercial use" in done.stdout


def test_verify_of_the_embedded_profile_asks_for_none_of_the_full_one(tmp_path: Path) -> None:
    from analyzers.models.store import ModelStore
    from pipeline.settings import Settings
    from serve_app.models import all_there

    shipped = ModelStore(Settings().models_dir).entries()
    embedded = [entry for entry in shipped if entry.model.profile == "embedded"]
    assert all_there(Settings(), embedded, []) == all(entry.state == "present" for entry in embedded)
    packaged = [entry for entry in shipped if entry.model.profile == "full"]
    assert all_there(Settings(), packaged, [])


def test_models_list_names_source_and_licence(tmp_path: Path) -> None:
    done = reelscope("models", "list", cwd=tmp_path, COLUMNS="220")
    assert done.returncode == 0
    assert "whisper" in done.stdout
    assert "MIT" in done.stdout
