"""docs/client.md: its examples run, and it lists what there is."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from serve_app.client import Client
from serve_app.jobs import webhooks
from tests.serve_app.playing import staged

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(bytes(100_000))
    names: dict[str, Any] = {}
    with staged(tmp_path) as stage:
        for block in BLOCKS:
            exec(block.replace("http://127.0.0.1:8003", stage.url), names)
        said = capsys.readouterr().out
        assert len(stage.jobs.jobs) == 3
    assert "{'cuts': []}" in said
    assert "100%" in said
    assert "text_overlay ok" in said
    assert "job3 done clip.mp4" in said
    assert (tmp_path / "clip.srt").is_file()
    body = json.dumps({"type": "job.done", "data": {"id": "a"}}).encode()
    headers = webhooks.signed_headers(webhooks._key(SECRET), "msg_a", int(time.time()), body)
    assert names["receive"](SECRET, headers, body) == (204, "")
    assert names["receive"](SECRET, headers, b"{}")[0] == 401


def test_every_method_is_listed() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)\(", row)}
    assert listed == {name for name in vars(Client) if not name.startswith("_")}
